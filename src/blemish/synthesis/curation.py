"""Which drawn images are fit for use, decided by rules in place of eyes.

An image is left out when the GAN's own judge finds it less real than most photos, when a detector
finds it odder than good parts are, or when it is a copy of a photo that the GAN learned from.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: about one in twenty drawn images was usable, picked by hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.samples import to_float
from blemish.synthesis.quality import FeatureSpace, nearest_distance
from blemish.types import Image, Pixels

Judge = Callable[[Pixels], NDArray[np.float64]]
Score = Callable[[Image], float]  # of a detector: higher = more anomalous


@dataclass(frozen=True)
class Rules:
    """Percentiles that decide; None leaves a rule out.

    Attributes:
        real: Of the judge's values of photos; below, an image does not look real.
        odd: Of the detector's scores of held-out good photos; above, an image is a defect.
        copy: Of the distances of held-out photos to the nearest learned one; below, it is a copy.
    """

    real: float | None = 20.0
    odd: float | None = 95.0
    copy: float | None = 1.0


@dataclass(frozen=True)
class Verdict:
    """What was found of one drawn image.

    Attributes:
        reason: Why it is left out: ``"unreal"``, ``"odd"``, ``"copy"``; ``""`` = accepted.
        judge: Value of the GAN's judge; higher = more real.
        detector: Score of the detector; None without one.
        nearest: Distance to the nearest photo that the GAN learned from.
    """

    reason: str
    judge: float
    detector: float | None
    nearest: float


class Curator:
    """Decides on drawn images.

    Args:
        judge: Of the GAN.
        space: Features, with the photos that the GAN learned from.
        learned: These photos, (H, W, 3) uint8 each, of the size that is drawn.
        held_out: Good photos that neither the GAN nor the detector learned from.
        score: Of a detector; None = that rule is left out.
        rules: Percentiles.
    """

    def __init__(
        self,
        judge: Judge,
        space: FeatureSpace,
        learned: Sequence[Image],
        held_out: Sequence[Image],
        score: Score | None = None,
        rules: Rules | None = None,
    ):
        self._judge, self._space, self._score = judge, space, score
        rules = rules or Rules()
        self.least_real = self.least_distance = -math.inf
        self.most_odd = math.inf
        if rules.real is not None:
            self.least_real = float(np.percentile(judge(_stack(learned)), rules.real))
        if rules.copy is not None:
            usual = nearest_distance(space(held_out), space.real)
            self.least_distance = float(np.percentile(usual, rules.copy))
        if rules.odd is not None and score is not None:
            self.most_odd = float(np.percentile([score(image) for image in held_out], rules.odd))

    def __call__(self, images: Sequence[Image]) -> list[Verdict]:
        """One verdict per image; all in one batch."""
        values = self._judge(_stack(images))
        nearest = nearest_distance(self._space(images), self._space.real)
        scores = [None if self._score is None else self._score(image) for image in images]
        return [
            self._verdict(float(value), score, float(near))
            for value, score, near in zip(values, scores, nearest, strict=True)
        ]

    def _verdict(self, value: float, score: float | None, near: float) -> Verdict:
        reason = ""
        if value < self.least_real:
            reason = "unreal"
        elif score is not None and score > self.most_odd:
            reason = "odd"
        elif near < self.least_distance:
            reason = "copy"
        return Verdict(reason, value, score, near)


def tally(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """``accepted``, ``unreal``, ``odd``, ``copy``: how many of each."""
    counts = Counter(v.reason or "accepted" for v in verdicts)
    return {name: counts[name] for name in ("accepted", "unreal", "odd", "copy")}


def _stack(images: Sequence[Image]) -> Pixels:
    return to_float(np.stack(list(images)))
