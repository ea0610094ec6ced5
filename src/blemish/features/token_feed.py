"""Vectors of many views, batch by batch, from memory or from memory maps that do not fit in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Half = NDArray[np.float16]
Vectors = tuple[Half, ...]  # several (n, C) arrays whose rows belong together


class TokenFeed:
    """All vectors once per epoch: single ones in shuffled order, or whole views.

    Where everything fits in `room` bytes it is read once and kept. Otherwise an epoch goes through
    groups of random views that fit, read in one sequence each, and shuffles within the group.

    Args:
        read: Gives the vectors of one view.
        counts: Number of vectors of each view.
        width: Channels of a vector, all arrays together.
        whole_views: A batch is so many views; otherwise so many vectors.
        room: Bytes that may be kept in memory.
    """

    def __init__(
        self,
        read: Callable[[int], Vectors],
        counts: Sequence[int],
        width: int,
        whole_views: bool,
        room: float,
    ):
        self._read, self._whole = read, whole_views
        self._counts = np.asarray(counts, np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        each = 2 * width * max(1, int(self._counts.max(initial=0)))
        self._views_at_once = max(1, int(room // each))
        fits = 2 * width * int(self._counts.sum()) <= room
        self._kept = self._load(np.arange(len(counts))) if fits else None

    def __len__(self) -> int:
        return len(self._counts) if self._whole else int(self._counts.sum())

    def epoch(self, batch: int, order: np.random.Generator) -> Iterator[Vectors]:
        """Go through everything once.

        Args:
            batch: Vectors, or views, per batch; the last one may be smaller.
            order: The order derives from it alone.
        """
        if self._whole:
            yield from self._by_view(batch, order)
        elif self._kept is not None:
            yield from _shuffled(self._kept, batch, order)
        else:
            yield from self._by_group(batch, order)

    def _by_view(self, batch: int, order: np.random.Generator) -> Iterator[Vectors]:
        views = order.permutation(len(self._counts))
        for first in range(0, len(views), batch):
            chosen = views[first : first + batch]
            if self._kept is None:
                yield self._load(chosen)
                continue
            spans = [slice(self._starts[i], self._starts[i + 1]) for i in chosen]
            yield tuple(np.concatenate([a[s] for s in spans]) for a in self._kept)

    def _by_group(self, batch: int, order: np.random.Generator) -> Iterator[Vectors]:
        views = order.permutation(len(self._counts))
        rest: Vectors | None = None
        for first in range(0, len(views), self._views_at_once):
            group = self._load(views[first : first + self._views_at_once])
            if rest is not None:
                # What filled no batch goes on with the next group, so that steps can be counted.
                group = tuple(np.concatenate(pair) for pair in zip(rest, group, strict=True))
            last = first + self._views_at_once >= len(views)
            for vectors in _shuffled(group, batch, order):
                if len(vectors[0]) < batch and not last:
                    rest = vectors
                    break
                yield vectors
            else:
                rest = None

    def _load(self, views: NDArray[np.int64]) -> Vectors:
        """The vectors of these views, one after the other."""
        total, first = int(self._counts[views].sum()), 0
        arrays: Vectors = ()
        for view in views:
            vectors = self._read(int(view))
            if not arrays:
                arrays = tuple(np.empty((total, v.shape[1]), np.float16) for v in vectors)
            for array, part in zip(arrays, vectors, strict=True):
                array[first : first + len(part)] = part
            first += int(self._counts[view])
        return arrays


def _shuffled(arrays: Vectors, batch: int, order: np.random.Generator) -> Iterator[Vectors]:
    rows = order.permutation(len(arrays[0]))
    for first in range(0, len(rows), batch):
        chosen = rows[first : first + batch]
        yield tuple(a[chosen] for a in arrays)
