"""F1 and IoU per image at one threshold for the whole class, although it is known only at the end.

The threshold is the mean + deviation over all valid pixels of all test images. Each defective image
keeps its anomalous pixels and `KEPT` evenly spaced order statistics of its good ones (8 kB), which
give the number of good pixels above any threshold within half a gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MetricError
from blemish.metrics.explained_image import f1_from_counts, iou_from_counts, moments

KEPT = 2048

Values = NDArray[np.float32]


class Column(NamedTuple):
    """One figure of each image, (n,) float64, and its largest possible error."""

    values: NDArray[np.float64]
    bounds: NDArray[np.float64]


class ClassThreshold:
    """Accumulates what the class-wide threshold and its figures need.

    Args:
        given: The threshold, where it is known beforehand; None to take mean + deviation.
    """

    def __init__(self, given: float | None = None):
        self.given = given is not None
        self._given = None if given is None else float(np.float32(given))
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean
        self._anomalous: list[Values] = []
        self._kept: list[Values] = []
        self._sizes: list[int] = []

    @property
    def threshold(self) -> float | None:
        """The threshold, rounded to float32 as the maps are; None before any pixel was seen."""
        if self._given is not None:
            return self._given
        if not self._count:
            return None
        return float(np.float32(self._mean + math.sqrt(self._squares / self._count)))

    def see(self, values: Values) -> None:
        """Let the valid pixels (n,) float32 of an image count towards mean and deviation."""
        if values.size:
            mean, variance = moments(values)
            self._pool(values.size, mean, variance * values.size)

    def add(self, anomalous: Values, good: Values) -> None:
        """Keep a defective image: its pixels (P,) and (N,) float32, both ascending."""
        self._anomalous.append(anomalous)
        self._kept.append(good[_positions(good.size)])
        self._sizes.append(good.size)

    def merge(self, other: ClassThreshold) -> None:
        """Add all images of another one.

        Raises:
            MetricError: It has another given threshold.
        """
        if self._given != other._given:
            raise MetricError(
                f"Class thresholds {self._given} and {other._given} do not merge; use one."
            )
        self._pool(other._count, other._mean, other._squares)
        self._anomalous += other._anomalous
        self._kept += other._kept
        self._sizes += other._sizes

    def figures(self) -> tuple[Column, Column]:
        """F1 and IoU of each image at the threshold, and their bounds."""
        threshold = self.threshold
        if threshold is None:
            return Column(np.empty(0), np.empty(0)), Column(np.empty(0), np.empty(0))
        counts = [
            _counts(*image, threshold)
            for image in zip(self._anomalous, self._kept, self._sizes, strict=True)
        ]
        return _column(f1_from_counts, counts), _column(iou_from_counts, counts)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state as plain arrays; :meth:`from_arrays` reads them back."""
        nothing = np.empty(0, np.float32)
        return {
            "given": np.array([] if self._given is None else [self._given], np.float64),
            "moments": np.array([self._mean, self._squares], np.float64),
            "count": np.array([self._count], np.int64),
            "sizes": np.array(self._sizes, np.int64),
            "anomalous": np.concatenate([nothing, *self._anomalous]),
            "anomalous_sizes": np.array([a.size for a in self._anomalous], np.int64),
            "kept": np.concatenate([nothing, *self._kept]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ClassThreshold:
        """Rebuild from what :meth:`to_arrays` gave."""
        given = [float(t) for t in arrays["given"]]
        found = cls(given[0] if given else None)
        found._mean, found._squares = (float(m) for m in arrays["moments"])
        found._count = int(arrays["count"][0])
        found._sizes = [int(n) for n in arrays["sizes"]]
        lengths = [_positions(n).size for n in found._sizes]
        found._kept = np.split(arrays["kept"], np.cumsum(lengths)[:-1]) if lengths else []
        cuts = np.cumsum(arrays["anomalous_sizes"])[:-1]
        found._anomalous = np.split(arrays["anomalous"], cuts) if lengths else []
        return found

    def _pool(self, count: int, mean: float, squares: float) -> None:
        # Chan, Golub, LeVeque 1979: exact to rounding in any order
        total = self._count + count
        if not total:
            return
        distance = mean - self._mean
        self._mean += distance * count / total
        self._squares += squares + distance * distance * self._count * count / total
        self._count = total


def _positions(size: int) -> NDArray[np.int64]:
    """Which order statistics of `size` good pixels are kept, from 0; first and last included."""
    if size <= KEPT:
        return np.arange(size)
    return np.linspace(0, size - 1, KEPT).astype(np.int64)


def _counts(
    anomalous: Values, kept: Values, size: int, threshold: float
) -> tuple[int, float, float, int]:
    """True positives, false positives, the largest error of those, and anomalous pixels."""
    hits = int(np.count_nonzero(anomalous > threshold))
    positions = np.append(_positions(size), size)
    below = int(np.searchsorted(kept, threshold, "right"))  # kept values at or below
    low = int(positions[below - 1]) + 1 if below else 0
    high = int(positions[below])
    return hits, size - (low + high) / 2, (high - low) / 2, anomalous.size


def _column(
    figure: Callable[[float, float, int], float], counts: list[tuple[int, float, float, int]]
) -> Column:
    values, bounds = [], []
    for hits, falses, error, anomalous in counts:
        value = figure(hits, falses, anomalous)
        values.append(value)
        # a figure falls, ever more slowly, with false positives: fewer of them matter more
        bounds.append(figure(hits, falses - error, anomalous) - value)
    return Column(np.array(values, np.float64), np.array(bounds, np.float64))
