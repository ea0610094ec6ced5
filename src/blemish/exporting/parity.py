"""The parity gate: does an exported file give the answers of the detector it came from?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.detector import Detector
from blemish.methods.base import Run
from blemish.types import Image, Prediction


@dataclass(frozen=True)
class Tolerance:
    """What is still the same answer.

    Attributes:
        map: Largest difference of map values, as a share of the range of the maps.
        score: Largest difference of scores, as a share of their range.
        ranks: Largest difference of p-values, in ranks among the calibration scores.
        flipped: Share of images whose decision may differ although the score is farther from the
            threshold than `score`.
        mask: Share of the pixels of an image whose mask may differ although the map is farther
            from the pixel threshold than `map`.
    """

    map: float
    score: float
    ranks: float
    flipped: float = 0.0
    mask: float = 0.0


# fp16 and int8 round weights and activations: another answer by as much as that is to be expected.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(1e-4, 1e-4, 1.0),
    "fp16": Tolerance(1e-2, 1e-2, 3.0),
    "int8": Tolerance(0.2, 0.2, np.inf, flipped=0.05, mask=0.05),
}


@dataclass(frozen=True)
class Parity:
    """How far two detectors are apart, over all images and both ways of running.

    Attributes:
        images: Number of images.
        map: Largest difference of map values, as a share of the range of the maps.
        score: Largest difference of scores, as a share of their range.
        ranks: Largest difference of p-values, in ranks.
        flipped: Decisions that differ, scores within tolerance of the threshold not counted.
        near: Decisions that differ within tolerance of the threshold.
        mask: Largest share of the pixels of an image whose mask differs.
        tolerance: What was allowed.
    """

    images: int
    map: float
    score: float
    ranks: float
    flipped: int
    near: int
    mask: float
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """Whether all are within tolerance."""
        return all(row[3] for row in self._rows())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values["tolerance"]["ranks"] = min(values["tolerance"]["ranks"], 1e9)
        return values

    def table(self) -> str:
        """What differs by how much, and what was allowed; one line each."""
        lines = [f"{'':34} {'found':>10} {'allowed':>10}"]
        for what, found, allowed, fine in self._rows():
            lines.append(f"{what:34} {found:10.3g} {allowed:10.3g}{'' if fine else '  APART'}")
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, float, float, bool]]:
        t = self.tolerance
        pairs = [
            ("map, share of its range", self.map, t.map),
            ("score, share of its range", self.score, t.score),
            ("p-value, ranks", self.ranks, t.ranks),
            (f"flipped decisions of {self.images}", self.flipped, t.flipped * self.images),
            ("mask, share of pixels", self.mask, t.mask),
        ]
        # "not more than" would let a NaN pass.
        return [(what, found, allowed, found <= allowed) for what, found, allowed in pairs]


def compare(
    reference: Detector,
    exported: Detector,
    images: Iterable[Image],
    tolerance: Tolerance,
    run: Run | None = None,
) -> Parity:
    """Judge images by both detectors, by the exported one alone and in a batch.

    Args:
        reference: The detector that was fitted.
        exported: The same, read back from an exported file.
        images: (H, W, 3) uint8 each.
        tolerance: What is still the same answer.
        run: Progress.
    """
    images, run = list(images), run or Run()
    pairs = []
    batched = exported.predict_each(images)
    for done, (image, together) in enumerate(zip(images, batched, strict=True), start=1):
        expected = reference.predict(image)
        pairs += [(expected, exported.predict(image)), (expected, together)]
        run.progress("comparing", done, len(images))
    return measure(reference, pairs, tolerance)


def measure(
    reference: Detector, pairs: list[tuple[Prediction, Prediction]], tolerance: Tolerance
) -> Parity:
    """Compare predictions, expected and found."""
    spans = [(float(e.anomaly_map.min()), float(e.anomaly_map.max())) for e, _ in pairs]
    map_range = max(high for _, high in spans) - min(low for low, _ in spans)
    scores = np.array([e.score for e, _ in pairs])
    known = np.append(reference.calibration.scores, scores)
    score_range = float(known.max() - known.min())
    by_map = [_largest(e.anomaly_map - f.anomaly_map, map_range) for e, f in pairs]
    by_score = [_largest(np.array([e.score - f.score]), score_range) for e, f in pairs]
    one_rank = reference.calibration.smallest_rate()
    ranks = [abs(e.p_value - f.p_value) / one_rank for e, f in pairs]
    differ = [e.defective != f.defective for e, f in pairs]
    near = [abs(e.score - e.threshold) <= tolerance.score * score_range for e, _ in pairs]
    masks = [_mask_share(e, f, tolerance.map * map_range) for e, f in pairs]
    flipped = [d and not n for d, n in zip(differ, near, strict=True)]
    return Parity(
        images=len(pairs),
        map=max(by_map),
        score=max(by_score),
        ranks=round(max(ranks), 6),
        flipped=sum(flipped),
        near=sum(differ) - sum(flipped),
        mask=max(masks),
        tolerance=tolerance,
    )


def _largest(difference: NDArray[Any], scale: float) -> float:
    """As a share of a range; of a range that is nothing, as it is."""
    return float(np.abs(difference).max()) / (scale if scale > 1e-9 else 1.0)


def _mask_share(expected: Prediction, found: Prediction, margin: float) -> float:
    """Share of the pixels that differ, those near the threshold not counted."""
    if expected.defective != found.defective:
        return 0.0  # counted as a decision: a good part has no mask
    clear = np.abs(expected.anomaly_map - expected.pixel_threshold) > margin
    return float(((expected.mask != found.mask) & clear).mean())
