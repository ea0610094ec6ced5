"""The mean of good views, and mixtures of two of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from blemish.samples import Batch, Samples


def mean_view(samples: Samples, size: int) -> tuple[NDArray[np.float32], float]:
    """Mean of the valid pixels of all views, and the root mean square around it.

    Args:
        samples: At least one view.
        size: Views that are read at once.

    Returns:
        (H, W, 3) float32 in [0, 1], mid grey where no view is valid; and the deviation.
    """
    total, squares, count = 0.0, 0.0, 0.0
    for batch in samples.batches(size):
        valid = batch.valid[..., None].astype(np.float64)
        total, count = total + (batch.x * valid).sum(axis=0), count + valid.sum(axis=0)
        squares = squares + (np.square(batch.x) * valid).sum(axis=0)
    seen = np.maximum(count, 1)
    mean = np.where(count > 0, total / seen, 0.5)
    variance = np.where(count > 0, squares / seen - np.square(mean), 0)
    spread = np.sqrt(max(float((variance * count).sum() / max(3 * np.sum(count), 1)), 0))
    return mean.astype(np.float32), float(spread)


def mix_views(batch: Batch, generator: np.random.Generator) -> Batch:
    """Mix every view with another one of the batch.

    Light, shade and small shifts add up nearly linearly, so that mixtures are good parts too; a
    hundred photos show few of their combinations.
    """
    other = generator.permutation(len(batch.x))
    share = generator.random((len(batch.x), 1, 1, 1), np.float32)
    both = (batch.valid & batch.valid[other])[..., None]
    mixed = share * batch.x + (1 - share) * batch.x[other]
    return replace(batch, x=np.where(both, mixed, batch.x))
