"""A memory bank: choose what to keep (coreset) and find what is near. Plain matrix products.

The greedy k-centre selection of PatchCore [1] adds, one by one, the point that is farthest from all
chosen ones, which reads every point once per choice. Here choices are made in batches with the same
result: among the points that are farthest now, the next choices are exact as long as they stay
farther away than any point left out, because distances only shrink. The distances of all points are
then brought up to date with one matrix product per batch.

[1] K. Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022,
    arXiv 2106.08265.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (n, d)
CANDIDATES = 1024
BLOCK_BYTES = 32_000_000


def random_projection(dimensions: int, target: int, seed: int) -> Vectors:
    """(dimensions, target) Gaussian matrix that keeps distances on average.

    Returns the identity where `target` is not smaller.
    """
    if target >= dimensions:
        return np.eye(dimensions, dtype=np.float32)
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((dimensions, target), dtype=np.float32)
    matrix /= np.float32(np.sqrt(target))
    return matrix


def greedy_coreset(
    points: Vectors,
    count: int,
    *,
    start: Vectors | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.int64]:
    """Choose `count` points that cover all others, farthest first.

    Args:
        points: (n, d) float32.
        count: How many to choose; at most n.
        start: (m, d) points that are kept already and need no cover. None: begin with the point
            that is nearest to the mean, so that no random number is involved.
        progress: Called with the number chosen so far and `count`.

    Returns:
        (count,) indices in the order of choice; the same as one-by-one selection, up to ties.
    """
    count = min(count, len(points))
    squares = np.einsum("ij,ij->i", points, points)
    distances = np.full(len(points), np.inf, np.float32)
    chosen: list[int] = []
    if start is not None and len(start):
        _shorten(distances, points, squares, start)
    elif count:
        chosen = [int(np.argmin(squares - 2 * (points @ points.mean(axis=0))))]
        _shorten(distances, points, squares, points[chosen])
        distances[chosen] = -np.inf  # never chosen twice, also among equal points
    while len(chosen) < count:
        batch = _next_choices(points, squares, distances, count - len(chosen))
        _shorten(distances, points, squares, points[batch])
        distances[batch] = -np.inf
        chosen += batch
        progress(len(chosen), count)
    return np.asarray(chosen, np.int64)


def covering_radius(points: Vectors, bank: Vectors) -> tuple[float, float]:
    """Largest and mean distance of the points to the bank: what a coreset is judged by."""
    found = nearest(points, bank)[0]
    return float(found.max()), float(found.mean())


def nearest(
    queries: Vectors, bank: Vectors, bank_squares: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Euclidean distance to the nearest vector of the bank, and its index.

    The index comes from one matrix product; the distance to it is then computed directly, because
    the product loses what is left after two large numbers cancel.

    Args:
        queries: (n, d) float32.
        bank: (m, d) float32.
        bank_squares: (m,) squared norms of the bank, if at hand.
    """
    if bank_squares is None:
        bank_squares = np.einsum("ij,ij->i", bank, bank)
    distances = np.empty(len(queries), np.float32)
    index = np.empty(len(queries), np.int64)
    step = max(1, BLOCK_BYTES // (4 * max(len(bank), queries.shape[1])))
    half = bank_squares * np.float32(0.5)
    for first in range(0, len(queries), step):
        block = queries[first : first + step]
        closeness = block @ bank.T
        closeness -= half
        found = closeness.argmax(axis=1)
        difference = block - bank[found]
        distances[first : first + step] = np.sqrt(
            np.einsum("ij,ij->i", difference, difference), dtype=np.float32
        )
        index[first : first + step] = found
    return distances, index


def _next_choices(
    points: Vectors,
    squares: NDArray[np.float32],
    distances: NDArray[np.float32],
    wanted: int,
) -> list[int]:
    """The next choices of the one-by-one selection, as many as can be told without the rest."""
    size = min(CANDIDATES, len(points))
    candidates = np.argpartition(distances, len(distances) - size)[-size:]
    # In order of index, so that ties fall the same way whatever the partition did.
    candidates.sort()
    left = distances[candidates]
    limit = left.min() if size < len(points) else -np.inf
    near = points[candidates]
    products = near @ near.T
    own = squares[candidates]
    batch: list[int] = []
    while len(batch) < min(wanted, size):
        best = int(left.argmax())
        # The farthest candidate must beat every point outside, which is at most `limit` away.
        if batch and left[best] < limit:
            break
        batch.append(int(candidates[best]))
        np.minimum(left, own + own[best] - 2 * products[best], out=left)
        left[best] = -np.inf
    return batch


def _shorten(
    distances: NDArray[np.float32],
    points: Vectors,
    squares: NDArray[np.float32],
    added: Vectors,
) -> None:
    """Bring the squared distances to the chosen points up to date after some were added."""
    half = np.einsum("ij,ij->i", added, added) * np.float32(0.5)
    step = max(1, BLOCK_BYTES // (4 * max(len(added), points.shape[1])))
    for first in range(0, len(points), step):
        rows = slice(first, first + step)
        closeness = points[rows] @ added.T
        closeness -= half
        squared = squares[rows] - 2 * closeness.max(axis=1)
        np.minimum(distances[rows], np.maximum(squared, 0), out=distances[rows])
