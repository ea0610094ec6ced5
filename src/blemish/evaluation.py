"""Evaluate a fitted detector on images that it never saw."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blemish.datasets.base import DataSet, Record, image_digest
from blemish.datasets.synthetic import check_synthetic
from blemish.detector import Detector
from blemish.errors import DataError, OverlapError
from blemish.methods.base import Progress, silent
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.figure import Figure
from blemish.metrics.pixels import PixelMetrics
from blemish.metrics.ranking import image_curves, image_figures
from blemish.metrics.uniformity import uniformity_figures
from blemish.types import Image, Mask, Prediction

EXAMPLES = 12  # of each kind in a report
MIN_AREA = 5  # AUPRO is given again without regions of fewer pixels


@dataclass(frozen=True)
class ImageResult:
    """What happened to one test image.

    Attributes:
        key: Name of the image within its data set.
        defective: The truth.
        defect_type: ``"good"`` or the kind of defect.
        group: The part that was photographed.
        score: Anomaly score; higher = more anomalous.
        p_value: Conformal p-value in (0, 1].
        flagged: The decision at the stored threshold.
    """

    key: str
    defective: bool
    defect_type: str
    group: str
    score: float
    p_value: float
    flagged: bool


@dataclass(frozen=True)
class Example:
    """One test image kept with its pictures, for the report.

    Attributes:
        result: The line of the table that this image has.
        image: (H, W, 3) uint8 RGB as the user gave it.
        prediction: Map, mask, regions and the method's own pictures.
        truth: (H, W) bool ground truth; None where the defect was not marked.
        valid: (H, W) bool, False outside the region of interest.
    """

    result: ImageResult
    image: Image
    prediction: Prediction
    truth: Mask | None
    valid: Mask


@dataclass(frozen=True)
class Evaluation:
    """Everything that the evaluation of one detector on one data set found.

    Attributes:
        detector: The detector's card: method, options, geometry, versions, sizes (plain JSON).
        data: The data set's card: name, fingerprint, counts (plain JSON).
        figures: Name to figure, in the order in which a table shows them: ``image_auroc``,
            ``image_ap``, ``false_alarm_rate``, ``miss_rate``, ``pixel_auroc``, ``aupro_0.30``, …
        curves: ``"roc"``, ``"pr"``, ``"pixel_pr"``, ``"pro"`` to lists of x and y values:
            false-positive rate and true-positive rate; recall and precision; FPR and overlap.
        images: One line per test image.
        misses: Defective images judged good, lowest score first.
        false_alarms: Good images judged defective, highest score first.
        hits: Some defective images judged defective.
        calibration_scores: Scores of the calibration images.
        threshold: The stored score threshold.
        false_alarms_asked: The false-alarm rate that was asked for.
        seconds: Wall time by stage (plain JSON).
        notes: Sentences that a reader must know, such as images left out and why.
        history: Curves of the training, name to one value per epoch; empty without training.
    """

    detector: Mapping[str, Any]
    data: Mapping[str, Any]
    figures: Mapping[str, Figure]
    curves: Mapping[str, tuple[list[float], list[float]]]
    images: tuple[ImageResult, ...]
    misses: tuple[Example, ...]
    false_alarms: tuple[Example, ...]
    hits: tuple[Example, ...]
    calibration_scores: tuple[float, ...]
    threshold: float
    false_alarms_asked: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    history: Mapping[str, list[float]] = field(default_factory=dict)


def evaluate(
    detector: Detector,
    data: DataSet,
    *,
    progress: Progress = silent,
    on_prediction: Callable[[Record, Prediction], None] = lambda record, prediction: None,
    examples: int = EXAMPLES,
    per_image: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Score the test images of a data set, one at a time, and compute every figure.

    Args:
        detector: A fitted detector.
        data: Its test images are used, nothing else.
        progress: Called with ``"test"``, images done and images in all.
        on_prediction: Called with every record and its prediction, such as to save maps.
        examples: How many misses, false alarms and hits to keep with their pictures.
        per_image: Also compute how well each single map explains its image
            (:mod:`blemish.metrics.explainability`).
        seed: Seed of the bootstrap intervals.

    Raises:
        DataError: There are no test images.
        OverlapError: A test image, or another photo of the same part, was seen in training, or it
            is synthetic.
    """
    started = time.perf_counter()
    test = data.select("test")
    if not len(test):
        raise DataError(
            f"{data.name} has no test images; put some below test/, or give good and defective "
            "folders."
        )
    check_synthetic(test)
    _refuse_shared_groups(data, test)
    pixels = PixelMetrics(
        pixel_threshold=detector.pixel_threshold, min_areas=(MIN_AREA,), seed=seed
    )
    explained = ExplainabilityMetrics(seed=seed) if per_image else None
    seen = _Observations(detector, test, pixels, explained, _Gallery(examples))
    for record, prediction in zip(test, _predict(detector, test, seen.digests), strict=True):
        seen.add(record, prediction)
        on_prediction(record, prediction)
        progress("test", len(seen.results), len(test))
    return seen.evaluation(data, seed, time.perf_counter() - started)


def _refuse_shared_groups(data: DataSet, test: DataSet) -> None:
    shared = {r.group for r in data.select("train")} & {r.group for r in test}
    if shared:
        raise OverlapError(
            f"{data.name}: the part {min(shared)!r} has photos in both train and test, so its test "
            "photos are no news to the detector. Move them to one split."
        )


def _predict(detector: Detector, test: DataSet, digests: dict[str, str]) -> Any:
    """Predict the test images in order; refuse one that the detector has seen."""
    seen = detector.seen

    def read(record: Record) -> tuple[str, Image]:
        image = test.image(record)
        digests[record.key] = image_digest(image)
        if digests[record.key] in seen:
            raise OverlapError(
                f"The test image {record.key} of {test.name} was used to train or calibrate this "
                "detector, so figures would be too good. Take it out of one of the two; a detector "
                "that learned from few_defects is evaluated with the same few_defects and draw."
            )
        return record.key, image

    return map(detector.decide, detector.pipeline.analyse(test, read))


def _data_card(test: DataSet, digests: Mapping[str, str]) -> dict[str, Any]:
    types = sorted({r.defect_type for r in test})
    lines = sorted(f"{r.key}\t{r.defect_type}\t{digests[r.key]}" for r in test)
    return {
        "name": test.name,
        "reader": test.reader,
        "test_images": len(test),
        "by_type": {t: sum(r.defect_type == t for r in test) for t in types},
        "groups": len({r.group for r in test}),
        "test_fingerprint": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32],
    }


@dataclass
class _Observations:
    """What is kept of the test images that went by."""

    detector: Detector
    test: DataSet
    pixels: PixelMetrics
    explained: ExplainabilityMetrics | None
    gallery: _Gallery
    results: list[ImageResult] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, record: Record, prediction: Prediction) -> None:
        result = ImageResult(
            key=record.key,
            defective=record.defective,
            defect_type=record.defect_type,
            group=record.group,
            score=prediction.score,
            p_value=prediction.p_value,
            flagged=prediction.defective,
        )
        shape = (prediction.anomaly_map.shape[0], prediction.anomaly_map.shape[1])
        truth = self.test.mask(record, shape)
        geometry = self.detector.pipeline.geometry
        valid = geometry.image_valid(geometry.layout(shape))
        self.pixels.add(
            prediction.anomaly_map, truth, valid, record.key, record.group, prediction.defective
        )
        if self.explained is not None:
            self.explained.add(
                prediction.anomaly_map, truth, valid, record.key, record.group, record.defective
            )
        self.gallery.offer(result, prediction, truth, valid)
        self.results.append(result)

    def evaluation(self, data: DataSet, seed: int, seconds: float) -> Evaluation:
        started = time.perf_counter()
        detector, scores = self.detector, [r.score for r in self.results]
        defective = [r.defective for r in self.results]
        flagged = [r.flagged for r in self.results]
        groups = [r.group for r in self.results]
        figures = image_figures(scores, defective, flagged, groups, seed) | self.pixels.figures()
        if self.explained is not None:
            figures |= self.explained.figures()
        good = [r.p_value for r in self.results if not r.defective]
        figures |= uniformity_figures(good, len(detector.calibration.scores))
        misses, false_alarms, hits = self.gallery.examples(self.test)
        return Evaluation(
            detector=detector.card(),
            data=_data_card(self.test, self.digests),
            figures=figures,
            curves=image_curves(scores, defective) | self.pixels.curves(),
            images=tuple(self.results),
            misses=misses,
            false_alarms=false_alarms,
            hits=hits,
            calibration_scores=tuple(float(s) for s in detector.calibration.scores),
            threshold=detector.threshold,
            false_alarms_asked=detector.false_alarms,
            seconds={
                "predict": seconds,
                "figures": time.perf_counter() - started,
                "predict_per_image": seconds / len(self.results),
            },
            notes=(
                *self.pixels.notes,
                *(self.explained.notes if self.explained else ()),
                *data.warnings,
            ),
            history=detector.history,
        )


class _Gallery:
    """Keeps the most telling predictions while all others are released."""

    def __init__(self, size: int):
        self.size = size
        self._kept: dict[str, list[tuple[float, ImageResult, Prediction, Any, Mask]]] = {
            "misses": [],
            "false_alarms": [],
            "hits": [],
        }

    def offer(
        self, result: ImageResult, prediction: Prediction, truth: Mask | None, valid: Mask
    ) -> None:
        if result.defective == result.flagged:
            if not result.flagged:
                return
            # Spread hits over the kinds of defect: the first of each kind before the second.
            kind, same = (
                "hits",
                [k for k in self._kept["hits"] if k[1].defect_type == result.defect_type],
            )
            order = float(len(same))
        else:
            kind = "misses" if result.defective else "false_alarms"
            order = result.score if result.defective else -result.score
        kept = self._kept[kind]
        kept.append((order, result, prediction, truth, valid))
        kept.sort(key=lambda item: item[0])
        del kept[self.size :]

    def examples(self, test: DataSet) -> tuple[tuple[Example, ...], ...]:
        """Misses, false alarms and hits; only these images are read again."""
        records = {r.key: r for r in test}
        return tuple(
            tuple(
                Example(result, test.image(records[result.key]), prediction, truth, valid)
                for _, result, prediction, truth, valid in kept
            )
            for kept in self._kept.values()
        )
