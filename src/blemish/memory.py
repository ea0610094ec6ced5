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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.team import Team

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
    team: Team | None = None,
) -> NDArray[np.int64]:
    """Choose `count` points that cover all others, farthest first.

    Several processes may hold a part of the points each. They choose as one would, and agree on
    each batch by the farthest points of every part.

    Args:
        points: (n, d) float32; of a team, this process's part.
        count: How many to choose; at most n of all.
        start: (m, d) points that are kept already and need no cover. None: begin with the point
            that is nearest to the mean, so that no random number is involved.
        progress: Called with the number chosen so far and `count`.
        team: The processes that hold the points; None = this one holds all.

    Returns:
        (count,) indices in the order of choice, into the parts one after the other; the same as
        one-by-one selection, up to ties.
    """
    team = team or Team()
    sizes = team.gather(len(points))
    count, before = min(count, sum(sizes)), sum(sizes[: team.rank])
    squares = np.einsum("ij,ij->i", points, points)
    distances = np.full(len(points), np.inf, np.float32)
    chosen: list[int] = []

    def take(index: list[int], vectors: Vectors) -> None:
        _shorten(distances, points, squares, vectors)
        own = np.asarray(index) - before
        # Never chosen twice, also among equal points.
        distances[own[(own >= 0) & (own < len(points))]] = -np.inf
        chosen.extend(index)

    if start is not None and len(start):
        _shorten(distances, points, squares, start)
    elif count:
        take(*_nearest_to_mean(points, squares, before, team))
    while len(chosen) < count:
        farthest = _Farthest.of(points, squares, distances, before)
        take(*_Farthest.join(team.gather(farthest)).next_choices(count - len(chosen)))
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


def _nearest_to_mean(
    points: Vectors, squares: NDArray[np.float32], before: int, team: Team
) -> tuple[list[int], Vectors]:
    """The point nearest to the mean of all points: its index, and itself (1, d)."""
    sums = team.gather((points.sum(axis=0, dtype=np.float64), len(points)))
    mean = (sum(s for s, _ in sums) / sum(n for _, n in sums)).astype(np.float32)
    apart = squares - 2 * (points @ mean)
    best = int(np.argmin(apart)) if len(points) else 0
    found = (float(apart[best]), before + best, points[best]) if len(points) else None
    nearest_of_all = min((f for f in team.gather(found) if f is not None), key=lambda f: f[:2])
    return [nearest_of_all[1]], nearest_of_all[2][None]


@dataclass(frozen=True)
class _Farthest:
    """The points that are farthest from all chosen ones.

    Attributes:
        index: (c,) which they are, rising.
        points: (c, d).
        distances: (c,) squared.
        limit: No other point is farther away; -inf where there is no other.
    """

    index: NDArray[np.int64]
    points: Vectors
    distances: NDArray[np.float32]
    limit: float

    @classmethod
    def of(
        cls,
        points: Vectors,
        squares: NDArray[np.float32],
        distances: NDArray[np.float32],
        before: int,
    ) -> _Farthest:
        size = min(CANDIDATES, len(points))
        candidates = np.argpartition(distances, len(distances) - size)[len(distances) - size :]
        # In order of index, so that ties fall the same way whatever the partition did.
        candidates.sort()
        left = distances[candidates]
        limit = float(left.min()) if size < len(points) else -np.inf
        return cls(candidates + before, points[candidates], left, limit)

    @classmethod
    def join(cls, parts: Sequence[_Farthest]) -> _Farthest:
        """Those of all parts; a point that some part left out may be as far as any limit."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([p.index for p in parts]),
            np.concatenate([p.points for p in parts]),
            np.concatenate([p.distances for p in parts]),
            max(p.limit for p in parts),
        )

    def next_choices(self, wanted: int) -> tuple[list[int], Vectors]:
        """The next choices of the one-by-one selection, as many as can be told without the rest."""
        products = self.points @ self.points.T
        own, left = np.einsum("ij,ij->i", self.points, self.points), self.distances.copy()
        batch: list[int] = []
        while len(batch) < min(wanted, len(left)):
            best = int(left.argmax())
            # The farthest candidate must beat every point outside, at most `limit` away.
            if batch and left[best] < self.limit:
                break
            batch.append(best)
            np.minimum(left, own + own[best] - 2 * products[best], out=left)
            left[best] = -np.inf
        return [int(i) for i in self.index[batch]], self.points[batch]


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
