"""Cut a marked defect out, turn and zoom it, paste it into a good image.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025: which gives no ranges; those here are of later work.

Differs from [1]: the window is as large as the turned defect, so that no corner is cut off; a
defect of an object is pasted onto the object, not beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.errors import DataError
from blemish.types import Image, Mask

PLACEMENTS = ("object", "near", "uniform", "original")
TRIES = 20  # until a pasted defect has a valid pixel
CANDIDATES = 32  # places among which one on the object is looked for
CLEAR = 0.7  # share of the variance that the threshold explains where there is an object


@dataclass(frozen=True)
class Pasting:
    """How a defect is changed and where it goes.

    Attributes:
        rotation: Largest angle to either side, in degrees.
        zoom: Smallest and largest scale.
        shift: Largest distance from the original place, as share of the image (``"near"``).
        placement: ``"object"``: anywhere, but as much on the object as it was, where the image has
            an object before a plain background, and anywhere at all where it has not; ``"near"``
            its original place; ``"uniform"``: anywhere; ``"original"``: neither turned nor moved.
    """

    rotation: float = 20.0
    zoom: tuple[float, float] = (0.7, 1.3)
    shift: float = 0.1
    placement: str = "object"


@dataclass(frozen=True)
class Piece:
    """A defect that was cut out.

    Attributes:
        pixels: (h, w, 3) uint8, the smallest box around the defect.
        mask: (h, w) bool; every border of the box touches it.
        top: Row of the box in the image that it came from.
        left: Column of the box.
    """

    pixels: Image
    mask: Mask
    top: int
    left: int


def cut(image: Image, mask: Mask, angle: float = 0.0, scale: float = 1.0) -> Piece:
    """Cut the marked pixels out, turned and zoomed around their centre.

    Pixels are interpolated linearly from the whole image, the mask by nearest neighbour.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool, at least one pixel set.
        angle: In degrees, counter-clockwise.
        scale: Above 0; 2 = twice as large.

    Raises:
        DataError: The mask is empty.
    """
    rows, columns = _box(mask)
    if not angle and scale == 1:
        return Piece(image[rows, columns], mask[rows, columns], rows.start, columns.start)
    centre = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
    # The window holds the box at any angle.
    half = math.ceil(math.hypot(rows.stop - rows.start, columns.stop - columns.start) * scale / 2)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / scale
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    source = np.stack([centre[0] + cos * y + sin * x, centre[1] - sin * y + cos * x])
    turned = ndimage.map_coordinates(mask.astype(np.uint8), source, order=0) > 0
    if not turned.any():
        # Too small to hit any grid point: keep what there is.
        return cut(image, mask)
    inner = _box(turned)
    near = source[:, inner[0], inner[1]]
    pixels = np.stack(
        [ndimage.map_coordinates(image[:, :, c], near, order=1, mode="nearest") for c in range(3)],
        axis=2,
    )
    top, left = round(centre[0]) - half + inner[0].start, round(centre[1]) - half + inner[1].start
    return Piece(pixels, turned[inner], top, left)


def paste(piece: Piece, background: Image, top: int, left: int) -> tuple[Image, Mask]:
    """Put a piece into an image; what lies beyond its border is lost.

    Args:
        piece: What :func:`cut` gave.
        background: (H, W, 3) uint8; not changed.
        top: Row of the piece's box, may be negative.
        left: Column of the piece's box.

    Returns:
        The new image and the mask of what was pasted.
    """
    height, width = background.shape[:2]
    mask = np.zeros((height, width), bool)
    rows = slice(max(top, 0), min(top + piece.mask.shape[0], height))
    columns = slice(max(left, 0), min(left + piece.mask.shape[1], width))
    image = background.copy()
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return image, mask
    own = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    mask[rows, columns] = piece.mask[own]
    image[rows, columns][piece.mask[own]] = piece.pixels[own][piece.mask[own]]
    return image, mask


def cut_paste(
    image: Image,
    mask: Mask,
    background: Image,
    valid: Mask,
    generator: np.random.Generator,
    how: Pasting | None = None,
) -> tuple[Image, Mask] | None:
    """Paste a changed copy of a defect into a good image.

    A defect that would not fit is zoomed less, down to fitting; one as large as the image stays
    where it was.

    Args:
        image: (H, W, 3) uint8 with a defect.
        mask: (H, W) bool, the defect.
        background: (H, W, 3) uint8, a good image of the same size.
        valid: (H, W) bool, where the good image may be looked at.
        generator: Source of randomness.
        how: Ranges and placement.

    Returns:
        The new image and its mask within `valid`; None where nothing valid could be pasted.

    Raises:
        DataError: The mask is empty.
    """
    how = how or Pasting()
    for _ in range(TRIES):
        piece = _changed(image, mask, generator, how)
        top, left = _place(piece, image, mask, background, generator, how)
        pasted, where = paste(piece, background, top, left)
        if (where & valid).any():
            return pasted, where & valid
    return None


def turn_whole(
    image: Image, mask: Mask, generator: np.random.Generator, how: Pasting | None = None
) -> tuple[Image, Mask]:
    """Turn, zoom and shift a whole image with its mask; the border is continued by mirroring.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
        generator: Source of randomness.
        how: Ranges.
    """
    how = how or Pasting()
    angle = math.radians(generator.uniform(-how.rotation, how.rotation))
    scale = generator.uniform(*how.zoom)
    height, width = mask.shape
    shift = generator.uniform(-how.shift, how.shift, 2) * (height, width)
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = (y - (height - 1) / 2) / scale, (x - (width - 1) / 2) / scale
    cos, sin = math.cos(angle), math.sin(angle)
    source = np.stack(
        [
            (height - 1) / 2 + cos * y + sin * x + shift[0],
            (width - 1) / 2 - sin * y + cos * x + shift[1],
        ]
    )
    turned = [
        ndimage.map_coordinates(image[:, :, c], source, order=1, mode="mirror") for c in range(3)
    ]
    marked = ndimage.map_coordinates(mask.astype(np.uint8), source, order=0, mode="mirror") > 0
    return np.stack(turned, axis=2), marked


def find_object(image: Image) -> Mask | None:
    """Find the object before a plain background, by Otsu's threshold on the colour distance.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W) bool; None where there is no plain background around the border of the image, as in
        photos of a texture.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    colour = np.median(border, axis=0)
    distance = np.abs(image - colour.astype(np.float32)).max(axis=2)
    levels = np.clip(ndimage.uniform_filter(distance, 3), 0, 255).astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=256) / levels.size
    below, total = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    variance = (counts * np.square(np.arange(256) - total[-1])).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.square(total[-1] * below - total) / (below * (1 - below))
    best = int(np.nanargmax(np.where(np.isfinite(between), between, -1)))
    found = levels > best
    if variance <= 0 or between[best] < CLEAR * variance:
        return None
    around = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    if around.mean() > 0.1 or not 0.01 < found.mean() < 0.9:
        return None
    return np.asarray(found)


def _box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise DataError("A mask without a marked pixel cannot be cut out; leave the image out.")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _changed(image: Image, mask: Mask, generator: np.random.Generator, how: Pasting) -> Piece:
    """A piece that fits into the image."""
    if how.placement == "original":
        return cut(image, mask)
    angle, scale = generator.uniform(-how.rotation, how.rotation), generator.uniform(*how.zoom)
    for _ in range(3):
        piece = cut(image, mask, angle, scale)
        room = min(np.divide(mask.shape, piece.mask.shape))
        if room >= 1:
            return piece
        scale *= 0.97 * room
    return cut(image, mask)


def _place(
    piece: Piece,
    image: Image,
    mask: Mask,
    background: Image,
    generator: np.random.Generator,
    how: Pasting,
) -> tuple[int, int]:
    """Row and column for the box of a piece, within the image."""
    if how.placement == "original":
        return piece.top, piece.left
    free = np.subtract(background.shape[:2], piece.mask.shape)
    if how.placement == "near":
        jitter = generator.uniform(-how.shift, how.shift, 2) * background.shape[:2]
        wanted = np.round(np.add((piece.top, piece.left), jitter)).astype(int)
        top, left = np.clip(wanted, 0, free)
        return int(top), int(left)
    places = generator.integers(0, free + 1, (CANDIDATES, 2))
    if how.placement == "object":
        own, there = find_object(image), find_object(background)
        if own is not None and there is not None:
            places = _on_object(piece, places, there, float(own[mask].mean()))
    return int(places[0, 0]), int(places[0, 1])


def _on_object(
    piece: Piece, places: NDArray[np.int64], there: Mask, wanted: float
) -> NDArray[np.int64]:
    """The place among several where a defect lies as much on the object as it did before."""
    y, x = np.nonzero(piece.mask)
    inside = there[places[:, :1] + y, places[:, 1:] + x].mean(axis=1)  # (places,)
    enough = inside >= min(wanted, 0.95) - 0.1
    # The first good one, not the best: the best would always be the middle of the object.
    return places[[int(enough.argmax() if enough.any() else inside.argmax())]]
