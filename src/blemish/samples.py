"""Samples: a data set seen through a geometry, as methods read it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.augmentation.classic import Changes
from blemish.datasets.base import DataSet, Record, image_digest
from blemish.datasets.splits import rank_groups
from blemish.parallel import read_ahead
from blemish.preprocess import Geometry
from blemish.types import Pixels

# Views are kept in memory up to this many bytes; beyond, images are read again.
KEEP_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Views:
    """One image as a method sees it.

    Attributes:
        record: What is known of the image.
        pixels: (N, h, w, 3) uint8, one view or N tiles.
        valid: (N, h, w) bool, False on padding and outside the region of interest.
        mask: (N, h, w) bool, the marked defect; None where a defect was not marked.
        digest: Digest of the decoded image.
    """

    record: Record
    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_] | None
    digest: str


@dataclass(frozen=True)
class Batch:
    """Views of several images.

    Attributes:
        x: (B, h, w, 3) float32 RGB in [0, 1].
        valid: (B, h, w) bool.
        mask: (B, h, w) bool; all False where no mask is known.
        defective: (B,) bool.
        keys: Key of the image of each view.
        digests: Digest of the image of each view.
        numbers: Number of each view within its image.
    """

    x: Pixels
    valid: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    defective: NDArray[np.bool_]
    keys: tuple[str, ...]
    digests: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass
class Samples:
    """A sequence of :class:`Views`, read when asked and kept while they fit in memory.

    Attributes:
        data: The images.
        geometry: What views are cut by.
        changes: How good views may be changed where a method asks for changed ones; None = not.
        copies: Changed copies of each view for methods that see every view only once.
        keep_bytes: Views are kept in memory up to this many bytes.
        source: Where views come from instead, such as a region of those of other samples.
    """

    data: DataSet
    geometry: Geometry
    changes: Changes | None = None
    copies: int = 0
    keep_bytes: int = KEEP_BYTES
    source: Callable[[Record], Views] | None = None
    _kept: dict[str, Views] = field(default_factory=dict, repr=False)
    _digests: dict[str, str] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Views:
        return self.read(self.data.records[index])

    def __iter__(self) -> Iterator[Views]:
        return read_ahead(self.read, self.data.records, ahead=self._ahead)

    @property
    def normals(self) -> Samples:
        """The good images only."""
        return self._part(self.data.select(defective=False))

    @property
    def defects(self) -> Samples:
        """The defective images only."""
        return self._part(self.data.select(defective=True))

    @property
    def digests(self) -> list[str]:
        """Digest of every image, in order; images that were read before are not read again."""
        missing = [r for r in self.data if r.key not in self._digests]
        for record in missing:
            self._digests[record.key] = self.read(record).digest
        return [self._digests[r.key] for r in self.data]

    @property
    def views_per_image(self) -> int:
        """Views of the first image, as of all of this size; 0 where there is no image."""
        if not self.geometry.tile or not len(self):
            return min(len(self), 1)
        shape = self.data.image(self.data.records[0]).shape
        return len(self.geometry.layout((shape[0], shape[1])).views)

    @property
    def passes(self) -> int:
        """How often :meth:`changed_batches` shows every view, itself and its copies."""
        return 1 if self.changes is None else 1 + self.copies

    def changed_batches(
        self, size: int, generator: np.random.Generator, keep: bool = True
    ) -> Iterator[Batch]:
        """As :meth:`batches`, each batch followed by :attr:`copies` changed ones of it.

        For methods that see every view only once; without :attr:`changes` there are no copies.
        """
        for batch in self.batches(size, keep):
            yield batch
            for _ in range(self.passes - 1):
                yield self._change(batch, generator)

    def batches(self, size: int, keep: bool = True) -> Iterator[Batch]:
        """Go through all views once, in order, `size` at a time; the last batch may be smaller.

        Args:
            size: Views per batch.
            keep: Keep the views in memory for the next time; a method that looks once needs none.
        """
        waiting: list[tuple[Views, int]] = []
        read = partial(self.read, keep=keep)
        for views in read_ahead(read, self.data.records, ahead=self._ahead):
            for number in range(len(views.pixels)):
                waiting.append((views, number))
                if len(waiting) == size:
                    yield _batch(waiting)
                    waiting = []
        if waiting:
            yield _batch(waiting)

    def part(self, keys: Iterable[str]) -> Samples:
        """The images with these keys, in order."""
        return self._part(self.data.select(keys=keys))

    def hold_out(self, share: float, salt: str) -> tuple[Samples, Samples]:
        """Part the images by part, about `share` of the photos on the second side.

        Synthetic images stay on the first; with fewer than four parts both sides are all images.
        """
        ranked = rank_groups((r.group for r in self.data if not r.synthetic), salt)
        if len(ranked) < 4:
            return self, self
        held = set(ranked[: max(1, round(share * len(ranked)))])
        return (
            self.part(r.key for r in self.data if r.group not in held),
            self.part(r.key for r in self.data if r.group in held),
        )

    @property
    def places(self) -> list[tuple[int, int]]:
        """(image, view) of every view, in order; reads all images once."""
        return [(i, number) for i, views in enumerate(self) for number in range(len(views.pixels))]

    def take(
        self, places: Sequence[tuple[int, int]], generator: np.random.Generator | None = None
    ) -> Batch:
        """These views as one batch, such as a part of :attr:`places` in shuffled order.

        Args:
            places: (image, view) of each.
            generator: Good views are changed as :attr:`changes` says; None = they are not.
        """
        batch = _batch([(self[image], number) for image, number in places])
        return batch if generator is None else self._change(batch, generator)

    @property
    def _ahead(self) -> int:
        # Images that are cut into tiles may be so large that only one fits into memory.
        return 0 if self.geometry.tile else 4

    @property
    def identity(self) -> dict[str, Any]:
        """What is shown and how, in plain JSON values: a checkpoint of anything else is refused."""
        shown: dict[str, Any] = {
            "geometry": self.geometry.to_json(),
            "data": hashlib.sha256("".join(self.digests).encode()).hexdigest()[:32],
        }
        return shown if self.changes is None else {**shown, "changes": asdict(self.changes)}

    def _change(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """The good views changed, each in its own way."""
        if self.changes is None:
            return batch
        x, valid, mask = batch.x.copy(), batch.valid.copy(), batch.mask.copy()
        for i in np.flatnonzero(~batch.defective):
            x[i], valid[i], mask[i] = self.changes.apply(x[i], valid[i], mask[i], generator)
        return replace(batch, x=x, valid=valid, mask=mask)

    def _part(self, data: DataSet) -> Samples:
        # The same views again, not read again.
        return replace(self, data=data)

    def read(self, record: Record, keep: bool = True) -> Views:
        """The views of one image, kept in memory for the next time if asked and there is room."""
        kept = self._kept.get(record.key)
        if kept is not None:
            return kept
        views = self._look(record) if self.source is None else self.source(record)
        self._digests[record.key] = views.digest
        # Images of one data set are alike, so one tells how many fit.
        size = views.pixels.nbytes + 2 * views.valid.nbytes
        if keep and (len(self._kept) + 1) * size <= self.keep_bytes:
            self._kept[record.key] = views
        return views

    def _look(self, record: Record) -> Views:
        image = self.data.image(record)
        mask = self.data.mask(record, (image.shape[0], image.shape[1]))
        pixels, valid, layout = self.geometry.views(image)
        return Views(
            record,
            pixels,
            valid,
            None if mask is None else self.geometry.mask_views(mask, layout),
            image_digest(image),
        )


def _batch(items: Sequence[tuple[Views, int]]) -> Batch:
    nothing = np.zeros(items[0][0].valid.shape[1:], bool)
    return Batch(
        x=to_float(np.stack([views.pixels[i] for views, i in items])),
        valid=np.stack([views.valid[i] for views, i in items]),
        mask=np.stack([nothing if v.mask is None else v.mask[i] for v, i in items]),
        defective=np.asarray([views.record.defective for views, _ in items]),
        keys=tuple(views.record.key for views, _ in items),
        digests=tuple(views.digest for views, _ in items),
        numbers=tuple(number for _, number in items),
    )


def to_float(pixels: NDArray[np.uint8]) -> Pixels:
    """Scale uint8 to float32 in [0, 1], the only place where this happens."""
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
