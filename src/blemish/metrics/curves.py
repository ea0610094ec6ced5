"""Curves for a report: few points that keep the shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Curve = tuple[list[float], list[float]]


def thin_out(x: Numbers, y: Numbers, points: int = 200) -> Curve:
    """Keep at most `points` points of a curve, evenly spread along its length, ends included.

    Spread along the length and not along x: the steep start of a ROC or PRO curve is what matters.

    Args:
        x: (n,) float64 in [0, 1].
        y: (n,) float64 in [0, 1].
        points: Largest number of points, at least 2.
    """
    if x.size > points:
        length = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
        wanted = np.searchsorted(length, np.linspace(0, length[-1], points))
        kept = np.unique(np.append(np.minimum(wanted, x.size - 1), [0, x.size - 1]))
        if kept.size > points:
            kept = np.delete(kept, 1)
        x, y = x[kept], y[kept]
    return x.tolist(), y.tolist()
