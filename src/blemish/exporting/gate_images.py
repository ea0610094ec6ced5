"""The images that an exported file is compared on before it is let out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from blemish.datasets.base import DataSet, Record, image_digest
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.errors import BlemishError, DataError
from blemish.images import read_image
from blemish.types import Image

LARGEST_NUMBER = 16  # of images; each is judged three times
DAMAGED = 4  # of them are judged again with damage, so that both decisions occur


@dataclass(frozen=True)
class GateImages:
    """Images and what they are.

    Attributes:
        images: (H, W, 3) uint8 each, good and damaged.
        good: The good ones among them.
        what: Where they come from, in words.
    """

    images: list[Image]
    good: list[Image]
    what: str


def gate_images(
    detector: Detector, data: DataSet | None, size: tuple[int, int] | None = None
) -> GateImages:
    """Choose images: those of `data`, else the recorded ones that are still there, else drawn ones.

    Args:
        detector: Knows where its calibration images lay, and their digests.
        data: Images to compare on.
        size: (height, width) that all images are brought to.

    Raises:
        DataError: `data` is empty.
    """
    if data is not None:
        if not len(data):
            raise DataError(f"{data.name} has no images to compare on.")
        records = _spread(data.records)
        found, good = [data.image(r) for r in records], [not r.defective for r in records]
        what = f"{len(found)} images of {data.name}"
    else:
        found, what = recorded_images(detector), "recorded calibration images"
        if not found:
            plates = open_dataset("battery_plate", good=8, defective=1, seed=0)
            found, what = [plates.image(r) for r in _spread(plates.records)], "drawn plates"
        good = [True] * len(found)
        what = f"{len(found)} {what}"
    if size is not None:
        found = [_resize(image, size) for image in found]
    normal = [image for image, is_good in zip(found, good, strict=True) if is_good]
    damaged = [_damage(image, seed) for seed, image in enumerate(found[:DAMAGED])]
    return GateImages(found + damaged, normal or found, f"{what} and {len(damaged)} damaged ones")


def recorded_images(detector: Detector) -> list[Image]:
    """The calibration images that still are where they were, unchanged."""
    images = []
    for path, digest in detector.content().header.get("paths", []):
        try:
            image = read_image(Path(path), bit_depth=detector.settings.bit_depth)
        except BlemishError:
            continue
        if image_digest(image) == digest:
            images.append(image)
    return images


def _spread(records: tuple[Record, ...]) -> list[Record]:
    """At most `LARGEST_NUMBER`, evenly over the list."""
    count = min(LARGEST_NUMBER, len(records))
    return [records[i * len(records) // count] for i in range(count)]


def _resize(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(Pillow.fromarray(image).resize((size[1], size[0])))


def _damage(image: Image, seed: int) -> Image:
    """A patch of noise, a sixth of the image wide."""
    generator, damaged = np.random.default_rng(seed), image.copy()
    height, width = (max(1, n // 6) for n in image.shape[:2])
    top = int(generator.integers(0, image.shape[0] - height + 1))
    left = int(generator.integers(0, image.shape[1] - width + 1))
    noise = generator.integers(0, 256, (height, width, 3), np.uint8)
    damaged[top : top + height, left : left + width] = noise
    return damaged
