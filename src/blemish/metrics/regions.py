"""Ground-truth regions: 8-connected components of the truth mask, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.metrics.checking import Map, Mask

EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class ImageRegions:
    """The anomalous pixels of one image.

    Attributes:
        values: (n,) float32, map values of the valid anomalous pixels.
        regions: (n,) int32, the region of each, counted from 0.
        areas: (r,) int64, valid pixels of each region, all above 0.
        lost: Regions that lie outside the valid area altogether.
    """

    values: NDArray[np.float32]
    regions: NDArray[np.int32]
    areas: NDArray[np.int64]
    lost: int = 0


def good_pixels(anomaly_map: Map, truth: Mask, valid: Mask | None) -> NDArray[np.float32]:
    """Map values (n,) float32 of the valid pixels outside the truth; a view where all are."""
    if valid is not None:
        return anomaly_map[valid & ~truth]
    return anomaly_map[~truth] if truth.any() else anomaly_map.ravel()


def find_regions(anomaly_map: Map, truth: Mask, valid: Mask | None) -> ImageRegions:
    """Split the anomalous pixels of an image into regions.

    Components are found in the whole truth mask, then cut to the valid area, so that an ignored
    stripe across one defect does not make two of it. The area of a region is what stays valid.

    Args:
        anomaly_map: (H, W) float32.
        truth: (H, W) bool.
        valid: (H, W) bool, or None where every pixel counts.
    """
    rows = np.flatnonzero(truth.any(1))
    if not rows.size:
        nothing = np.empty(0, np.int32)
        return ImageRegions(nothing.astype(np.float32), nothing, nothing.astype(np.int64))
    columns = np.flatnonzero(truth.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))  # labels only there
    labels, found = ndimage.label(truth[box], EIGHT)
    if valid is not None:
        labels = np.where(valid[box], labels, 0)
    inside = labels > 0
    names = labels[inside].astype(np.int32) - 1
    areas = np.bincount(names, minlength=found)
    kept = areas > 0
    renumbered = (np.cumsum(kept) - 1).astype(np.int32)
    return ImageRegions(
        anomaly_map[box][inside],
        renumbered[names],
        areas[kept].astype(np.int64),
        int(found - np.count_nonzero(kept)),
    )
