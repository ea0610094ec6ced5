"""How AUPRO depends on the size of the defects: cumulative quarters, disjoint bins, one summary.

    [1] Costanzino, Zama Ramirez, Lisanti, Di Stefano: Learning to Be a Transformer to Pinpoint
        Anomalies, IEEE Access 13, 2025, arXiv 2407.04092.

Differs from [1]: disjoint bins are offered beside the cumulative ones, which flatten the effect of
size; the summary ρ is our reading of a definition that could not be read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.25, 0.50, 0.75)

CUMULATIVE = {
    "q1": "regions with area ≤ q25",
    "q2": "regions with area ≤ q50",
    "q3": "regions with area ≤ q75",
    "q4": "all regions",
}
DISJOINT = {
    "d1": "area ≤ q25",
    "d2": "q25 < area ≤ q50",
    "d3": "q50 < area ≤ q75",
    "d4": "area > q75",
}


def size_bins(areas: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Sort regions into the quarters of their areas.

    Args:
        areas: (R,) pixels of each region, R ≥ 1. The bounds are numpy's linear quantiles over all
            regions of the test set, as in the code of [1].

    Returns:
        ``"q1"`` … ``"q4"`` (cumulative, each within the next) and ``"d1"`` … ``"d4"`` (disjoint,
        every region in exactly one) to (R,) bool. Equal areas can leave a disjoint bin empty.
    """
    bounds = np.quantile(areas, QUANTILES)
    cumulative = [areas <= bound for bound in bounds] + [np.ones(areas.size, bool)]
    bins = dict(zip(CUMULATIVE, cumulative, strict=True))
    smaller = np.zeros(areas.size, bool)
    for name, chosen in zip(DISJOINT, cumulative, strict=True):
        bins[name] = chosen & ~smaller
        smaller = chosen
    return bins


def rho(quarters: list[float]) -> float:
    """One number for Q1 … Q4: their mean, times the smaller of Q1 and Q4 over the larger.

    Our reading of the ρ of [1], whose definition is not public: in [0, 1], 1 for a perfect map of
    every size, and small where tiny and large defects fare differently. 0 where Q1 and Q4 are 0.
    """
    smallest, all_ = quarters[0], quarters[-1]
    largest = max(smallest, all_)
    return min(smallest, all_) / largest * sum(quarters) / len(quarters) if largest else 0.0


def rho_bound(quarters: list[float], bounds: list[float]) -> float:
    """Largest possible error of :func:`rho` when each quarter errs by at most its bound."""
    low = [max(0.0, value - bound) for value, bound in zip(quarters, bounds, strict=True)]
    high = [min(1.0, value + bound) for value, bound in zip(quarters, bounds, strict=True)]
    # the ratio is largest where Q1 and Q4 are closest, smallest where they are furthest apart
    apart = max(low[0], low[-1]) > min(high[0], high[-1])
    best = min(high[0], high[-1]) / max(low[0], low[-1]) if apart else 1.0
    far = max(high[0], high[-1])
    worst = min(low[0] / high[-1] if high[-1] else 0.0, low[-1] / high[0] if high[0] else 0.0)
    here = rho(quarters)
    most, least = best * sum(high) / len(high), worst * sum(low) / len(low)
    return max(most - here, here - least) if any(bounds) and far else 0.0
