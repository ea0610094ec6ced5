"""What happens to an anomaly map after a method made it: smoothing, pooling, regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.types import Map, Mask, Region

Pool = Literal["max", "top_share", "mean_pool"]
EIGHT = np.ones((3, 3), int)  # 8-neighbourhood: pixels that touch at a corner are connected


@dataclass(frozen=True)
class Post:
    """The steps between a method's map and a score; a method declares them, a file stores them.

    Attributes:
        blur: Standard deviation of a Gaussian in pixels of `frame`; 0 = none.
        boxes: Widths in pixels of box filters, applied in turn after the Gaussian.
        frame: ``"canvas"`` (working resolution) or ``"image"``: where the map is smoothed and
            pooled.
        pool: How a map becomes a score where the method gives none: its ``"max"``; the mean of
            the ``"top_share"`` of its pixels; or the maximum of a ``"mean_pool"``.
        pool_value: The share in (0, 1] for ``"top_share"``, the window in pixels for
            ``"mean_pool"``.
    """

    blur: float = 0.0
    boxes: tuple[int, ...] = ()
    frame: Literal["canvas", "image"] = "canvas"
    pool: Pool = "max"
    pool_value: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``Post(**values)`` reads them back."""
        return {**asdict(self), "boxes": list(self.boxes)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Post:
        """Read back what :meth:`to_json` wrote."""
        return cls(**{**values, "boxes": tuple(values["boxes"])})


def smooth(anomaly_map: Map, valid: Mask | None, post: Post) -> Map:
    """Apply the filters of `post`.

    Args:
        anomaly_map: (H, W) float32, 0 where not valid.
        valid: (H, W) bool; None = everything. What is not valid neither raises nor lowers what is.
        post: The steps.

    Returns:
        (H, W) float32, 0 where not valid.
    """
    if not post.blur and not post.boxes:
        return anomaly_map
    return filter_inside(anomaly_map, valid, lambda values: _filter(values, post))


def filter_inside(anomaly_map: Map, valid: Mask | None, mean: Callable[[Map], Map]) -> Map:
    """Take weighted means of valid pixels only.

    Args:
        anomaly_map: (H, W) float32, 0 where not valid.
        valid: (H, W) bool; None = everything.
        mean: A linear filter of (H, W) that leaves a constant as it is.

    Returns:
        (H, W) float32, 0 where not valid.
    """
    filtered = mean(anomaly_map)
    if valid is None or valid.all():
        return filtered
    weight = mean(valid.astype(np.float32))
    return np.where(valid, filtered / np.maximum(weight, 1e-6), 0).astype(np.float32)


def smooth_axis(matrix: NDArray[np.float32], post: Post) -> NDArray[np.float32]:
    """Put the filters of `post` behind a linear map along one axis.

    All filters are linear and separable, so what brings a small map to a large image can blur it on
    the way: ``smooth(R @ m @ C.T)`` is ``smooth_axis(R) @ m @ smooth_axis(C).T``.

    Args:
        matrix: (n_out, n_in) float32.
        post: The steps; only where every pixel is valid.
    """
    values = matrix.astype(np.float64)
    if post.blur:
        values = ndimage.gaussian_filter1d(values, post.blur, axis=0, mode="nearest")
    for width in post.boxes:
        values = ndimage.uniform_filter1d(values, width, axis=0, mode="constant")
    return values.astype(np.float32)


def pool_score(anomaly_map: Map, valid: Mask | None, post: Post) -> float:
    """Pool the valid pixels of a map to one score, as `post` says."""
    if post.pool == "mean_pool":
        size = max(1, round(post.pool_value))
        anomaly_map = ndimage.uniform_filter(anomaly_map, size, mode="nearest")
    values = anomaly_map.ravel() if valid is None else anomaly_map[valid]
    if values.size == 0:
        return 0.0
    if post.pool != "top_share":
        return float(values.max())
    count = max(1, int(post.pool_value * values.size))
    return float(np.partition(values, values.size - count)[values.size - count :].mean())


def find_regions(anomaly_map: Map, mask: Mask, threshold: float | Map) -> tuple[Region, ...]:
    """List the connected parts of a mask (8-neighbourhood), largest share of the score first.

    Args:
        anomaly_map: (H, W) float32.
        mask: (H, W) bool.
        threshold: The pixel threshold, or (H, W) of them; shares count what a map rises above it.
    """
    if not mask.any():
        return ()
    # Labels are large integers: only the rows and columns that hold something get them.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    inner = (slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1))
    anomaly_map, (labels, _) = anomaly_map[inner], ndimage.label(mask[inner], EIGHT)
    limits = np.broadcast_to(np.asarray(threshold, np.float32), mask.shape)[inner]
    areas, peaks, excess, boxes = [], [], [], []
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[found] == number
        inside = anomaly_map[found][own]
        areas.append(inside.size)
        peaks.append(float(inside.max()))
        excess.append(float((inside - limits[found][own]).sum(dtype=np.float64)))
        (y0, y1), (x0, x1) = ((axis.start, axis.stop) for axis in found)
        boxes.append((left + x0, top + y0, left + x1, top + y1))
    # Where nothing rises above the threshold, shares are those of the area.
    parts = excess if sum(excess) > 0 else areas
    regions = [
        Region(box, area, peak, part / sum(parts))
        for box, area, peak, part in zip(boxes, areas, peaks, parts, strict=True)
    ]
    return tuple(sorted(regions, key=lambda r: (-r.share, r.box)))


def _filter(values: NDArray[np.float32], post: Post) -> NDArray[np.float32]:
    if post.blur:
        values = ndimage.gaussian_filter(values, post.blur, mode="nearest")
    for width in post.boxes:
        values = ndimage.uniform_filter(values, width, mode="constant")
    return values
