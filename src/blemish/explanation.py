"""Why a part was flagged: which regions carry which share of what was found.

A map becomes regions at one of four thresholds: the calibrated one; a local one, which is high
where good parts have high maps too; and mean + deviation of the map itself [1], or of the maps of
good parts, which say where a defect is but not whether there is one.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025.

Differs from [1]: the threshold for a whole class comes from calibration images, not from the test
set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from blemish.adaptive_blur import mean_plus_deviation
from blemish.calibration import CELLS
from blemish.detector import Detector
from blemish.errors import UnknownNameError
from blemish.maps import find_regions
from blemish.resampling import linear_matrix
from blemish.types import Map, Mask, Prediction, Region

RULES = ("calibrated", "local", "image", "class")


@dataclass(frozen=True)
class Explanation:
    """Where the map of one image stands out, and how much each place counts.

    Attributes:
        rule: Which threshold was used.
        threshold: (H, W) float32, constant but for ``"local"``.
        mask: (H, W) bool, valid pixels above the threshold, also of a part judged good.
        regions: Connected parts of `mask`; their shares add up to 1, largest first.
        inside: Share in [0, 1] of the sum of the map that lies within `mask`.
    """

    rule: str
    threshold: Map
    mask: Mask
    regions: tuple[Region, ...]
    inside: float

    def text(self) -> str:
        """A few sentences for people."""
        if not self.regions:
            return "Nothing stands out."
        lines = [
            f"{len(self.regions)} region{'s' * (len(self.regions) > 1)}, with "
            f"{self.inside:.0%} of the map."
        ]
        for region in self.regions[:5]:
            left, top, right, bottom = region.box
            lines.append(
                f"{region.share:.0%}: {right - left}×{bottom - top} px at {left},{top}, "
                f"{region.area} px, peak {region.peak:.4g}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values without the arrays."""
        return {
            "rule": self.rule,
            "inside": self.inside,
            "regions": [region.to_json() for region in self.regions],
        }


def explain(detector: Detector, prediction: Prediction, rule: str = "calibrated") -> Explanation:
    """Cut the map of a prediction into regions and say what each contributes.

    Args:
        detector: The detector that made the prediction.
        prediction: What it said.
        rule: ``"calibrated"``: the detector's pixel threshold; ``"local"``: one for each place,
            at the same false-alarm rate; ``"image"``: mean + deviation of this map, which always
            marks something; ``"class"``: mean + deviation of the calibration maps.

    Raises:
        UnknownNameError: No such rule.
        DataError: A local threshold from a detector without calibration maps.
    """
    found = prediction.anomaly_map
    shape = (found.shape[0], found.shape[1])
    geometry = detector.pipeline.geometry
    valid = geometry.image_valid(geometry.layout(shape))
    threshold = np.broadcast_to(_threshold(detector, found, valid, rule), shape)
    threshold = np.asarray(threshold, np.float32)
    mask = (found > threshold) & valid
    total = float(found[valid].sum(dtype=np.float64))
    inside = float(found[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0
    return Explanation(rule, threshold, mask, find_regions(found, mask, threshold), inside)


def _threshold(detector: Detector, found: Map, valid: Mask, rule: str) -> Map | float:
    if rule == "calibrated":
        return detector.pixel_threshold
    if rule == "image":
        return mean_plus_deviation(found, valid)
    if rule == "class":
        mean, deviation = detector.calibration.map_moments()
        return mean + deviation
    if rule != "local":
        raise UnknownNameError("threshold rule", rule, RULES)
    rate = detector.pixel_false_alarms or detector.false_alarms
    cells = detector.calibration.local_thresholds(rate)
    rows, columns = (linear_matrix(CELLS, size) for size in found.shape)
    return np.asarray(rows @ cells @ columns.T, np.float32)
