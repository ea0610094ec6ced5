"""Image figures over several runs on the same parts: folds, seeds.

One bootstrap over parts, not over runs: the defective parts of a k-fold study are in every test
set, so that its k figures hang together, and their deviation says too little about new parts. A
draw takes a part with all its scores in all runs.

[1] Efron, Tibshirani: An Introduction to the Bootstrap, Chapman & Hall, 1993.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blemish.errors import MetricError
from blemish.metrics.intervals import (
    REPLICATES,
    Difference,
    Interval,
    bootstrap_interval,
    paired_bootstrap,
)
from blemish.metrics.ranking import Ranking

Statistic = Literal["auroc", "average_precision"]


@dataclass(frozen=True)
class RepeatedRuns:
    """Scores of several runs over one set of parts.

    Attributes:
        parts: Names of all parts, sorted.
        strata: Of each part, whether it is defective and in which runs it is tested; a bootstrap
            draws within these, so that every run keeps its number of good and defective parts.
        rankings: Of each run, its images ranked.
        members: Of each run, the number of the part of each image.
    """

    parts: tuple[str, ...]
    strata: tuple[str, ...]
    rankings: tuple[Ranking, ...]
    members: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, runs: Sequence[Mapping[str, Any]]) -> RepeatedRuns:
        """Take the ``runs`` of results files: groups, defective, scores.

        Raises:
            MetricError: No run, or one without good or without defective images.
        """
        if not runs:
            raise MetricError("There is no run to take a mean over.")
        seen: dict[str, list[str]] = {}
        for number, run in enumerate(runs):
            truth = np.asarray(run["defective"], bool)
            if truth.all() or not truth.any():
                raise MetricError(f"Run {number + 1} has one kind of image only; give it both.")
            for group, bad in sorted(set(zip(run["groups"], run["defective"], strict=True))):
                seen.setdefault(group, []).append(f"{number}{'bad' if bad else 'good'}")
        parts = tuple(sorted(seen))
        place = {part: number for number, part in enumerate(parts)}
        return cls(
            parts,
            tuple(" ".join(seen[part]) for part in parts),
            tuple(Ranking.of(run["scores"], run["defective"]) for run in runs),
            tuple(np.array([place[g] for g in run["groups"]]) for run in runs),
        )

    def mean(self, statistic: Statistic, weights: NDArray[np.int32] | None = None) -> float:
        """Mean of a statistic over the runs; `weights` (parts,) = how often each part counts."""
        values = [
            getattr(ranking, statistic)(None if weights is None else weights[members])
            for ranking, members in zip(self.rankings, self.members, strict=True)
        ]
        return float(np.mean(values))

    def interval(
        self, statistic: Statistic, seed: int = 0, replicates: int = REPLICATES
    ) -> Interval:
        """95 % interval of the mean over new parts; (None, None) where a stratum has one part."""
        return bootstrap_interval(
            lambda weights: self.mean(statistic, weights),
            self.parts,
            self.strata,
            seed,
            replicates,
        )


def compare_runs(
    first: RepeatedRuns,
    second: RepeatedRuns,
    statistic: Statistic = "auroc",
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Difference:
    """Paired difference of the means of two methods over the same runs.

    Raises:
        MetricError: The two were not tested on the same parts in the same runs.
    """
    if first.parts != second.parts or first.strata != second.strata:
        raise MetricError(
            "The two were not tested on the same parts: use the same folds and seeds."
        )
    return paired_bootstrap(
        lambda weights: first.mean(statistic, weights),
        lambda weights: second.mean(statistic, weights),
        first.parts,
        first.strata,
        seed,
        replicates,
    )
