"""Photos of a drawn part on a bench: an upright card, dark above and light below."""

from functools import cache, partial

import numpy as np

from blemish.datasets.base import DataSet, Record
from blemish.preparation.placement import Rectangle
from blemish.types import Image, Mask

SIZE = (480, 720)  # width, height of a photo
PLACE = Rectangle(240.0, 360.0, 120.0, 480.0, 0.0)
GROUND = (150, 160, 140)


def photo(*places: Rectangle, seed: int = 0, over: Rectangle | None = None) -> Image:
    """(H, W, 3) uint8: a bench with a card at each place, and a slip of paper over it all."""
    picture = np.full((SIZE[1], SIZE[0], 3), GROUND, np.float32)
    for place in places:
        paint(picture, place, (70, 40, 30), (0, 1), 0)
        paint(picture, place, (210, 200, 190), (0.5, 0.97), 0.06)
        paint(picture, place, (40, 90, 160), (0.55, 0.7), 0.06)
    if over is not None:
        paint(picture, over, (235, 235, 225), (0, 1), 0)
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def paint(picture, place: Rectangle, colour, rows: tuple[float, float], inset: float) -> None:
    """Fill rows (shares of the height) of a card, in place; edges are anti-aliased."""
    columns, lines = np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1])[:, None] + 0.5
    across, down = (
        (columns - place.x) * axis[0] + (lines - place.y) * axis[1] for axis in place.axes
    )
    middle, half = (sum(rows) / 2 - 0.5) * place.height, (rows[1] - rows[0]) / 2 * place.height
    away = np.maximum(np.abs(across) - (0.5 - inset) * place.width, np.abs(down - middle) - half)
    inside = np.clip(0.5 - away, 0, 1)[..., None]
    picture += inside * (np.array(colour) - picture)


def spot_mask(place: Rectangle, share: tuple[float, float] = (0.5, 0.25)) -> Mask:
    """(H, W) bool: a disc of 8 pixels' radius at a share of the card's width and height."""
    x, y = (np.array(share) - 0.5) * (place.width, place.height) @ place.axes + (place.x, place.y)
    columns, rows = np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1])[:, None] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= 64


def record(
    number: int, image: Image, *, mask: Mask | None = None, split: str = "train", path=None
) -> Record:
    kind = "good" if mask is None else "spot"
    return Record(
        key=f"{split}/{kind}/{number:03d}.bmp",
        image=path or partial(np.copy, image),
        defective=mask is not None,
        defect_type=kind,
        group=f"part {number}",
        split=split,
        mask=None if mask is None else partial(np.copy, mask),
        mm_per_pixel=0.5,
    )


@cache
def cards(count: int = 6, defective: int = 2) -> DataSet:
    """Good cards, then some with a spot in the upper half; all turned a little."""
    places = [
        Rectangle(240.0 + i, 360.0 - i, 120.0, 480.0, 3.0 * (-1) ** i)
        for i in range(count + defective)
    ]
    good = [record(i, photo(places[i], seed=i)) for i in range(count)]
    bad = [
        record(i, photo(places[i], seed=i), mask=spot_mask(places[i]), split="test")
        for i in range(count, count + defective)
    ]
    return DataSet("cards", (*good, *bad))
