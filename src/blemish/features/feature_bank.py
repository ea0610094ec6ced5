"""Features of views, kept in memory in half precision: a frozen network sees each view once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Features, to_half
from blemish.types import Pixels

Place = tuple[str, int]  # key of the image, number of the view; below 0: it never comes again


class FeatureBank:
    """Computes features when they are first asked for, and remembers them.

    Views go through `encode` one by one, and every answer is rounded to half precision, so that it
    does not depend on what was asked before: a training that goes on from a checkpoint sees the
    same bits.

    Args:
        encode: (1, H, W, 3) float32 to (1, h, w, C) float32.
        limit_mb: Largest size of what is remembered, in MB (10^6 bytes); beyond, views are
            computed again.
    """

    def __init__(self, encode: Callable[[Pixels], Features], limit_mb: float):
        self._encode = encode
        self._left = limit_mb * 1e6
        self._kept: dict[Place, NDArray[np.float16]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, places: Sequence[Place], read: Callable[[int], Pixels]) -> NDArray[np.float16]:
        """Features (B, h, w, C) of views.

        Args:
            places: Where the views come from; equal places are equal views.
            read: Gives the pixels (H, W, 3) float32 of view number i of these; called only for
                what is not remembered.
        """
        return np.stack([self._one(place, read, i) for i, place in enumerate(places)])

    def _one(self, place: Place, read: Callable[[int], Pixels], number: int) -> NDArray[np.float16]:
        if place not in self._kept:
            features = to_half(self._encode(read(number)[None])[0])
            if place[1] < 0 or features.nbytes > self._left:
                return features
            self._left -= features.nbytes
            self._kept[place] = features
        return self._kept[place]
