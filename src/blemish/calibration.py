"""From scores to decisions that keep a promise.

Scores of held-out good images turn a new score into a p-value by split conformal prediction [1]:
under exchangeability of parts, a good part gets ``p <= alpha`` with probability at most ``alpha``.
Photos of one part are not exchangeable with each other, so each part (group) counts once.

[1] V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", Springer 2005.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import betaincinv

from blemish.errors import DataError, OptionError
from blemish.types import Map, Mask

PixelRule = Literal["images", "pixels"]
CELLS = 16  # of the grid of local thresholds, along each side
# Upper quantiles of the calibration maps that are kept for the pixel rule, densest near 1.
LEVELS = np.append(1 - np.geomspace(1, 1e-6, 600), 1.0)


@dataclass(frozen=True)
class Calibration:
    """Scores and map statistics of good images that the method did not learn from.

    Attributes:
        scores: (n,) float64, one per image.
        groups: (n,) int64, which images show the same part.
        peaks: (n,) float32, largest valid pixel of each map.
        quantiles: (n, 601) float32, quantiles of the valid pixels of each map at `LEVELS`.
        areas: (n,) int64, number of valid pixels.
        cells: (n, 16, 16) float32, largest valid pixel of each map in each cell of a grid over the
            image; None in files of earlier versions.
    """

    scores: NDArray[np.float64]
    groups: NDArray[np.int64]
    peaks: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    areas: NDArray[np.int64]
    cells: NDArray[np.float32] | None = None

    @cached_property
    def group_count(self) -> int:
        """Number of parts: the n of the guarantee."""
        return len(np.unique(self.groups))

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores in ascending order, and the weight of each score and all above it."""
        _, group, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        weights = 1.0 / sizes[group]
        order = np.argsort(self.scores, kind="stable")
        return self.scores[order], np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)

    def p_value(self, score: float) -> float:
        """How often a good part looks at least this odd, in [1 / (n + 1), 1].

        ``p = (1 + Σ over groups of the share of the group's images with score >= s) / (n + 1)``.
        """
        scores, above = self._sorted
        at_least = above[np.searchsorted(scores, score, side="left")]
        return min(1.0, (1.0 + float(at_least)) / (self.group_count + 1))

    def smallest_rate(self) -> float:
        """The smallest false-alarm rate that these scores can promise: 1 / (n + 1)."""
        return 1.0 / (self.group_count + 1)

    def cannot_promise(self, false_alarms: float) -> str | None:
        """What to tell a user who asks for less than these scores can promise; None = nothing."""
        smallest = self.smallest_rate()
        if false_alarms >= smallest - 1e-12:
            return None
        return (
            f"A false-alarm rate of {false_alarms:.3g} needs {np.ceil(1 / false_alarms) - 1:.0f} "
            f"calibration parts, there are {self.group_count}: a part is flagged above every "
            f"calibration score, which promises at most {smallest:.3g}. Add good images or ask for "
            "more."
        )

    def threshold(self, false_alarms: float) -> float:
        """The score above which a part is called defective.

        ``score > threshold`` is the same as ``p_value(score) <= false_alarms``. Below
        :meth:`smallest_rate` it is the largest calibration score, whose rate is at most
        ``1 / (n + 1)``.

        Args:
            false_alarms: Accepted share of good parts that are flagged, in (0, 1).
        """
        check_rate(false_alarms)
        scores, above = self._sorted
        allowed = false_alarms * (self.group_count + 1) - 1 + 1e-9
        # Weight strictly above each score; ties share the weight above the last of them.
        strictly = above[np.searchsorted(scores, scores, side="right")]
        return float(scores[np.argmax(strictly <= max(allowed, 0.0))])

    def rate_interval(self, false_alarms: float, level: float = 0.95) -> tuple[float, float]:
        """Interval of the true false-alarm rate at :meth:`threshold`, a Beta distribution.

        Over the draw of n calibration parts the rate above the k-th largest score is
        Beta(k, n + 1 - k), with k = ⌊false_alarms · (n + 1)⌋, at least 1.
        """
        check_rate(false_alarms)
        n = self.group_count
        k = min(max(1, math.floor(false_alarms * (n + 1) + 1e-9)), n)
        tail = (1 - level) / 2
        low, high = betaincinv(k, n + 1 - k, [tail, 1 - tail])
        return float(low), float(high)

    def pixel_threshold(self, share: float, rule: PixelRule = "images") -> float:
        """The map value above which a pixel belongs to a defect.

        Args:
            share: Accepted share, in (0, 1).
            rule: ``"images"``: at most this share of the calibration images has any valid pixel
                above; ``"pixels"``: at most this share of all their valid pixels lies above (from
                601 stored quantiles per image, rounded up to the next one).
        """
        check_rate(share)
        if rule == "images":
            ordered = np.sort(self.peaks)
            return float(ordered[len(ordered) - 1 - math.floor(share * len(ordered) + 1e-9)])
        weights = self.areas / self.areas.sum()
        candidates = np.unique(self.quantiles)
        low, high = 0, len(candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if self._share_above(candidates[middle], weights) <= share:
                high = middle
            else:
                low = middle + 1
        return float(candidates[low])

    def local_thresholds(self, share: float) -> NDArray[np.float32]:
        """A threshold for each cell of a grid over the image, high where good maps are high.

        Each is the quantile ``1 - share`` over the calibration images of what is the largest in the
        cell and its neighbours, times one factor for all cells, such that at most `share` of the
        calibration images, each judged by the quantiles of the others, has any pixel above.

        Args:
            share: Accepted share of images, in (0, 1).

        Returns:
            (16, 16) float32.

        Raises:
            DataError: Fewer than two calibration images, or a file of an earlier version.
        """
        check_rate(share)
        if self.cells is None or len(self.cells) < 2:
            raise DataError(
                "A local threshold needs the maps of at least 2 calibration images, which this "
                "detector does not hold; fit it again."
            )
        # A part may lie a cell further than any calibration part did.
        near = ndimage.maximum_filter(self.cells, (1, 3, 3))
        floor = max(float(near.max()) * 1e-3, 1e-12)
        usual = _upper(near, share) + floor
        worst = [
            float((self.cells[i] / (_upper(np.delete(near, i, axis=0), share) + floor)).max())
            for i in range(len(near))
        ]
        ordered = np.sort(worst)
        factor = ordered[len(ordered) - 1 - math.floor(share * len(ordered) + 1e-9)]
        return np.asarray(usual * factor, np.float32)

    def map_moments(self) -> tuple[float, float]:
        """Mean and deviation of all valid pixels of the maps, from their stored quantiles."""
        steps = np.diff(LEVELS)[None]
        middle = (self.quantiles[:, 1:] + self.quantiles[:, :-1]).astype(np.float64) / 2
        weights = self.areas / self.areas.sum()
        mean = float((middle * steps).sum(axis=1) @ weights)
        square = float((middle**2 * steps).sum(axis=1) @ weights)
        return mean, math.sqrt(max(square - mean**2, 0.0))

    def _share_above(self, value: float, weights: NDArray[np.float64]) -> float:
        """Upper bound on the pooled share of pixels above a value."""
        at_most = (self.quantiles <= value).sum(axis=1)
        level = np.append(0.0, LEVELS)[at_most]
        return float(((1 - np.where(at_most == len(LEVELS), 1.0, level)) * weights).sum())

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays as a model file stores them."""
        arrays: dict[str, NDArray[np.generic]] = {
            "scores": self.scores,
            "groups": self.groups,
            "peaks": self.peaks,
            "quantiles": self.quantiles,
            "areas": self.areas,
        }
        return arrays if self.cells is None else {**arrays, "cells": self.cells}


class CalibrationBuilder:
    """Collects one held-out good image after the other."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._groups: list[str] = []
        self._quantiles: list[NDArray[np.float32]] = []
        self._areas: list[int] = []
        self._cells: list[NDArray[np.float32]] = []

    def add(self, score: float, group: str, anomaly_map: Map, valid: Mask | None) -> None:
        """Add one image: its score, its part, its map (H, W) and the valid pixels."""
        values = anomaly_map.flatten() if valid is None else anomaly_map[valid]
        if values.size == 0:
            raise DataError(f"A calibration image of {group!r} has no valid pixel.")
        self._scores.append(score)
        self._groups.append(group)
        # "higher": each stored quantile is a value that occurs, the last one is the peak.
        ranks = np.ceil(LEVELS * (values.size - 1)).astype(int)
        values.sort()  # in place: the map may be large
        self._quantiles.append(values[ranks].astype(np.float32))
        self._areas.append(values.size)
        if valid is not None and values.size < valid.size:
            anomaly_map = np.where(valid, anomaly_map, values[0])
        self._cells.append(_largest_in_cells(anomaly_map))

    def build(self) -> Calibration:
        """The calibration of all images that were added."""
        if not self._scores:
            raise DataError("No image is left for calibration: add good training images.")
        quantiles = np.stack(self._quantiles)
        peaks = quantiles[:, -1].copy()
        codes = np.unique(self._groups, return_inverse=True)[1]
        return Calibration(
            np.asarray(self._scores, np.float64),
            np.asarray(codes, np.int64),
            peaks,
            quantiles,
            np.asarray(self._areas, np.int64),
            np.stack(self._cells),
        )


def _largest_in_cells(anomaly_map: Map) -> NDArray[np.float32]:
    """(H, W) to (16, 16), the largest value of each cell; in a small image cells share pixels."""
    found = anomaly_map
    for axis in (0, 1):
        starts = np.arange(CELLS) * found.shape[axis] // CELLS
        found = np.maximum.reduceat(found, starts, axis=axis)
    return np.asarray(found, np.float32)


def _upper(cells: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The quantile 1 - share over images (n, 16, 16) of each cell."""
    return np.asarray(np.quantile(cells, 1 - share, axis=0, method="higher"), np.float32)


def check_rate(rate: float) -> None:
    """Refuse a rate outside (0, 1)."""
    if not 0 < rate < 1:
        raise OptionError(f"A rate of {rate} is not between 0 and 1: 0.01 or 1% means 1 in 100.")
