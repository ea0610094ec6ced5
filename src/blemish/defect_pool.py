"""Defective images for training: the few that there are, and their defects pasted elsewhere.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025: 5 copies and 10 pasted images of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from blemish.augmentation.cut_paste import Pasting, cut_paste, turn_whole
from blemish.errors import DataError
from blemish.samples import Batch, Samples, to_float
from blemish.types import Image, Mask

ONCE = -1


@dataclass(frozen=True)
class Item:
    """One defective view.

    Attributes:
        key: Of the image, or of its own for a pasted one.
        number: Number of the view within the image; `ONCE` for a view that never comes again.
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool, at least one pixel set.
        valid: (H, W) bool.
    """

    key: str
    number: int
    pixels: Image
    mask: Mask
    valid: Mask


@dataclass(frozen=True)
class DefectPool:
    """What the defective part of a batch is drawn from.

    Attributes:
        originals: The marked views as they are.
        pasted: Their defects in good images; empty without pasting.
        copies_share: Share of draws that take an original.
        fresh: Paste anew for every draw, into the good images of the batch.
        how: How that is done.
    """

    originals: Sequence[Item]
    pasted: Sequence[Item]
    copies_share: float
    fresh: bool = False
    how: Pasting = field(default_factory=Pasting)

    def mix(self, batch: Batch, count: int, generator: np.random.Generator) -> Batch:
        """Add `count` defective views to a batch."""
        return _joined(batch, [self._draw(batch, generator) for _ in range(count)])

    def replace(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """As many defective views as the batch has views, and none of those."""
        rows = {k: getattr(batch, k)[:0] for k in ("x", "valid", "mask", "defective")}
        nothing = replace(batch, **rows, keys=(), digests=(), numbers=())
        return self.mix(nothing, len(batch.x), generator)

    def _draw(self, batch: Batch, generator: np.random.Generator) -> Item:
        original = generator.random() < self.copies_share
        source: Sequence[Item] = self.originals
        if not original and not self.fresh and self.pasted:
            source = self.pasted
        item = source[int(generator.integers(len(source)))]
        if original or not self.fresh:
            return item
        row = int(generator.integers(len(batch.x)))
        ground = np.rint(batch.x[row] * 255).astype(np.uint8)
        found = cut_paste(item.pixels, item.mask, ground, batch.valid[row], generator, self.how)
        if found is None:
            return item
        return Item("pasted", ONCE, *found, batch.valid[row])


def add_noise(batch: Batch, deviation: float, generator: np.random.Generator) -> Batch:
    """The same noise on good and defective views, or it would tell them apart; kept in [0, 1]."""
    if not deviation:
        return batch
    noise = generator.normal(0, deviation, batch.x.shape).astype(np.float32)
    return replace(batch, x=(batch.x + noise).clip(0, 1), numbers=(ONCE,) * len(batch.keys))


def marked_views(samples: Samples) -> list[Item]:
    """All views with a marked and valid pixel, in order; read once."""
    found = []
    for views in samples.defects:
        for number in range(len(views.pixels)):
            if views.mask is not None and (views.mask[number] & views.valid[number]).any():
                mask = views.mask[number] & views.valid[number]
                key = views.record.key
                found.append(Item(key, number, views.pixels[number], mask, views.valid[number]))
    return found


def make_pool(
    samples: Samples,
    copies: int,
    pastes: int,
    how: Pasting,
    seed: int,
    *,
    larger: int = 1,
    fresh: bool = False,
    whole: bool = False,
) -> DefectPool:
    """Cut the defects of the marked images out and paste them into good ones.

    Args:
        samples: Good and defective training images; those without a marked pixel are left out.
        copies: How often an original is drawn …
        pastes: … against pasted ones: only the ratio counts. 0 = nothing is pasted.
        how: Ranges and placement.
        seed: Of the pool.
        larger: The pool holds `pastes` times this many pasted images of each original.
        fresh: Paste anew at every draw; nothing is made now.
        whole: Turn the defective images as a whole; no good image is used.

    Raises:
        DataError: No image has a marked pixel at the working resolution.
    """
    originals = marked_views(samples)
    if not originals:
        raise DataError(
            f"None of the {len(samples.defects)} defective training images has a marked pixel at "
            f"{samples.geometry.size[1]}×{samples.geometry.size[0]} pixels; give masks, or a "
            "larger image_size."
        )
    generator = np.random.default_rng([seed, 17])
    share = copies / max(copies + pastes, 1) if copies + pastes else 1.0
    if fresh or not pastes:
        return DefectPool(originals, (), share, fresh and bool(pastes), how)
    normals = samples.normals
    grounds = [] if whole else normals.places
    pasted: list[Item] = []
    for item in originals:
        for _ in range(pastes * larger):
            key, number = f"pasted/{len(pasted)}", 0
            if whole:
                pixels, mask = turn_whole(item.pixels, item.mask, generator, how)
                if (mask & item.valid).any():
                    found = Item(key, number, pixels, mask & item.valid, item.valid)
                    pasted.append(found)
                continue
            image, view = grounds[int(generator.integers(len(grounds)))]
            ground = normals[image]
            made = cut_paste(
                item.pixels, item.mask, ground.pixels[view], ground.valid[view], generator, how
            )
            if made is not None:
                pasted.append(Item(key, number, *made, ground.valid[view]))
    return DefectPool(originals, pasted, share)


def _joined(batch: Batch, items: Sequence[Item]) -> Batch:
    if not items:
        return batch
    added: NDArray[np.uint8] = np.stack([item.pixels for item in items])
    nobody = ("",) * len(items)
    return Batch(
        x=np.concatenate([batch.x, to_float(added)]),
        valid=np.concatenate([batch.valid, np.stack([item.valid for item in items])]),
        mask=np.concatenate([batch.mask, np.stack([item.mask for item in items])]),
        defective=np.append(batch.defective, np.ones(len(items), bool)),
        keys=(*batch.keys, *(item.key for item in items)),
        digests=(*batch.digests, *nobody),
        numbers=(*batch.numbers, *(item.number for item in items)),
    )
