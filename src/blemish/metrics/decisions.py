"""Figures of decisions that were made at a stored threshold: nothing here looks for a better one.

F1 is ``2 TP / (2 TP + FP + FN)``, IoU ``TP / (TP + FP + FN)``; a rate comes with its Wilson
interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from blemish.errors import MetricError
from blemish.metrics.figure import Figure
from blemish.metrics.intervals import wilson


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class decision; positive = defective.

    Attributes:
        hits: Defective and flagged.
        false_alarms: Good and flagged.
        misses: Defective and not flagged.
        passes: Good and not flagged.
    """

    hits: int
    false_alarms: int
    misses: int
    passes: int

    @classmethod
    def of(cls, defective: ArrayLike, flagged: ArrayLike) -> Confusion:
        """Count decisions.

        Args:
            defective: (n,) bool, the truth.
            flagged: (n,) bool, the decisions.

        Raises:
            MetricError: Different lengths.
        """
        truth, decision = np.asarray(defective, bool), np.asarray(flagged, bool)
        if truth.shape != decision.shape or truth.ndim != 1:
            raise MetricError(
                f"{decision.shape} decisions for {truth.shape} images: give one for each image."
            )
        return cls(
            int(np.sum(truth & decision)),
            int(np.sum(~truth & decision)),
            int(np.sum(truth & ~decision)),
            int(np.sum(~truth & ~decision)),
        )

    @property
    def f1(self) -> float | None:
        """F1, or None where there is neither a defective item nor a flag."""
        total = 2 * self.hits + self.false_alarms + self.misses
        return 2 * self.hits / total if total else None

    @property
    def iou(self) -> float | None:
        """Intersection over union, or None where both are empty."""
        total = self.hits + self.false_alarms + self.misses
        return self.hits / total if total else None


def rate_figure(hits: int, trials: int, label: str, reason: str) -> Figure:
    """A rate with its Wilson interval, or no value and the reason when there were no trials."""
    if not trials:
        return Figure(None, label, reason=reason)
    low, high = wilson(hits, trials)
    return Figure(hits / trials, label, low, high)


def decision_figures(defective: ArrayLike, flagged: ArrayLike) -> dict[str, Figure]:
    """Image-level rates at the stored threshold, with Wilson intervals.

    Wilson intervals count images as independent; where a part was photographed several times they
    are too narrow.

    Args:
        defective: (n,) bool, the truth.
        flagged: (n,) bool, the decisions.

    Returns:
        ``false_alarm_rate``, ``miss_rate``, ``accuracy`` and ``precision``, with intervals, and
        ``image_f1``.

    Raises:
        MetricError: Different lengths.
    """
    counts = Confusion.of(defective, flagged)
    good = counts.false_alarms + counts.passes
    bad = counts.hits + counts.misses
    flags = counts.hits + counts.false_alarms
    no_good, no_bad = "the test set has no good image", "the test set has no defective image"
    return {
        "false_alarm_rate": rate_figure(counts.false_alarms, good, "False-alarm rate", no_good),
        "miss_rate": rate_figure(counts.misses, bad, "Miss rate", no_bad),
        "accuracy": rate_figure(
            counts.hits + counts.passes, good + bad, "Accuracy", "the test set is empty"
        ),
        "precision": rate_figure(counts.hits, flags, "Precision", "no image was flagged"),
        "image_f1": Figure(counts.f1, "Image F1")
        if bad
        else Figure(None, "Image F1", reason=no_bad),
    }


def pixel_decision_figures(
    decided: Confusion | None, delivered: Confusion | None, reason: str
) -> dict[str, Figure]:
    """F1 and IoU of the pixels above the stored pixel threshold, pooled over the test set.

    Args:
        decided: Counts over all pixels, mask = map above the threshold.
        delivered: The same with the masks as handed out: empty where the image was judged good.
        reason: Why there is nothing to show, where a count is None or has no anomalous pixel.

    Returns:
        ``pixel_f1`` and ``pixel_iou`` of `decided`, ``segf1`` of `delivered`.
    """

    def show(value: float | None, label: str) -> Figure:
        return Figure(value, label, reason=reason if value is None else None)

    def seen(counts: Confusion | None) -> Confusion:
        if counts is None or not counts.hits + counts.misses:
            return Confusion(0, 0, 0, 0)
        return counts

    return {
        "pixel_f1": show(seen(decided).f1, "Pixel F1"),
        "pixel_iou": show(seen(decided).iou, "Pixel IoU"),
        "segf1": show(seen(delivered).f1, "SegF1"),
    }
