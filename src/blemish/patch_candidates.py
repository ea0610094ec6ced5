"""Patches that may enter a memory bank: their features, and which image and place they are from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Features, to_half
from blemish.preprocess import cell_valid
from blemish.samples import Batch
from blemish.team import Team


@dataclass
class Candidates:
    """Patches that may enter the bank.

    Attributes:
        vectors: (n, C) float16; half precision halves the largest array of all.
        share: Share of the patches of each image that is kept.
        largest: Largest number of vectors that the bank may have.
        team: Processes of which each has candidates of its own images.
    """

    vectors: NDArray[np.float16]
    share: float
    largest: int
    team: Team = field(default_factory=Team)

    def __post_init__(self) -> None:
        self.origins = np.empty(len(self.vectors), np.int64)
        self.places = np.empty((len(self.vectors), 3), np.int32)  # view, row, column
        self._images: dict[str, int] = {}  # number of each image, by digest
        self.filled = self.seen = self.wanted = 0

    def add(self, features: Features, batch: Batch, generator: np.random.Generator) -> None:
        """Take the valid patches of a batch, or a share of them."""
        views = zip(features, batch.valid, batch.digests, batch.numbers, strict=True)
        for vectors, valid, digest, number in views:
            image = self._images.setdefault(digest, len(self._images))
            cells = np.argwhere(cell_valid(valid, vectors.shape[:2]))
            self.seen += len(cells)
            if self.share < 1:
                chosen = generator.permutation(len(cells))[: int(self.share * len(cells))]
                cells = cells[np.sort(chosen)]
            cells = cells[: len(self.vectors) - self.filled]
            rows = slice(self.filled, self.filled + len(cells))
            self.vectors[rows] = to_half(vectors[cells[:, 0], cells[:, 1]])
            self.origins[rows] = image
            self.places[rows, 0], self.places[rows, 1:] = number, cells
            self.filled += len(cells)

    def trim(self, wanted: int) -> None:
        """Settle what was collected, and how many of `wanted` patches of all can be had."""
        self.vectors, self.origins = self.vectors[: self.filled], self.origins[: self.filled]
        self.places = self.places[: self.filled]
        sizes = self.team.gather(self.filled)
        self.all, self.before = sum(sizes), sum(sizes[: self.team.rank])
        self.wanted = min(wanted, self.largest, self.all)
        digests = self.team.gather(list(self._images))
        self.images = [digest for part in digests for digest in part]
        self.origins += sum(map(len, digests[: self.team.rank]))

    def some(self, count: int) -> NDArray[np.float32]:
        """About `count` vectors (m, C) of all, evenly chosen."""
        step = max(1, self.all // count)
        parts = self.team.gather(self.vectors[-self.before % step :: step])
        return np.concatenate(parts).astype(np.float32)

    def take(
        self, picked: NDArray[np.int64]
    ) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int32]]:
        """Vectors (m, C), images (m,) and places (m, 3) of patches, counted through all."""
        own = np.flatnonzero((picked >= self.before) & (picked < self.before + self.filled))
        rows = picked[own] - self.before
        found = (own, self.vectors[rows], self.origins[rows], self.places[rows])
        order, *arrays = (
            np.concatenate(parts) for parts in zip(*self.team.gather(found), strict=True)
        )
        vectors, origins, places = (array[np.argsort(order)] for array in arrays)
        return vectors, origins, places
