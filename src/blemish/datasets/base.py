"""Records and data sets: what every loader hands out and every method reads.

A *source* is one file in this folder: a class with `Options`, ``__init__(root, options)``,
``categories()`` and ``records(category)``. It lists records and reads no pixels. A
:class:`DataSet` is an immutable list of records that reads images and masks when asked.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from blemish.errors import DataError, OverlapError
from blemish.images import DEFAULT_MAX_PIXELS, read_image, read_mask
from blemish.types import Image, Mask

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Record:
    """One image and what is known of it.

    Attributes:
        key: Unique name within the data set, a relative path with forward slashes.
        image: Where the image is, or a function that draws it as (H, W, 3) uint8.
        defective: True for a defective part, False for a good one.
        defect_type: ``"good"``, or the kind of defect.
        group: All photos of one part share a group; splits never separate a group.
        split: ``"train"``, ``"val"`` or ``"test"``.
        mask: Where the mask is (non-zero = defect), or a function that draws it as (H, W) bool.
            None for a good image, and for a defective one whose defect was not marked.
        mm_per_pixel: Size of a pixel in millimetres, where known.
        synthetic: True for an image that was never a photo of a part.
        calibrates: False for an image that was picked for its looks, such as one of a review
            queue: it is no draw from production, so it may be learned from, not calibrated on.
        origins: Digests of the images that a synthetic one was made from: they neither calibrate
            nor test what learned from it.
    """

    key: str
    image: Path | Callable[[], Image]
    defective: bool
    defect_type: str
    group: str
    split: Split
    mask: Path | Callable[[], Mask] | None = None
    mm_per_pixel: float | None = None
    synthetic: bool = False
    calibrates: bool = True
    origins: tuple[str, ...] = ()


class Source(Protocol):
    """What one file in this folder provides."""

    Options: ClassVar[type]

    def __init__(self, root: Path | None, options: Any): ...

    def categories(self) -> tuple[str, ...]:
        """Names of the categories below the root; empty where there are none."""
        ...

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the records of a category, and one warning per problem that was found."""
        ...


@dataclass(frozen=True)
class DataSet:
    """An immutable list of records.

    Attributes:
        name: ``"mvtec_ad/screw"``, ``"battery_plate"``, or the name of the folder.
        records: The records, in a fixed order; iterating over a data set gives these.
        warnings: One sentence per problem that was found while listing.
        max_pixels: Images with more pixels than this are refused.
        bit_depth: Bits that are used in 16-bit images (the fixed divisor is ``2**bit_depth - 1``).
        reader: Registered name of the reader that listed the records; ``""`` for own records.
    """

    name: str
    records: tuple[Record, ...]
    warnings: tuple[str, ...] = ()
    max_pixels: int = DEFAULT_MAX_PIXELS
    bit_depth: int = 16
    reader: str = ""

    def __post_init__(self) -> None:
        twice = [key for key, n in Counter(r.key for r in self.records).items() if n > 1]
        if twice:
            raise DataError(f"{self.name}: the image {twice[0]!r} is listed twice.")

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def select(
        self, split: Split | None = None, defective: bool | None = None, keys: Iterable[str] = ()
    ) -> DataSet:
        """Keep the records of one split, of one label, or with these keys."""
        wanted = set(keys)
        kept = tuple(
            r
            for r in self.records
            if (split is None or r.split == split)
            and (defective is None or r.defective == defective)
            and (not wanted or r.key in wanted)
        )
        selected = replace(self, records=kept, warnings=())
        if "hashes" in self.__dict__:  # reading all images again would be slow
            selected.__dict__["hashes"] = {r.key: self.hashes[r.key] for r in kept}
        return selected

    def image(self, record: Record) -> Image:
        """Read one image as (H, W, 3) uint8 RGB."""
        if callable(record.image):
            return record.image()
        return read_image(record.image, max_pixels=self.max_pixels, bit_depth=self.bit_depth)

    def mask(self, record: Record, shape: tuple[int, int]) -> Mask | None:
        """Read one mask as (H, W) bool; all False for a good image, None where not marked.

        An empty mask of a defective image marks nothing: the part is defective, but not at a
        place that the mask could show (lighting, a missing part).

        Args:
            record: One of the records.
            shape: (H, W) of its image.

        Raises:
            DataError: The mask has another size than its image.
        """
        if record.mask is None:
            return None if record.defective else np.zeros(shape, bool)
        # Drawn masks have no file and so no limit.
        if callable(record.mask):
            mask = record.mask()
        else:
            mask = read_mask(record.mask, max_pixels=self.max_pixels)
        if mask.shape != shape:
            raise DataError(
                f"The mask of {record.key} is {mask.shape[1]}×{mask.shape[0]} pixels, its image "
                f"{shape[1]}×{shape[0]}; save the mask again at the size of the image."
            )
        return None if record.defective and not mask.any() else mask

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Key to digest of the decoded pixels: an image is the same under any name and format."""
        with ThreadPoolExecutor() as pool:
            digests = pool.map(lambda r: image_digest(self.image(r)), self.records)
            return dict(zip((r.key for r in self.records), digests, strict=True))

    @property
    def origins(self) -> frozenset[str]:
        """Digests of the images that the synthetic ones were made from."""
        return frozenset(origin for record in self for origin in record.origins)

    @property
    def fingerprint(self) -> str:
        """Digest over the keys, labels, splits and pixels of all images, order not counting."""
        # Sorted, so that a folder listed in another order is the same data.
        lines = sorted(f"{r.key}\t{r.defect_type}\t{r.split}\t{self.hashes[r.key]}" for r in self)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    def check_disjoint(self) -> None:
        """Refuse a data set in which training and test share an image or a group.

        Raises:
            OverlapError: The same image or the same group lies on both sides.
        """
        train, test = self.select("train"), self.select("test")
        groups = {r.group for r in train} & {r.group for r in test}
        if groups:
            raise OverlapError(
                f"{self.name}: the group {min(groups)!r} has images in both train and test; photos "
                "of one part must stay on one side. Move them to one split."
            )
        seen = {self.hashes[r.key]: r.key for r in train}
        for record in test:
            if twin := seen.get(self.hashes[record.key]):
                raise OverlapError(
                    f"{self.name}: {record.key!r} (test) and {twin!r} (train) are the same image. "
                    "Delete one of them."
                )


def image_digest(image: Image) -> str:
    """SHA-256 (first 32 hex digits) of the size and the pixels of an image."""
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:32]
