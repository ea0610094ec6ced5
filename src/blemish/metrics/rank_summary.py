"""Counts of values above any threshold, from one pass, in bounded memory, with a proven error.

The values of good pixels matter only through how many lie above a threshold. They are collected in
buffers of a fixed size. A full buffer is sorted and cut into runs of `STEP` neighbours; the middle
one of each run is kept and stands for the whole run, one level up, with `STEP` times the weight.
For any threshold at most one run of a buffer is split, and its middle value is then wrong by at
most ``(STEP - 1) / 2`` neighbours on either side, so that a buffer of weight w adds at most
``w * (STEP - 1) / 2`` to the error of *every* count, whatever the values, ties included. The sum
over all buffers that were ever cut is :attr:`RankSummary.error`. Besides, the largest
`EXACT_TOP` values are kept as they are: counts above a threshold among them are exact, which is
where precision and AUPRO at small limits live.

    [1] Manku, Rajagopalan, Lindsay: Approximate medians and other quantiles in one pass and with
        limited memory, SIGMOD 1998.

Differs from [1]: all buffers of one level are merged at once, the step is the odd number with the
smallest bound for a given memory, and the upper tail is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MetricError

STEP = 3  # (STEP - 1) / (2 ln STEP) bounds the error of a given memory; 3 is the best odd step
BUFFER = STEP << 20  # values per level: 12.6 MB, error 1/BUFFER of all values per level
EXACT_TOP = 1 << 20  # largest values kept one by one: 4 MB

Values = NDArray[np.float32]
Counts = NDArray[np.int64]


class RankSummary:
    """A mergeable summary of float32 values that counts them above thresholds.

    Args:
        buffer: Values kept per level, a multiple of `STEP`; smaller ones are for tests.
        exact_top: How many of the largest values are counted exactly.
    """

    def __init__(self, buffer: int = BUFFER, exact_top: int = EXACT_TOP):
        if buffer < STEP or buffer % STEP:
            raise MetricError(f"The buffer holds {buffer} values; it must be a multiple of {STEP}.")
        self.buffer = buffer
        self.exact_top = exact_top
        self.count = 0
        """How many values were added."""
        self.error = 0
        """Largest possible error, in values, of a count at any threshold."""
        self._levels: list[_Level] = []
        self._top: Values = np.empty(0, np.float32)  # ascending, of values cut at level 0

    def add(self, values: Values) -> None:
        """Add finite values; the array (n,) float32 is copied."""
        self.count += values.size
        self._push(0, values)

    def merge(self, other: RankSummary) -> None:
        """Add everything that another summary has seen; the errors add up.

        Raises:
            MetricError: The other one has another buffer size.
        """
        self.check_mergeable(other)
        self.count += other.count
        self.error += other.error
        for level, stored in enumerate(other._levels):
            self._push(level, stored.values)
        self._keep_top(other._top)

    def check_mergeable(self, other: RankSummary) -> None:
        """Refuse a summary of other sizes, or the same object.

        Raises:
            MetricError: The other one cannot be merged.
        """
        own, others = (self.buffer, self.exact_top), (other.buffer, other.exact_top)
        if own != others or other is self:
            raise MetricError(
                f"A summary of sizes {others} does not merge into one of {own}; it must be another "
                "one of the same sizes."
            )

    def counts(self, thresholds: Values) -> tuple[Counts, Counts, Counts]:
        """Count values around thresholds.

        Args:
            thresholds: (n,) float32, ascending.

        Returns:
            How many values are above, how many are above or equal, and the largest possible error
            of both: three (n,) int64.
        """
        above = np.zeros(thresholds.size, np.int64)
        not_below = np.zeros(thresholds.size, np.int64)
        exact = thresholds > self._floor
        tail = thresholds[exact]
        for level, stored in enumerate(self._levels):
            values = stored.sorted()
            # in the exact tail the levels above 0 are replaced by the values they stand for
            wanted = thresholds if level == 0 else thresholds[~exact]
            place = slice(None) if level == 0 else ~exact
            weight = STEP**level
            above[place] += weight * (values.size - np.searchsorted(values, wanted, "right"))
            not_below[place] += weight * (values.size - np.searchsorted(values, wanted, "left"))
        above[exact] += self._top.size - np.searchsorted(self._top, tail, "right")
        not_below[exact] += self._top.size - np.searchsorted(self._top, tail, "left")
        return above, not_below, np.where(exact, 0, self.error)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """The whole state as plain arrays; :meth:`from_arrays` reads them back."""
        arrays: dict[str, NDArray[np.generic]] = {
            "sizes": np.array([self.buffer, self.exact_top, self.count, self.error], np.int64),
            "top": self._top,
        }
        arrays |= {f"level_{i}": stored.values.copy() for i, stored in enumerate(self._levels)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> RankSummary:
        """Rebuild a summary from what :meth:`to_arrays` gave."""
        buffer, exact_top, count, error = (int(n) for n in arrays["sizes"])
        summary = cls(buffer, exact_top)
        for level in range(sum(name.startswith("level_") for name in arrays)):
            summary._push(level, arrays[f"level_{level}"].astype(np.float32))
        summary._keep_top(arrays["top"].astype(np.float32))
        summary.count, summary.error = count, error
        return summary

    @property
    def _floor(self) -> np.float32:
        """Counts above this are exact: nothing larger was ever lost."""
        if not self.error:
            return np.float32(-np.inf)
        return self._top[0] if self._top.size else np.float32(np.inf)

    def _push(self, level: int, values: Values) -> None:
        while len(self._levels) <= level:
            self._levels.append(_Level(self.buffer))
        stored = self._levels[level]
        while values.size:
            values = stored.fill(values)
            if stored.used == self.buffer:
                self._cut(level)

    def _cut(self, level: int) -> None:
        """Sort a full buffer, hand the middle of each run to the next level, and empty it."""
        stored = self._levels[level]
        values = stored.sorted()
        if level == 0:
            self._keep_top(values)
        self.error += STEP**level * ((STEP - 1) // 2)
        middles = values[STEP // 2 :: STEP].copy()
        stored.used = 0
        self._push(level + 1, middles)

    def _keep_top(self, ascending: Values) -> None:
        if self._top.size == self.exact_top > 0:
            ascending = ascending[np.searchsorted(ascending, self._top[0], "right") :]
        merged = np.concatenate([self._top, ascending[max(0, ascending.size - self.exact_top) :]])
        merged.sort()
        self._top = merged[max(0, merged.size - self.exact_top) :].copy()


class _Level:
    """One buffer that fills up; `values` is the part in use."""

    def __init__(self, size: int):
        self._store = np.empty(size, np.float32)  # untouched pages cost nothing
        self._sorted = 0  # how many of the first values are known to be in order
        self.used = 0

    @property
    def values(self) -> Values:
        return self._store[: self.used]

    def fill(self, values: Values) -> Values:
        """Take what fits and return the rest."""
        taken = min(values.size, self._store.size - self.used)
        self._store[self.used : self.used + taken] = values[:taken]
        self.used += taken
        self._sorted = 0
        return values[taken:]

    def sorted(self) -> Values:
        if self._sorted != self.used:
            self.values.sort()
            self._sorted = self.used
        return self.values
