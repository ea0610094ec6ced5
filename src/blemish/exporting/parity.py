"""The parity gate: does an exported file give the answers of the detector it came from?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from blemish.detector import Detector
from blemish.methods.base import Run
from blemish.types import Image, Prediction

BATCH = 8  # images that are judged together
NO_MAP: Any = np.zeros((0, 0), np.float32)


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
    "fp16": Tolerance(0.02, 0.02, np.inf, mask=0.02),
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
    found, run, left = list[_Pair](), run or Run(), iter(images)
    while chunk := list(islice(left, BATCH)):
        for image, together in zip(chunk, exported.predict_each(chunk), strict=True):
            expected = reference.predict(image)
            found += [_pair(expected, f, tolerance) for f in (exported.predict(image), together)]
        run.progress("comparing", len(found) // 2, len(found) // 2)
    return measure(reference, found, tolerance)


@dataclass(frozen=True)
class _Pair:
    """What is kept of two predictions of one image: numbers, not maps."""

    low: float
    high: float
    apart: float
    mask: float
    expected: Prediction
    found: Prediction


def _pair(expected: Prediction, found: Prediction, tolerance: Tolerance) -> _Pair:
    low, high = float(expected.anomaly_map.min()), float(expected.anomaly_map.max())
    apart = float(np.abs(expected.anomaly_map - found.anomaly_map).max())
    mask = _mask_share(expected, found, tolerance.map * (high - low))
    small = [replace(p, anomaly_map=NO_MAP, mask=NO_MAP, pictures={}) for p in (expected, found)]
    return _Pair(low, high, apart, mask, *small)


def measure(reference: Detector, pairs: Sequence[_Pair], tolerance: Tolerance) -> Parity:
    """Bring the differences of all images to the range of all maps and scores."""
    map_range = max(p.high for p in pairs) - min(p.low for p in pairs)
    scores = [p.expected.score for p in pairs]
    known = np.append(reference.calibration.scores, scores)
    score_range = float(known.max() - known.min())
    by_score = [_share(p.expected.score - p.found.score, score_range) for p in pairs]
    one_rank = reference.calibration.smallest_rate()
    ranks = [abs(p.expected.p_value - p.found.p_value) / one_rank for p in pairs]
    differ = [p.expected.defective != p.found.defective for p in pairs]
    margin = tolerance.score * score_range
    near = [abs(p.expected.score - p.expected.threshold) <= margin for p in pairs]
    flipped = [d and not n for d, n in zip(differ, near, strict=True)]
    return Parity(
        images=len(pairs),
        map=max(_share(p.apart, map_range) for p in pairs),
        score=max(by_score),
        ranks=round(max(ranks), 6),
        flipped=sum(flipped),
        near=sum(differ) - sum(flipped),
        mask=max(p.mask for p in pairs),
        tolerance=tolerance,
    )


def _share(difference: float, scale: float) -> float:
    """As a share of a range; of a range that is nothing, as it is."""
    return abs(difference) / (scale if scale > 1e-9 else 1.0)


def _mask_share(expected: Prediction, found: Prediction, margin: float) -> float:
    """Share of the pixels that differ, those near the threshold not counted."""
    if expected.defective != found.defective:
        return 0.0  # counted as a decision: a good part has no mask
    clear = np.abs(expected.anomaly_map - expected.pixel_threshold) > margin
    return float(((expected.mask != found.mask) & clear).mean())
