"""How well scores rank defective above good: exact, by sorting. Ties are never broken.

[1] Fawcett: An introduction to ROC analysis, Pattern Recognition Letters 27, 2006.
[2] Davis, Goadrich: The relationship between precision-recall and ROC curves, ICML 2006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blemish.errors import MetricError
from blemish.metrics.curves import Curve, thin_out
from blemish.metrics.decisions import decision_figures
from blemish.metrics.figure import Figure
from blemish.metrics.intervals import REPLICATES, bootstrap_interval

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Scores in descending order, ready for figures with any weights.

    Attributes:
        order: (n,) the items from the highest score to the lowest.
        defective: (n,) bool, the truth in that order.
        ends: (t,) index of the last item of each distinct score.
    """

    order: NDArray[np.intp]
    defective: NDArray[np.bool_]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, scores: ArrayLike, defective: ArrayLike) -> Ranking:
        """Sort scores.

        Args:
            scores: (n,) finite numbers, higher = more anomalous.
            defective: (n,) bool, the truth.

        Raises:
            MetricError: Different lengths, or a score that is not finite.
        """
        values, truth = np.asarray(scores, np.float64), np.asarray(defective, bool)
        if values.shape != truth.shape or values.ndim != 1:
            raise MetricError(f"{values.shape} scores for {truth.shape} labels: one for each item.")
        if not np.all(np.isfinite(values)):
            number = int(np.flatnonzero(~np.isfinite(values))[0])
            raise MetricError(
                f"Score number {number} is {values[number]}; a score must be finite. Repair the "
                "method that made it."
            )
        order = np.argsort(-values, kind="stable")
        ranked = values[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: ranked.size])
        return cls(order, truth[order], ends)

    def counts(self, weights: ArrayLike | None = None) -> tuple[Numbers, Numbers]:
        """True and false positives at each distinct score, from high to low.

        Args:
            weights: (n,) how often each item counts, in the original order; once each by default.
        """
        each = np.ones(self.order.size) if weights is None else np.asarray(weights)[self.order]
        hits = np.cumsum(np.where(self.defective, each, 0))[self.ends]
        falses = np.cumsum(np.where(self.defective, 0, each))[self.ends]
        return hits.astype(np.float64), falses.astype(np.float64)

    def auroc(self, weights: ArrayLike | None = None) -> float:
        """Chance that a defective item scores above a good one; ties count one half."""
        hits, falses = self.counts(weights)
        x, y = np.append(0.0, falses), np.append(0.0, hits)
        return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / (2 * x[-1] * y[-1]))

    def average_precision(self, weights: ArrayLike | None = None) -> float:
        """Mean of the precision over the defective items, as a step function."""
        hits, falses = self.counts(weights)
        gained = np.diff(hits, prepend=0.0)
        return float(np.sum(gained * hits / np.maximum(hits + falses, 1)) / hits[-1])

    def f1_max(self, weights: ArrayLike | None = None) -> float:
        """Largest F1 over all thresholds: an oracle."""
        hits, falses = self.counts(weights)
        return float(np.max(2 * hits / (hits + falses + hits[-1])))

    def fpr_at_tpr(self, rate: float = 0.95, weights: ArrayLike | None = None) -> float:
        """Smallest false-positive rate at which a share `rate` of the defective is found."""
        hits, falses = self.counts(weights)
        # one part in 1e12: 0.95 * 20 is 19 although neither is exact in binary
        enough = int(np.argmax(hits >= rate * hits[-1] * (1 - 1e-12)))
        return float(falses[enough] / falses[-1])

    def roc_curve(self) -> tuple[Numbers, Numbers]:
        """False-positive and true-positive rate at each distinct score, from (0, 0) to (1, 1)."""
        hits, falses = self.counts()
        return np.append(0.0, falses) / falses[-1], np.append(0.0, hits) / hits[-1]

    def precision_recall_curve(self) -> tuple[Numbers, Numbers]:
        """Recall and precision at each distinct score, from high to low scores."""
        hits, falses = self.counts()
        return hits / hits[-1], hits / (hits + falses)


def auroc(scores: ArrayLike, defective: ArrayLike) -> float:
    """AUROC of (n,) scores for (n,) truths; ties count one half.

    Raises:
        MetricError: Scores that are not finite, different lengths, or only one kind of item.
    """
    return _both_kinds(scores, defective).auroc()


def average_precision(scores: ArrayLike, defective: ArrayLike) -> float:
    """Average precision of (n,) scores for (n,) truths; equal scores are one threshold.

    Raises:
        MetricError: Scores that are not finite, different lengths, or only one kind of item.
    """
    return _both_kinds(scores, defective).average_precision()


def f1_max(scores: ArrayLike, defective: ArrayLike) -> float:
    """Largest F1 over all thresholds: an oracle.

    Raises:
        MetricError: Scores that are not finite, different lengths, or only one kind of item.
    """
    return _both_kinds(scores, defective).f1_max()


def f1_flag_everything(defective: ArrayLike) -> float:
    """F1 of calling every item defective: what F1-max must be read against."""
    truth = np.asarray(defective, bool)
    return float(2 * truth.sum() / (truth.size + truth.sum())) if truth.size else 0.0


def fpr_at_tpr(scores: ArrayLike, defective: ArrayLike, rate: float = 0.95) -> float:
    """Smallest false-positive rate at which `rate` of the defective items are found.

    Raises:
        MetricError: Scores that are not finite, different lengths, or only one kind of item.
    """
    return _both_kinds(scores, defective).fpr_at_tpr(rate)


def image_figures(
    scores: ArrayLike,
    defective: ArrayLike,
    flagged: ArrayLike,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> dict[str, Figure]:
    """All image-level figures, in the order in which a table shows them.

    Args:
        scores: (n,) finite numbers, higher = more anomalous.
        defective: (n,) bool, the truth.
        flagged: (n,) bool, the decisions at the stored threshold.
        groups: The part of each image, ``""`` for an image on its own; None for no groups.
        seed: Seed of the bootstrap by group.
        replicates: Bootstrap samples behind each interval; 0 for none.

    Returns:
        ``image_auroc``, ``image_ap``, ``image_f1_max`` (oracle), ``f1_flag_everything``,
        ``fpr_at_95_tpr``, then those of :func:`blemish.metrics.decisions.decision_figures`.

    Raises:
        MetricError: Scores that are not finite, or different lengths.
    """
    ranking = Ranking.of(scores, defective)
    truth = np.asarray(defective, bool)
    names = [group or f"\0{n}" for n, group in enumerate(groups or [""] * truth.size)]
    if len(names) != truth.size:
        raise MetricError(f"{len(names)} groups for {truth.size} images: give one for each image.")
    reason = _one_kind(truth)
    shown: dict[str, tuple[Callable[[ArrayLike | None], float], str]] = {
        "image_auroc": (ranking.auroc, "Image AUROC"),
        "image_ap": (ranking.average_precision, "Image AP"),
        "image_f1_max": (ranking.f1_max, "Image F1-max"),
        "fpr_at_95_tpr": (partial(ranking.fpr_at_tpr, 0.95), "FPR at 95 % TPR"),
    }
    figures = {}
    for name, (statistic, label) in shown.items():
        oracle = name == "image_f1_max"
        if reason:
            figures[name] = Figure(None, label, oracle=oracle, reason=reason)
        elif oracle:
            figures[name] = Figure(statistic(None), label, oracle=True)
        else:
            low, high = bootstrap_interval(statistic, names, truth, seed, replicates)
            figures[name] = Figure(statistic(None), label, low, high)
        if oracle:
            figures["f1_flag_everything"] = Figure(
                None if reason else f1_flag_everything(truth),
                "F1 of flagging everything",
                reason=reason or None,
            )
    return figures | decision_figures(truth, flagged)


def image_curves(scores: ArrayLike, defective: ArrayLike) -> dict[str, Curve]:
    """ROC and precision-recall curves for the report, at most 200 points each.

    Returns:
        ``"roc"``: false-positive and true-positive rate; ``"pr"``: recall and precision. Empty
        where the test set has only one kind of image.

    Raises:
        MetricError: Scores that are not finite, or different lengths.
    """
    ranking = Ranking.of(scores, defective)
    if _one_kind(np.asarray(defective, bool)):
        return {}
    return {
        "roc": thin_out(*ranking.roc_curve()),
        "pr": thin_out(*ranking.precision_recall_curve()),
    }


def _both_kinds(scores: ArrayLike, defective: ArrayLike) -> Ranking:
    ranking = Ranking.of(scores, defective)
    reason = _one_kind(ranking.defective)
    if reason:
        raise MetricError(f"Cannot rank: {reason}. Add images of both kinds.")
    return ranking


def _one_kind(truth: NDArray[np.bool_]) -> str:
    """Why nothing can be ranked, or ``""``."""
    if not truth.size:
        return "the test set is empty"
    if truth.all():
        return "the test set has no good image"
    return "" if truth.any() else "the test set has no defective image"
