"""What blemish hands to its users: predictions and regions. Plain data, numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) uint8 RGB in [0, 255]
Pixels = NDArray[np.float32]  # (H, W, 3) float32 RGB in [0, 1], or a batch (B, H, W, 3)
Map = NDArray[np.float32]  # (H, W) float32, higher = more anomalous
Mask = NDArray[np.bool_]  # (H, W) bool

PREDICTION_SCHEMA = "blemish.prediction/1"


@dataclass(frozen=True)
class Region:
    """One connected defect (8-neighbourhood) in the frame of the image.

    Attributes:
        box: Left, top, right, bottom in pixels; right and bottom are exclusive.
        area: Number of pixels.
        peak: Largest value of the anomaly map inside.
        share: Share in [0, 1] of the map above the pixel threshold that lies inside; the shares of
            all regions of an image add up to 1.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float
    share: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "box": list(self.box),
            "area_px": self.area,
            "peak": self.peak,
            "share": self.share,
        }


@dataclass(frozen=True)
class Prediction:
    """What a detector says of one image.

    Attributes:
        key: The path or name of the image, or ``""`` for an array.
        score: Anomaly score; higher = more anomalous.
        p_value: Conformal p-value in (0, 1]: how often a good part looks at least this odd.
        defective: The decision at the false-alarm rate `false_alarms`.
        false_alarms: The share of good parts in (0, 1) that the user accepts to be flagged.
        threshold: The score above which a part is called defective.
        pixel_threshold: The map value above which a pixel belongs to a defect.
        anomaly_map: (H, W) float32 in the frame of the image; 0 outside the region of interest.
        mask: (H, W) bool; empty when the part is judged good.
        regions: Connected parts of `mask`, largest share first.
        pictures: Reconstructions and the like that a method offers, name to (H, W, 3) uint8.
    """

    key: str
    score: float
    p_value: float
    defective: bool
    false_alarms: float
    threshold: float
    pixel_threshold: float
    anomaly_map: Map
    mask: Mask
    regions: tuple[Region, ...] = ()
    pictures: Mapping[str, Image] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values without the map; the schema is ``schemas/prediction-1.json``."""
        return {
            "schema": PREDICTION_SCHEMA,
            "image": self.key,
            "width": int(self.anomaly_map.shape[1]),
            "height": int(self.anomaly_map.shape[0]),
            "score": self.score,
            "p_value": self.p_value,
            "defective": self.defective,
            "false_alarms": self.false_alarms,
            "threshold": self.threshold,
            "pixel_threshold": self.pixel_threshold,
            "regions": [region.to_json() for region in self.regions],
        }
