"""Pooled pixel figures from the anomalous pixels and the counts of good pixels around them.

Every pooled figure needs the good pixels only through two numbers at each anomalous value v: how
many good pixels lie above v and how many at or above it. With exact counts the figures are exact;
with counts of a known largest error the error of each figure is bounded here, not estimated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

PAPER_THRESHOLDS = 99


class Bounded(NamedTuple):
    """A value and the largest error that it can have."""

    value: float
    bound: float


@dataclass(frozen=True)
class PooledPixels:
    """All anomalous pixels in ascending order, and where they stand among the good ones.

    Attributes:
        values: (P,) float32, ascending.
        regions: (P,) int32, the region of each pixel, counted from 0 over the whole test set.
        above: (P,) int64, good pixels above the value.
        not_below: (P,) int64, good pixels at or above the value.
        error: (P,) int64, largest error of both counts.
        good: Number of good pixels, N.
        areas: (R,) int64, pixels of each region.
        images: (R,) int64, the image of each region, in the order in which images were added.
    """

    values: NDArray[np.float32]
    regions: NDArray[np.int32]
    above: NDArray[np.int64]
    not_below: NDArray[np.int64]
    error: NDArray[np.int64]
    good: int
    areas: NDArray[np.int64]
    images: NDArray[np.int64]

    def with_counts(
        self, above: NDArray[np.int64], not_below: NDArray[np.int64], error: NDArray[np.int64]
    ) -> PooledPixels:
        """The same anomalous pixels with other counts of good pixels, each (P,)."""
        return replace(self, above=above, not_below=not_below, error=error)

    def auroc(self) -> Bounded:
        """Chance that an anomalous pixel lies above a good one; ties count one half."""
        value = 1 - float(np.mean(self.above + self.not_below)) / (2 * self.good)
        return Bounded(value, float(np.mean(self.error)) / self.good)

    def average_precision(self) -> Bounded:
        """Mean over the anomalous pixels of the precision at their value, as a step function."""
        starts, hits, falses, errors = self._thresholds()
        sizes = np.diff(np.append(starts, self.values.size))

        def average(false: Numbers) -> float:
            return float(np.sum(sizes * (hits / (hits + false))) / self.values.size)

        return _between(average, falses, errors, self.good)

    def f1_max(self) -> Bounded:
        """Largest F1 over all thresholds: an oracle."""
        _, hits, falses, errors = self._thresholds()

        def best(false: Numbers) -> float:
            return float(np.max(2 * hits / (hits + false + self.values.size)))

        return _between(best, falses, errors, self.good)

    def iou_max(self) -> Bounded:
        """Largest intersection over union over all thresholds: an oracle."""
        _, hits, falses, errors = self._thresholds()

        def best(false: Numbers) -> float:
            return float(np.max(hits / (false + self.values.size)))

        return _between(best, falses, errors, self.good)

    def region_scores(self, limit: float) -> tuple[Numbers, Numbers]:
        """AUPRO of each region by itself; AUPRO of a set of regions is the mean over the set.

        The per-region overlap is a mean over regions and the false-positive rate is common to all,
        so that the area under the curve is the mean of the areas of the regions. The area of one
        pixel is the part of ``[0, limit]`` in which it is found: ``limit - FPR`` at its value.

        Args:
            limit: Largest false-positive rate, in (0, 1].

        Returns:
            (R,) float64 scores in [0, 1], and the largest possible error of each.
        """
        low, high = self.above / self.good, self.not_below / self.good
        step = high - low
        # a tie of good and anomalous pixels is a slanted piece of the curve, cut at the limit
        cut = np.where(step > 0, (limit - low) ** 2 / (2 * np.where(step > 0, step, 1)), 0)
        gain = np.where(high <= limit, limit - (low + high) / 2, np.where(low < limit, cut, 0))
        slack = np.where(low - self.error / self.good < limit, self.error / self.good, 0)
        return self._per_region(gain / limit), self._per_region(slack / limit)

    def paper_region_scores(self, limit: float) -> tuple[Numbers, Numbers]:
        """The same with the 99 thresholds of the L2BT code instead of all.

        Thresholds are the good values at positions ⌊linspace(0, N-1, 99)⌋ of the ascending order,
        with FPR ``1 - (position + 1) / N``; a pixel is found where it is strictly above.

        Args:
            limit: Largest false-positive rate, in (0, 1].

        Returns:
            (R,) float64 scores in [0, 1], and the largest possible error of each.
        """
        positions = np.linspace(0, self.good - 1, PAPER_THRESHOLDS).astype(np.int64)
        rates = np.concatenate([[1.0], 1 - (positions + 1) / self.good])
        gains = _areas_of_steps(rates, limit) / limit
        below = self.good - self.not_below

        def found(good_below: NDArray[np.int64]) -> NDArray[np.int64]:
            # strictly above the k-th smallest good value = at least k good values are below
            return np.searchsorted(positions + 1, good_below, "right")

        gain = gains[found(below)]
        more = gains[found(np.minimum(below + self.error, self.good))]
        less = gains[found(np.maximum(below - self.error, 0))]
        slack = np.maximum(more - gain, gain - less)
        return self._per_region(gain), self._per_region(slack)

    def pro_curve(self) -> tuple[Numbers, Numbers]:
        """False-positive rate and mean per-region overlap at each anomalous value, from (0, 0)."""
        weight = 1 / (self.areas[self.regions] * self.areas.size)
        starts, _, _, _ = self._thresholds()
        overlap = np.add.reduceat(weight, starts)[::-1].cumsum()
        rates = np.stack([self.above[starts], self.not_below[starts]], 1)[::-1] / self.good
        overlaps = np.stack([np.append(0, overlap[:-1]), overlap], 1)
        return (
            np.concatenate([[0.0], rates.ravel(), [1.0]]),
            np.concatenate([[0.0], np.minimum(overlaps.ravel(), 1), [1.0]]),
        )

    def precision_recall_curve(self) -> tuple[Numbers, Numbers]:
        """Recall and precision at each anomalous value, from high to low values."""
        _, hits, falses, _ = self._thresholds()
        return hits[::-1] / self.values.size, (hits / (hits + falses))[::-1]

    def _thresholds(self) -> tuple[NDArray[np.intp], Numbers, Numbers, Numbers]:
        """First index, true and false positives, and their error, of each distinct value."""
        new = np.append(True, self.values[1:] != self.values[:-1])
        starts = np.flatnonzero(new)
        hits = (self.values.size - starts).astype(np.float64)
        falses = self.not_below[starts].astype(np.float64)
        return starts, hits, falses, self.error[starts].astype(np.float64)

    def _per_region(self, gain: Numbers) -> Numbers:
        return np.bincount(self.regions, gain, minlength=self.areas.size) / self.areas


def _between(
    function: Callable[[Numbers], float], falses: Numbers, errors: Numbers, good: int
) -> Bounded:
    """Bound a figure that falls when false positives grow, by their smallest and largest counts."""
    value = function(falses)
    if not np.any(errors):
        return Bounded(value, 0.0)
    best = function(np.maximum(falses - errors, 0))
    worst = function(np.minimum(falses + errors, good))
    return Bounded(value, max(best - value, value - worst))


def _areas_of_steps(rates: Numbers, limit: float) -> Numbers:
    """Area up to `limit` of the curve that is 1 at the first j + 1 of `rates`, for each j.

    `rates` (K + 1,) falls from 1 to 0; between two of them the curve is linear.
    """
    x = rates[::-1]
    last = int(np.searchsorted(x, limit, "left"))  # first rate at or above the limit
    part = (limit - x[last - 1]) / (x[last] - x[last - 1])
    xs = np.append(x[:last], limit)
    areas = np.empty(rates.size)
    for j in range(rates.size):
        y = (np.arange(rates.size) >= rates.size - 1 - j).astype(np.float64)
        ys = np.append(y[:last], y[last - 1] + part * (y[last] - y[last - 1]))
        areas[j] = np.sum(np.diff(xs) * (ys[1:] + ys[:-1]) / 2)
    return areas
