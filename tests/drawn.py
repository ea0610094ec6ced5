"""A tiny drawn data set: plates with a printed grid, good or with one painted blob."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from blemish.datasets.base import DataSet, Record, Split
from blemish.types import Image, Mask

HEIGHT, WIDTH = 64, 96
BLOB = 16  # side of a painted defect in pixels


@lru_cache
def draw_good(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """(H, W, 3) uint8, read-only: a printed grid under a little light and noise of its own."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    print_ = 130 + 40 * np.sin(columns / 2.5) + 30 * np.cos(rows / 3.5)
    light = generator.uniform(0.97, 1.03)
    noise = generator.normal(0, 3, (height, width, 3))
    image = (light * print_[:, :, None] * [1.0, 0.9, 0.8] + noise).clip(0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


def blob_mask(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Mask:
    """(H, W) bool: where `draw_defective` paints."""
    generator = np.random.default_rng(seed)
    top, left = (generator.integers(8, n - BLOB - 8) for n in (height, width))
    mask = np.zeros((height, width), bool)
    mask[top : top + BLOB, left : left + BLOB] = True
    return mask


@lru_cache
def draw_defective(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """(H, W, 3) uint8, read-only: a good plate with a blob of another colour and texture."""
    image, mask = draw_good(seed, height, width).copy(), blob_mask(seed, height, width)
    image[mask] = np.random.default_rng(seed).integers(0, 256, (int(mask.sum()), 3)) // 2
    image[mask, 2] = 255
    image.setflags(write=False)
    return image


def record(
    key: str,
    image: Callable[[], Image],
    *,
    group: str | None = None,
    split: Split = "train",
    mask: Callable[[], Mask] | None = None,
) -> Record:
    """A record of a drawn image; one with a mask is defective."""
    kind = "good" if mask is None else "blob"
    return Record(key, image, mask is not None, kind, group or key, split, mask)


def good_records(
    count: int, first: int = 0, split: Split = "train", photos: int = 2
) -> tuple[Record, ...]:
    """Good plates, `photos` pictures of each."""
    return tuple(
        record(f"{split}/good/{i}", partial(draw_good, i), group=f"part {i // photos}", split=split)
        for i in range(first, first + count)
    )


def defective_records(count: int, first: int = 1000, split: Split = "test") -> tuple[Record, ...]:
    """Defective plates with their masks."""
    return tuple(
        record(
            f"{split}/blob/{i}",
            partial(draw_defective, i),
            split=split,
            mask=partial(blob_mask, i),
        )
        for i in range(first, first + count)
    )


def plates(train: int = 16, good: int = 4, defective: int = 4, marked: int = 0) -> DataSet:
    """A whole data set; `marked` defective plates are for training, for methods that want them."""
    records = (
        *good_records(train),
        *defective_records(marked, 2000, "train"),
        *good_records(good, 500, "test"),
        *defective_records(defective),
    )
    return DataSet("plates", records)


def images(data: DataSet) -> list[Image]:
    """All images, in order."""
    return [data.image(r) for r in data]


def with_image(of: Record, change: Callable[[Image], Image]) -> Record:
    """The same record with a changed image."""
    assert callable(of.image)
    drawn = of.image
    return replace(of, image=lambda: change(drawn()))
