"""How alike two sets of images are: the kernel distance of their features.

[1] M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018, arXiv
    1801.01401: KID.

Differs from [1]: features of a backbone that a detector would use, averaged over a coarse grid and
in units of their deviation over real images, in place of an Inception network's. So values compare
with those of the same features only, not with published ones; each comes with what two sets of real
images give.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import distance

from blemish.backbones.base import Backbone
from blemish.samples import to_float
from blemish.types import Image

Vectors = NDArray[np.float64]
GRID = 4  # cells along each side that features are averaged over
SUBSETS = 100  # of half the images, whose spread is shown
BATCH = 8


class FeatureSpace:
    """Images as vectors, in units of their deviation over real images.

    Args:
        backbone: Frozen features.
        real: (H, W, 3) uint8 images that units are measured on.
    """

    def __init__(self, backbone: Backbone, real: Iterable[Image]):
        self._backbone = backbone
        self.real = self._pooled(real)
        deviation = self.real.std(axis=0)
        # A feature that never varies among real images is measured coarsely, not infinitely.
        self._scale = 1 / np.maximum(deviation, 0.01 * max(float(deviation.max()), 1e-12))
        self._mean = self.real.mean(axis=0)
        self.real = (self.real - self._mean) * self._scale

    def __call__(self, images: Iterable[Image]) -> Vectors:
        """(n, D), one row per image."""
        return np.asarray((self._pooled(images) - self._mean) * self._scale)

    def _pooled(self, images: Iterable[Image]) -> Vectors:
        views = list(images)
        rows = []
        for start in range(0, len(views), BATCH):
            x = _filled(np.stack(views[start : start + BATCH]), self._backbone.multiple)
            maps = self._backbone(to_float(x))
            rows.append(np.concatenate([_averaged(m) for m in maps], axis=1))
        return np.concatenate(rows)


def kernel_distance(first: Vectors, second: Vectors, seed: int = 0) -> tuple[float, float]:
    """Unbiased squared distance of two sets, and its deviation over random halves of both.

    Args:
        first: (n, D), at least 4 rows.
        second: (m, D), at least 4 rows.
        seed: Of the halves.

    Returns:
        The distance, which may be slightly below 0 for equal distributions, and the deviation.
    """
    within, other, between = (_kernel(a, b) for a, b in _pairs(first, second))
    random = np.random.default_rng(seed)
    halves = []
    for _ in range(SUBSETS):
        rows = random.choice(len(first), len(first) // 2, replace=False)
        columns = random.choice(len(second), len(second) // 2, replace=False)
        halves.append(
            _unbiased(
                within[np.ix_(rows, rows)],
                other[np.ix_(columns, columns)],
                between[np.ix_(rows, columns)],
            )
        )
    return _unbiased(within, other, between), float(np.std(halves))


def nearest_distance(vectors: Vectors, others: Vectors) -> NDArray[np.float64]:
    """(n,) Euclidean distance of each to the nearest of the others."""
    return np.asarray(distance.cdist(vectors, others).min(axis=1))


def _pairs(first: Vectors, second: Vectors) -> tuple[tuple[Vectors, Vectors], ...]:
    return (first, first), (second, second), (first, second)


def _kernel(a: Vectors, b: Vectors) -> Vectors:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _unbiased(within: Vectors, other: Vectors, between: Vectors) -> float:
    return float(_off_diagonal(within) + _off_diagonal(other) - 2 * between.mean())


def _off_diagonal(kernel: Vectors) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _filled(views: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """(B, H, W, 3), both sides filled up to a multiple by edge replication."""
    rows, columns = (-side % multiple for side in views.shape[1:3])
    return np.pad(views, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")


def _averaged(features: NDArray[np.float32]) -> Vectors:
    """(B, h, w, C) to (B, GRID² · C)."""
    bands = [
        band.mean(axis=(1, 2), dtype=np.float64)
        for row in np.array_split(features, min(GRID, features.shape[1]), axis=1)
        for band in np.array_split(row, min(GRID, features.shape[2]), axis=2)
    ]
    return np.concatenate(bands, axis=1)
