"""Bootstrap of pixel AUROC by group, from a small histogram of each image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blemish.metrics.image_log import SAMPLE, ImageLog
from blemish.metrics.intervals import Interval, group_weights, has_spread
from blemish.metrics.pooled import PooledPixels

GRID = 257  # quantiles of good and of anomalous values that bound the bins


def auroc_interval(pooled: PooledPixels, log: ImageLog, seed: int, replicates: int) -> Interval:
    """Percentile interval of pixel AUROC under the stratified bootstrap by group.

    Each sample's AUROC comes from the summed histograms of its images (the good pixels of an image
    through `SAMPLE` of them), moved by what the histograms miss on the whole test set. The interval
    is an estimate; the bound of the figure does not cover it.

    Args:
        pooled: All anomalous pixels.
        log: Groups and samples of all images.
        seed: Seed of the bootstrap.
        replicates: Bootstrap samples; 0 for no interval.

    Returns:
        The 2.5 and 97.5 percentiles within [0, 1], or (None, None) where the good or the defective
        images are one group only.
    """
    defective = np.bincount(pooled.images, minlength=log.count) > 0
    groups = log.groups()
    if not replicates or not has_spread(groups, defective):
        return None, None
    bad, good = _histograms(pooled, log)
    blocks = group_weights(groups, defective, seed, replicates)
    samples = np.concatenate([_auroc(block @ bad, block @ good) for block in blocks])
    whole = _auroc(bad.sum(0, keepdims=True), good.sum(0, keepdims=True))
    low, high = np.percentile(samples - whole + pooled.auroc().value, (2.5, 97.5))
    return max(0.0, float(low)), min(1.0, float(high))


def _histograms(
    pooled: PooledPixels, log: ImageLog
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Anomalous and good pixels of each image in common bins: two (images, bins)."""
    samples, sizes = log.samples()
    steps = np.linspace(0, 1, GRID)
    edges = np.unique([np.quantile(samples, steps), np.quantile(pooled.values, steps)])
    bins = edges.size + 1
    images = pooled.images[pooled.regions]
    place = images * bins + np.searchsorted(edges, pooled.values, "right")
    bad = np.bincount(place, minlength=log.count * bins).reshape(log.count, bins)
    rows = np.repeat(np.arange(log.count), SAMPLE)
    place = rows * bins + np.searchsorted(edges, samples.ravel(), "right")
    good = np.bincount(place, minlength=log.count * bins).reshape(log.count, bins)
    return bad.astype(np.float64), good * (sizes[:, None] / SAMPLE)


def _auroc(bad: NDArray[np.float64], good: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUROC of each row of two histograms (n, bins) whose bins ascend."""
    below = np.cumsum(good, 1) - good / 2
    values: NDArray[np.float64] = np.sum(bad * below, 1) / (bad.sum(1) * good.sum(1))
    return values
