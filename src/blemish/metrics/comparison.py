"""Two methods on the same images: paired differences and shares of images won.

A paired bootstrap draws the same groups for both, so that what makes an image hard for both cancels
out: the interval is narrower than two separate ones, and right.

    [1] Efron, Tibshirani: An Introduction to the Bootstrap, Chapman & Hall, 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.intervals import REPLICATES, Difference, paired_bootstrap, share_won
from blemish.metrics.pixels import PixelMetrics
from blemish.metrics.ranking import Ranking


def compare_image_auroc(
    first: ArrayLike,
    second: ArrayLike,
    defective: ArrayLike,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Difference:
    """Difference of the image AUROC of two methods.

    Args:
        first: (n,) scores of the first method.
        second: (n,) scores of the second method on the same images in the same order.
        defective: (n,) bool, the truth; both kinds must be there.
        groups: The part of each image, ``""`` for an image on its own; None for no groups.
        seed: Seed of the bootstrap.
        replicates: Bootstrap samples.

    Raises:
        MetricError: Different lengths, scores that are not finite, or only one kind of image.
    """
    truth, names = _both_kinds("AUROC", defective, groups)
    rankings = Ranking.of(first, truth), Ranking.of(second, truth)
    return paired_bootstrap(rankings[0].auroc, rankings[1].auroc, names, truth, seed, replicates)


def compare_decisions(
    first: ArrayLike,
    second: ArrayLike,
    defective: ArrayLike,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Difference:
    """Difference of the balanced accuracy of two methods, each at its own threshold.

    It is 1 - (false-alarm rate + miss rate) / 2: where light has changed a threshold may be wrong
    though the ranking is as good as before, which AUROC does not see.

    Args:
        first: (n,) bool, the decisions of the first method.
        second: (n,) bool, those of the second method on the same images in the same order.
        defective: (n,) bool, the truth; both kinds must be there.
        groups: As for :func:`compare_image_auroc`.
        seed: Seed of the bootstrap.
        replicates: Bootstrap samples.

    Raises:
        MetricError: Only one kind of image.
    """
    truth, names = _both_kinds("Balanced accuracy", defective, groups)
    one, two = (
        partial(_balanced, np.asarray(flagged, bool) == truth, truth) for flagged in (first, second)
    )
    return paired_bootstrap(one, two, names, truth, seed, replicates)


def compare_aupro(
    first: PixelMetrics, second: PixelMetrics, limit: float, seed: int = 0
) -> Difference:
    """Difference of AUPRO of two methods, drawing regions.

    Args:
        first: Accumulator of the first method, finished.
        second: Accumulator of the second method over the same images, in any order.
        limit: Largest false-positive rate, in (0, 1].
        seed: Seed of the bootstrap.

    Raises:
        MetricError: The accumulators do not hold the same regions, or hold none.
    """
    a, b = first.regions(limit), second.regions(limit)
    if a.names != b.names or not a.names:
        raise MetricError(
            f"The methods were shown {len(a.names)} and {len(b.names)} regions, which are not the "
            "same; add the same images to both, with keys."
        )
    units = [f"{name}" for name in range(len(a.names))]
    return paired_bootstrap(
        partial(_mean, a.scores), partial(_mean, b.scores), units, np.zeros(len(units)), seed
    )


def compare_per_image(
    first: ExplainabilityMetrics, second: ExplainabilityMetrics, name: str = "x_auc", seed: int = 0
) -> tuple[Difference, float]:
    """Difference of a per-image figure, by group, and the share of images the first method wins.

    Args:
        first: Accumulator of the first method, finished.
        second: Accumulator of the second method over the same images, in any order.
        name: A column of :meth:`ExplainabilityMetrics.table`.
        seed: Seed of the bootstrap.

    Raises:
        MetricError: The accumulators do not hold the same images, or hold none.
    """
    if sorted(first.keys) != sorted(second.keys) or len(set(first.keys)) != len(first.keys):
        raise MetricError("The methods were not shown the same images; give each image a key.")
    place = {key: number for number, key in enumerate(second.keys)}
    a = first.table()[name]
    b = second.table()[name][[place[key] for key in first.keys]]
    known = np.isfinite(a) & np.isfinite(b)
    if not known.any():
        raise MetricError(f"No image has a value of {name!r} for both methods.")
    groups = [group for group, use in zip(first.groups, known, strict=True) if use]
    a, b = a[known], b[known]
    difference = paired_bootstrap(
        partial(_mean, a), partial(_mean, b), groups, np.zeros(a.size), seed
    )
    return difference, share_won(a, b)


def _both_kinds(
    what: str, defective: ArrayLike, groups: Sequence[str] | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """The truth as an array, and a name for the group of each image."""
    truth = np.asarray(defective, bool)
    if truth.all() or not truth.any():
        raise MetricError(f"{what} needs good and defective images; these are of one kind only.")
    names = [group or f"\0{n}" for n, group in enumerate(groups or [""] * truth.size)]
    return truth, names


def _balanced(
    right: NDArray[np.bool_], truth: NDArray[np.bool_], weights: NDArray[np.int32]
) -> float:
    kinds = [float(right[k] @ weights[k] / weights[k].sum()) for k in (truth, ~truth)]
    return sum(kinds) / 2


def _mean(values: NDArray[np.float64], weights: NDArray[np.int32]) -> float:
    return float(values @ weights / weights.sum())
