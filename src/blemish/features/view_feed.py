"""Frozen features of whole views: training that needs nothing else reads no image again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.defect_pool import Item
from blemish.features.feature_bank import FeatureBank, Place
from blemish.preprocess import cell_valid
from blemish.samples import Samples, to_float
from blemish.types import Mask, Pixels

Cells = tuple[NDArray[np.float16], Mask, Mask, NDArray[np.bool_]]


@dataclass(frozen=True)
class View:
    """One view as a training on cells sees it.

    Attributes:
        place: Key of the image and number of the view.
        read: Gives its pixels, (H, W, 3) float32 in [0, 1].
        valid: (h, w) bool, cells with a valid pixel.
        anomalous: (h, w) bool, cells with a marked pixel.
        defective: Whether its image is defective.
    """

    place: Place
    read: Callable[[], Pixels]
    valid: Mask
    anomalous: Mask
    defective: bool


class ViewFeed:
    """All good views once per epoch in shuffled order, and defective ones drawn beside them.

    A batch is (B, h, w, C) float16 features, (B, h, w) bool valid cells, (B, h, w) bool anomalous
    cells, and (B,) bool defective; good views come first.

    Args:
        good: What an epoch goes through.
        bank: Where features come from.
        defects: What the defective part of a batch is drawn from.
        share: Share in [0, 1) of a batch that is defective; nothing without `defects`.
    """

    def __init__(
        self,
        good: Sequence[View],
        bank: FeatureBank,
        defects: Sequence[View] = (),
        share: float = 0.0,
    ):
        self._good, self._bank, self._defects = good, bank, defects
        self._ratio = share / (1 - share)

    def __len__(self) -> int:
        return len(self._good)

    def epoch(self, batch: int, order: np.random.Generator) -> Iterator[Cells]:
        """Go through the good views once.

        Args:
            batch: Good views per batch; the last one may be smaller.
            order: The order, and which defective views are drawn, derive from it alone.
        """
        places = order.permutation(len(self._good))
        for first in range(0, len(places), batch):
            views = [self._good[i] for i in places[first : first + batch]]
            if self._defects:
                count = max(1, round(len(views) * self._ratio))
                drawn = order.integers(len(self._defects), size=count)
                views += [self._defects[i] for i in drawn]
            yield self._batch(views)

    def _batch(self, views: Sequence[View]) -> Cells:
        return (
            self._bank.take([view.place for view in views], lambda i: views[i].read()),
            np.stack([view.valid for view in views]),
            np.stack([view.anomalous for view in views]),
            np.asarray([view.defective for view in views]),
        )


def good_views(samples: Samples, grid: tuple[int, int]) -> list[View]:
    """Every view of good images on a grid of (h, w) cells; reads all images once."""
    nothing = np.zeros(grid, bool)
    found = []
    for image, views in enumerate(samples):
        for number, valid in enumerate(views.valid):

            def read(image: int = image, number: int = number) -> Pixels:
                pixels: Pixels = samples.take([(image, number)]).x[0]
                return pixels

            place = (views.record.key, number)
            found.append(View(place, read, cell_valid(valid, grid), nothing, False))
    return found


def defective_views(items: Sequence[Item], grid: tuple[int, int]) -> list[View]:
    """Defective views on a grid: a cell is anomalous when any pixel of it is marked."""

    def view(item: Item) -> View:
        valid, anomalous = (cell_valid(mask, grid) for mask in (item.valid, item.mask))
        place = (item.key, item.number)
        return View(place, lambda: to_float(item.pixels), valid, anomalous, True)

    return [view(item) for item in items]
