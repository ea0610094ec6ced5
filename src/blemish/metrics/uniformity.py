"""Are the p-values of good images what they promise to be?

A conformal p-value of a good image must be at most α with a chance of at most α, for every α: the
distribution of p-values must not lie above the diagonal. How far it does is the excess; how far it
lies on either side is the Kolmogorov-Smirnov distance.

    [1] Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, Springer, 2005.
    [2] Massey: The Kolmogorov-Smirnov test for goodness of fit, JASA 46, 1951.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from blemish.errors import MetricError
from blemish.metrics.figure import Figure
from blemish.metrics.intervals import wilson

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class ReliabilityPoint(NamedTuple):
    """What a promised false-alarm rate turned out to be.

    Attributes:
        asked: The rate that was asked for, α.
        observed: Share of good test images with p ≤ α.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end of its 95 % Wilson interval.
    """

    asked: float
    observed: float
    low: float
    high: float


def uniformity_figures(p_values: ArrayLike, calibration: int | None = None) -> dict[str, Figure]:
    """Distance of the p-values of good images from the uniform distribution.

    Args:
        p_values: (n,) p-values in (0, 1] of good test images only.
        calibration: Number of calibration images behind the p-values. They are shared by all test
            images, so that the p-values are not independent; with this number the test is the
            two-sample one, which allows for it. None for the one-sample test.

    Returns:
        ``p_value_ks``: largest distance of the distribution from the diagonal; ``p_value_excess``:
        largest distance above it, where more good parts are flagged than asked for;
        ``p_value_ks_test``: chance of such a distance or a larger one if the promise holds (small =
        broken), from the asymptotic distribution, which is cautious for p-values on a grid.

    Raises:
        MetricError: A p-value outside (0, 1].
    """
    values = _checked(p_values)
    labels = {
        "p_value_ks": "KS distance of p-values from uniform",
        "p_value_excess": "Largest excess of false alarms",
        "p_value_ks_test": "p of the KS test of uniformity",
    }
    if not values.size:
        reason = "the test set has no good image"
        return {name: Figure(None, label, reason=reason) for name, label in labels.items()}
    above, below = distances(values)
    largest = max(above, below)
    size = (
        values.size
        if calibration is None
        else values.size * calibration / (values.size + calibration)
    )
    test = float(special.kolmogorov(largest * np.sqrt(size)))
    found = (largest, above, test)
    return {
        name: Figure(value, label)
        for (name, label), value in zip(labels.items(), found, strict=True)
    }


def distances(p_values: ArrayLike) -> tuple[float, float]:
    """Largest distance of the empirical distribution above and below the diagonal.

    Args:
        p_values: (n,) in (0, 1], n ≥ 1.
    """
    values = np.sort(np.asarray(p_values, np.float64))
    steps = np.arange(values.size + 1) / values.size
    return float(max(0, np.max(steps[1:] - values))), float(max(0, np.max(values - steps[:-1])))


def reliability(p_values: ArrayLike, rates: Sequence[float] = RATES) -> list[ReliabilityPoint]:
    """Observed against promised false-alarm rates, for the reliability picture.

    Args:
        p_values: (n,) p-values in (0, 1] of good test images only.
        rates: The rates α to look at.

    Returns:
        One point per rate; none without good images.

    Raises:
        MetricError: A p-value outside (0, 1].
    """
    values = _checked(p_values)
    points = []
    for rate in rates if values.size else ():
        hits = int(np.count_nonzero(values <= rate))
        points.append(ReliabilityPoint(rate, hits / values.size, *wilson(hits, values.size)))
    return points


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p_values, np.float64).ravel()
    wrong = values[~((values > 0) & (values <= 1))]
    if wrong.size:
        raise MetricError(f"The p-value {wrong[0]} is not in (0, 1]; give the p-values of images.")
    return values
