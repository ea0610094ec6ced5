"""The anomalous pixels of a test set: few, and kept one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.metrics.regions import ImageRegions


class AnomalousPixels:
    """Values and regions of all anomalous pixels: 8 bytes each, 16 bytes per region."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float32]] = []
        self._regions: list[NDArray[np.int32]] = []
        self._areas: list[NDArray[np.int64]] = []
        self._images: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, regions: ImageRegions, image: int) -> None:
        """Add the regions of the image with this number."""
        if not regions.areas.size:
            return
        self._values.append(regions.values)
        self._regions.append(regions.regions + np.int32(self._count))
        self._areas.append(regions.areas)
        self._images.append(np.full(regions.areas.size, image, np.int64))
        self._count += regions.areas.size

    def merge(self, other: AnomalousPixels, images: int) -> None:
        """Add all of another one, whose images are counted from `images` on."""
        self._values += other._values
        self._regions += [regions + np.int32(self._count) for regions in other._regions]
        self._areas += other._areas
        self._images += [numbers + images for numbers in other._images]
        self._count += other._count

    @property
    def areas(self) -> NDArray[np.int64]:
        """(R,) pixels of each region."""
        return np.concatenate([*self._areas, np.empty(0, np.int64)])

    @property
    def images(self) -> NDArray[np.int64]:
        """(R,) number of the image of each region."""
        return np.concatenate([*self._images, np.empty(0, np.int64)])

    def sorted(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Values (P,) in ascending order and the region of each."""
        values = np.concatenate([*self._values, np.empty(0, np.float32)])
        order = np.argsort(values)
        regions = np.concatenate([*self._regions, np.empty(0, np.int32)])
        return values[order], regions[order]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state as plain arrays; :meth:`from_arrays` reads them back."""
        return {
            "values": np.concatenate([*self._values, np.empty(0, np.float32)]),
            "regions": np.concatenate([*self._regions, np.empty(0, np.int32)]),
            "areas": self.areas,
            "images": self.images,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> AnomalousPixels:
        """Rebuild from what :meth:`to_arrays` gave."""
        pixels = cls()
        pixels._values, pixels._regions = [arrays["values"]], [arrays["regions"]]
        pixels._areas, pixels._images = [arrays["areas"]], [arrays["images"]]
        pixels._count = arrays["areas"].size
        return pixels
