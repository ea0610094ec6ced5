"""Two detectors on the same test images: paired differences, shares of images won, both maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from blemish.datasets.base import DataSet, Record
from blemish.detector import Detector
from blemish.errors import MetricError
from blemish.evaluation import Evaluation, evaluate
from blemish.methods.base import Progress, silent
from blemish.metrics.comparison import (
    compare_aupro,
    compare_decisions,
    compare_image_auroc,
    compare_per_image,
)
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.intervals import Difference
from blemish.metrics.pixels import PixelMetrics
from blemish.types import Image, Mask, Prediction

LIMITS = (0.30, 0.05)
PER_IMAGE = {"x_auc": "Pixel AUROC per image", "x_f1_max": "Pixel F1-max per image (oracle)"}


@dataclass(frozen=True)
class Duel:
    """One test image as both detectors see it.

    Attributes:
        record: What is known of the image.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool, the marked defect.
        predictions: Of the first and of the second detector.
        x_auc: Pixel AUROC of each map within this image.
    """

    record: Record
    image: Image
    truth: Mask
    predictions: tuple[Prediction, Prediction]
    x_auc: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """What the comparison of two detectors on one data set found.

    Attributes:
        evaluations: Of the first and of the second detector.
        differences: Label to paired difference, first minus second, with its interval.
        shares_won: Label to the share in [0, 1] of images on which the first is better, ties
            counting one half.
        duels: Images on which the maps differ most, largest difference first.
        notes: Why a difference is missing.
    """

    evaluations: tuple[Evaluation, Evaluation]
    differences: Mapping[str, Difference]
    shares_won: Mapping[str, float]
    duels: tuple[Duel, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without pictures."""
        return {
            "schema": "blemish.comparison/1",
            "first": dict(self.evaluations[0].detector),
            "second": dict(self.evaluations[1].detector),
            "data": dict(self.evaluations[0].data),
            "differences": {k: d._asdict() for k, d in self.differences.items()},
            "shares_won": dict(self.shares_won),
            "notes": list(self.notes),
        }


def compare(
    first: Detector,
    second: Detector,
    data: DataSet,
    *,
    progress: Progress = silent,
    examples: int = 12,
    seed: int = 0,
) -> Comparison:
    """Evaluate two detectors on the test images of a data set and compare them pair by pair.

    Args:
        first: A fitted detector.
        second: Another one.
        data: Its test images are used.
        progress: Called with a stage, images done and images in all.
        examples: How many images to keep with both maps.
        seed: Seed of the paired bootstrap, which draws parts, or regions for AUPRO.

    Raises:
        BlemishError: As for :func:`blemish.evaluate`.
    """
    sides = (_Side(first, data), _Side(second, data))
    evaluations = (
        sides[0].evaluate(progress, "A", seed),
        sides[1].evaluate(progress, "B", seed),
    )
    differences, shares, notes = _differences(sides, evaluations, seed)
    duels = _duels(sides, data, examples)
    return Comparison(evaluations, differences, shares, duels, tuple(notes))


class _Side:
    """One detector and what its predictions add up to."""

    def __init__(self, detector: Detector, data: DataSet):
        self.detector, self.data = detector, data
        self.pixels = PixelMetrics(limits=LIMITS, replicates=0)
        self.explained = ExplainabilityMetrics(replicates=0)

    def evaluate(self, progress: Progress, name: str, seed: int) -> Evaluation:
        return evaluate(
            self.detector,
            self.data,
            progress=lambda stage, done, total: progress(f"{stage} {name}", done, total),
            on_prediction=self._add,
            examples=0,
            seed=seed,
        )

    def _add(self, record: Record, prediction: Prediction) -> None:
        shape = (prediction.anomaly_map.shape[0], prediction.anomaly_map.shape[1])
        truth = self.data.mask(record, shape)
        geometry = self.detector.pipeline.geometry
        valid = geometry.image_valid(geometry.layout(shape))
        found = (prediction.anomaly_map, truth, valid, record.key, record.group)
        self.pixels.add(*found, prediction.defective)
        self.explained.add(*found, record.defective)

    def x_auc(self) -> dict[str, float]:
        """Pixel AUROC within each image that has one."""
        values = self.explained.table()["x_auc"]
        return {k: float(v) for k, v in zip(self.explained.keys, values, strict=True)}


def _differences(
    sides: tuple[_Side, _Side], evaluations: tuple[Evaluation, ...], seed: int
) -> tuple[dict[str, Difference], dict[str, float], list[str]]:
    one, two = (e.images for e in evaluations)
    defective, groups = [r.defective for r in one], [r.group for r in one]
    found: dict[str, Difference] = {}
    shares: dict[str, float] = {}
    notes: list[str] = []
    try:
        scores = ([r.score for r in one], [r.score for r in two])
        found["Image AUROC"] = compare_image_auroc(*scores, defective, groups, seed)
        flags = ([r.flagged for r in one], [r.flagged for r in two])
        found["Balanced accuracy"] = compare_decisions(*flags, defective, groups, seed)
    except MetricError as error:
        notes.append(f"Image AUROC: {error}")
    for limit in LIMITS:
        try:
            pixels = (sides[0].pixels, sides[1].pixels)
            found[f"AUPRO@{limit:.2f}"] = compare_aupro(*pixels, limit, seed)
        except MetricError as error:
            notes.append(f"AUPRO@{limit:.2f}: {error}")
    for name, label in PER_IMAGE.items():
        try:
            explained = (sides[0].explained, sides[1].explained)
            found[label], shares[label] = compare_per_image(*explained, name, seed)
        except MetricError as error:
            notes.append(f"{label}: {error}")
    return found, shares, notes


def _duels(sides: tuple[_Side, _Side], data: DataSet, examples: int) -> tuple[Duel, ...]:
    """Predict again the few images that are shown: keeping all maps would need memory."""
    one, two = sides[0].x_auc(), sides[1].x_auc()
    known = [k for k in one if k in two and np.isfinite(one[k]) and np.isfinite(two[k])]
    known.sort(key=lambda key: (-abs(one[key] - two[key]), key))
    records = {r.key: r for r in data}
    duels = []
    for key in known[:examples]:
        record = records[key]
        image = data.image(record)
        truth = data.mask(record, (image.shape[0], image.shape[1]))
        if truth is not None:
            found = (sides[0].detector.predict(image), sides[1].detector.predict(image))
            duels.append(Duel(record, image, truth, found, (one[key], two[key])))
    return tuple(duels)
