"""Intervals: Wilson, Clopper-Pearson, and bootstraps that respect groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from blemish.errors import MetricError

Numbers = NDArray[np.float64]
Interval = tuple[float | None, float | None]

CONFIDENCE = 0.95
REPLICATES = 1000
_BLOCK = 1 << 20  # random numbers drawn at a time: 8 MB


class Difference(NamedTuple):
    """A paired difference of two methods on the same images.

    Attributes:
        value: Figure of the first method minus figure of the second.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        share_above_zero: Share of the bootstrap samples in which the first method is better, ties
            counting one half.
    """

    value: float
    low: float
    high: float
    share_above_zero: float


def wilson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a rate.

    [1] Wilson: Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Args:
        hits: Events seen, 0 … `trials`.
        trials: Chances there were; with none the interval is (0, 1).
        confidence: Confidence in (0, 1).

    Raises:
        MetricError: `hits` is not within 0 … `trials`.
    """
    _check_counts(hits, trials)
    if not trials:
        return 0.0, 1.0
    z = float(special.ndtri((1 + confidence) / 2))
    rate, spread = hits / trials, z * z / trials
    centre = rate + spread / 2
    half = z * np.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    # the ends are exactly 0 and 1 there, but not in floating point
    low = 0.0 if hits == 0 else float((centre - half) / (1 + spread))
    high = 1.0 if hits == trials else float((centre + half) / (1 + spread))
    return low, high


def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a rate, from the Beta distribution: never below its confidence.

    [1] Clopper, Pearson: The use of confidence or fiducial limits, Biometrika 1934.

    Args:
        hits: Events seen, 0 … `trials`.
        trials: Chances there were; with none the interval is (0, 1).
        confidence: Confidence in (0, 1).

    Raises:
        MetricError: `hits` is not within 0 … `trials`.
    """
    _check_counts(hits, trials)
    side = (1 - confidence) / 2
    low = float(special.betaincinv(hits, trials - hits + 1, side)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, trials - hits, 1 - side)) if hits < trials else 1.0
    return low, high


def mean_interval(values: ArrayLike, seed: int, replicates: int = REPLICATES) -> Interval:
    """Percentile bootstrap interval of a mean over independent units, such as regions.

    Args:
        values: (n,) one number per unit.
        seed: Seed; the same seed gives the same interval.
        replicates: Bootstrap samples; 0 for no interval.

    Returns:
        The 2.5 and 97.5 percentiles, or (None, None) below two units.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size < 2 or not replicates:
        return None, None
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // numbers.size)
    means = [
        numbers[
            random.integers(numbers.size, size=(min(rows, replicates - start), numbers.size))
        ].mean(1)
        for start in range(0, replicates, rows)
    ]
    return _percentiles(np.concatenate(means))


def group_weights(
    groups: Sequence[str], strata: ArrayLike, seed: int, replicates: int = REPLICATES
) -> Iterator[NDArray[np.int32]]:
    """Draw groups with replacement within strata: how often each item is in each sample.

    All photos of one part stay together, and each stratum keeps its number of groups, so that a
    sample always has good and defective images.

    Args:
        groups: The group of each of n items.
        strata: (n,) what each item is, such as good or defective; a group that has several kinds
            is a stratum of its own kind.
        seed: Seed; the same seed gives the same samples.
        replicates: Number of samples, B.

    Yields:
        Blocks (b, n) int32 of at most 16 MB, B rows in all.
    """
    kinds = np.asarray(strata)
    names, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    stratum = _stratum_of_groups(members, kinds, names.size)
    random = np.random.default_rng(seed)
    strata_members = [np.flatnonzero(stratum == kind) for kind in np.unique(stratum)]
    rows = max(1, 4 * _BLOCK // max(1, len(groups)))
    for start in range(0, replicates, rows):
        block = np.arange(min(rows, replicates - start))
        drawn = np.zeros((block.size, names.size), np.int32)
        for own in strata_members:
            picks = own[random.integers(own.size, size=(block.size, own.size))]
            np.add.at(drawn, (block[:, None], picks), 1)
        yield drawn[:, members]


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int32]], float],
    groups: Sequence[str],
    strata: ArrayLike,
    seed: int,
    replicates: int = REPLICATES,
) -> Interval:
    """Percentile interval of a statistic under the stratified bootstrap by group.

    Args:
        statistic: Takes how often each item counts, (n,) int32, and returns a number.
        groups: The group of each item.
        strata: (n,) what each item is; see :func:`group_weights`.
        seed: Seed; the same seed gives the same interval.
        replicates: Bootstrap samples; 0 for no interval.

    Returns:
        The 2.5 and 97.5 percentiles, or (None, None) where a stratum has only one group, whose
        spread cannot be seen.
    """
    if not replicates or not has_spread(groups, strata):
        return None, None
    blocks = group_weights(groups, strata, seed, replicates)
    return _percentiles(np.array([statistic(row) for block in blocks for row in block]))


def paired_bootstrap(
    first: Callable[[NDArray[np.int32]], float],
    second: Callable[[NDArray[np.int32]], float],
    groups: Sequence[str],
    strata: ArrayLike,
    seed: int,
    replicates: int = REPLICATES,
) -> Difference:
    """Difference of two methods on the same images: both see the same bootstrap samples.

    Args:
        first: Statistic of the first method; takes how often each item counts, (n,) int32.
        second: The same statistic of the second method, over the same items in the same order.
        groups: The group of each item.
        strata: (n,) what each item is; see :func:`group_weights`.
        seed: Seed; the same seed gives the same interval.
        replicates: Bootstrap samples, at least 1.
    """
    once = np.ones(len(groups), np.int32)
    blocks = group_weights(groups, strata, seed, replicates)
    differences = np.array([first(row) - second(row) for block in blocks for row in block])
    low, high = np.percentile(differences, (2.5, 97.5))
    above = float(np.mean(differences > 0) + np.mean(differences == 0) / 2)
    return Difference(first(once) - second(once), float(low), float(high), above)


def share_won(first: ArrayLike, second: ArrayLike) -> float:
    """Share of items on which the first method has the larger figure; ties count one half.

    Args:
        first: (n,) figures of the first method, higher = better.
        second: (n,) figures of the second method on the same items.

    Raises:
        MetricError: Nothing to compare, or different lengths.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise MetricError(f"Figures of shapes {a.shape} and {b.shape} are not of the same images.")
    return float(np.mean(a > b) + np.mean(a == b) / 2)


def has_spread(groups: Sequence[str], strata: ArrayLike) -> bool:
    """Whether every stratum has two groups or more, so that a bootstrap can see a spread."""
    names, members = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    stratum = _stratum_of_groups(members, np.asarray(strata), names.size)
    return bool(np.all(np.bincount(stratum) > 1)) if names.size else False


def _stratum_of_groups(
    members: NDArray[np.intp], kinds: NDArray[np.generic], count: int
) -> NDArray[np.intp]:
    """The stratum of each group: which kinds it has, as one number."""
    _, numbers = np.unique(kinds, return_inverse=True)
    has = np.zeros((count, int(numbers.max(initial=0)) + 1), bool)
    has[members, numbers] = True
    return np.unique(has, axis=0, return_inverse=True)[1].ravel()


def _percentiles(samples: Numbers) -> tuple[float, float]:
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


def _check_counts(hits: int, trials: int) -> None:
    if not 0 <= hits <= trials:
        raise MetricError(f"{hits} events of {trials} chances: needs 0 … {trials}.")
