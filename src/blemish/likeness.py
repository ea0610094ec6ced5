"""The good place that looks most like a defect: what a part should have been there.

Only methods that keep patches of good images can name one (PatchCore); others have none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blemish.detector import Detector
from blemish.preprocess import Layout
from blemish.samples import to_float
from blemish.types import Image

Box = tuple[int, int, int, int]
Point = tuple[float, float]
SMALLEST = 64  # pixels: less shows no surroundings
SURROUNDINGS = 1.5  # a picture is so much larger than the region


@dataclass(frozen=True)
class Likeness:
    """A place of an image, and the good place that is most like it, at the same scale.

    Attributes:
        digest: Of the good image, as :func:`blemish.image_digest` has it.
        distance: Between both, as the method measures it.
        own: (h, w, 3) uint8, a cut-out of the image.
        good: (h, w, 3) uint8, a cut-out of the good image.
    """

    digest: str
    distance: float
    own: Image
    good: Image


def find_likeness(
    detector: Detector, image: Image, box: Box, find: Callable[[str], Image | None]
) -> Likeness | None:
    """Find the good place that is most like the oddest patch of a region.

    Args:
        detector: A fitted detector.
        image: (H, W, 3) uint8 RGB.
        box: Left, top, right and bottom of the region in pixels, the latter two exclusive.
        find: Gives a good image by its digest; None = it is not there any more.

    Returns:
        None where the method keeps no patches, the region lies where nothing is inspected, or the
        good image is gone.
    """
    geometry = detector.pipeline.geometry
    left, top, right, bottom = box
    marked = np.zeros(image.shape[:2], bool)
    marked[top:bottom, left:right] = True
    pixels, valid, layout = geometry.views(image)
    inside = geometry.mask_views(marked, layout)
    number = int(inside.sum(axis=(1, 2)).argmax())  # the tile that shows most of it
    x = to_float(pixels[number])
    found = detector.pipeline.method.find_alike(x, valid[number], inside[number])
    other = None if found is None else find(found.digest)
    if found is None or other is None:
        return None
    side = max(SMALLEST, round(SURROUNDINGS * max(right - left, bottom - top)))
    centre = (top + bottom) / 2, (left + right) / 2
    row, column = _in_image(layout, number, found.at)
    there = geometry.layout((other.shape[0], other.shape[1]))
    good_row, good_column = _in_image(there, found.number, found.there)
    # The patch lies somewhere in the region: both pictures show it at the same place.
    beside = centre[0] + round(good_row - row), centre[1] + round(good_column - column)
    own, good = _cut_out(image, centre, side), _cut_out(other, beside, side)
    return Likeness(found.digest, found.distance, own, good)


def _in_image(layout: Layout, number: int, at: Point) -> Point:
    """From a place in a view to the one in the image."""
    left, top, right, bottom = layout.box
    edges = ((top, bottom), (left, right))
    found = []
    spans = zip(at, layout.views[number], edges, layout.canvas_shape, strict=True)
    for place, span, (low, high), size in spans:
        found.append(low + (place - span.offset + span.start) * (high - low) / size)
    return found[0], found[1]


def _cut_out(image: Image, centre: Point, side: int) -> Image:
    """A square around a place, moved inwards where it would leave the image."""
    starts = [
        min(max(round(place - side / 2), 0), max(size - side, 0))
        for place, size in zip(centre, image.shape[:2], strict=True)
    ]
    return image[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
