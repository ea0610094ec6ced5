"""Photos of a drawn part on a bench: an upright card, dark above and light below."""

from functools import cache, partial

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.datasets.base import DataSet, Record
from blemish.preparation.placement import Rectangle
from blemish.types import Image, Mask

SIZE = (480, 720)  # width, height of a photo
PLACE = Rectangle(240.0, 360.0, 120.0, 480.0, 0.0)
GROUND = (150, 160, 140)
FINE = 3  # samples per pixel and axis


def photo(*places: Rectangle, seed: int = 0, over: Rectangle | None = None) -> Image:
    """(H, W, 3) uint8: a bench with a card at each place, and a slip of paper over it all."""
    picture = Pillow.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE), GROUND)
    for place in places:
        paint(picture, place, (70, 40, 30), 0, 1)
        paint(picture, place, (210, 200, 190), 0.5, 0.97)
        paint(picture, place, (40, 90, 160), 0.55, 0.7)
    if over is not None:
        paint(picture, over, (235, 235, 225), 0, 1)
    small = np.asarray(picture.reduce(FINE), np.float32)
    noise = np.random.default_rng(seed).normal(0, 2, small.shape)
    return (small + noise).clip(0, 255).astype(np.uint8)


def paint(picture, place: Rectangle, colour, top: float, bottom: float) -> None:
    """Fill a part of a card: all of its width, but for the margin of an inner stripe."""
    inset = 0.0 if top == 0 else 0.06
    box = np.array([(inset, top), (1 - inset, top), (1 - inset, bottom), (inset, bottom)]) - 0.5
    corners = box * (place.width, place.height) @ place.axes + (place.x, place.y)
    ImageDraw.Draw(picture).polygon([(x * FINE, y * FINE) for x, y in corners], fill=colour)


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
