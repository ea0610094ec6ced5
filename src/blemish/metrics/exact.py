"""The exact form of the pixel figures: a second pass over the same images.

The first pass (:class:`blemish.metrics.pixels.PixelMetrics`) keeps the anomalous pixels. The second
counts the good pixels above each of their values, without any error and in memory for one buffer
and 16 bytes per distinct anomalous value. The figures are then those of sorting every pixel of the
test set at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError
from blemish.metrics.checking import checked_map, checked_mask
from blemish.metrics.figure import Figure
from blemish.metrics.pixel_figures import pixel_figures
from blemish.metrics.pixels import PixelMetrics
from blemish.metrics.pooled import PooledPixels
from blemish.metrics.rank_summary import BUFFER
from blemish.metrics.regions import good_pixels


class ExactPixelMetrics:
    """Counts good pixels exactly around the anomalous values of a finished first pass.

    Args:
        first: The accumulator of the first pass; it must see no further image.
        buffer: Good pixels that are sorted together.
    """

    def __init__(self, first: PixelMetrics, buffer: int = BUFFER):
        self._first = first
        found = first.pooled()
        self._pooled = found
        values = found.values if isinstance(found, PooledPixels) else np.empty(0, np.float32)
        self._thresholds, self._place = np.unique(values, return_inverse=True)
        self._above = np.zeros(self._thresholds.size, np.int64)
        self._not_below = np.zeros(self._thresholds.size, np.int64)
        self._buffer = np.empty(buffer, np.float32)
        self._used = 0
        self._seen: set[int] = set()

    def add(
        self,
        anomaly_map: ArrayLike,
        truth: ArrayLike | None,
        valid: ArrayLike | None = None,
        key: str = "",
    ) -> None:
        """Add one image of the first pass again.

        Args:
            anomaly_map: (H, W) float32, the same as in the first pass.
            truth: (H, W) bool, or None where a defect was not marked.
            valid: (H, W) bool, or None where every pixel counts.
            key: Its name; images without one must come in the order of the first pass.

        Raises:
            MetricError: The image is not one of the first pass, has another map, or came twice.
        """
        if truth is None:
            return
        values = checked_map(anomaly_map, key)
        marked = checked_mask(truth, values.shape, "truth", key)
        inside = None if valid is None else checked_mask(valid, values.shape, "valid", key)
        good = good_pixels(values, marked, inside)
        number = self._first.log.find(key, len(self._seen), good)
        if number in self._seen:
            raise MetricError(f"{key!r} came twice in the second pass; add every image once.")
        self._seen.add(number)
        while good.size:
            taken = good[: self._buffer.size - self._used]
            self._buffer[self._used : self._used + taken.size] = taken
            self._used += taken.size
            good = good[taken.size :]
            if self._used == self._buffer.size:
                self._count()

    def figures(self) -> dict[str, Figure]:
        """All figures of :meth:`PixelMetrics.figures`, with the estimator ``"exact"``.

        Raises:
            MetricError: The second pass has not seen every image of the first.
        """
        pooled = self.pooled()
        return pixel_figures(pooled, self._first.log, self._first.settings, "exact")

    def pooled(self) -> PooledPixels | str:
        """The anomalous pixels with exact counts, or why there are none.

        Raises:
            MetricError: The second pass has not seen every image of the first.
        """
        if len(self._seen) != self._first.images:
            raise MetricError(
                f"The second pass saw {len(self._seen)} of {self._first.images} images; add the "
                "others too."
            )
        self._count()
        if isinstance(self._pooled, str):
            return self._pooled
        above, not_below = self._above[self._place], self._not_below[self._place]
        return self._pooled.with_counts(above, not_below, np.zeros_like(above))

    def _count(self) -> None:
        values: NDArray[np.float32] = self._buffer[: self._used]
        values.sort()
        self._above += values.size - np.searchsorted(values, self._thresholds, "right")
        self._not_below += values.size - np.searchsorted(values, self._thresholds, "left")
        self._used = 0
