"""Find the outlines of parts in a photo: edges, contours, upright rectangles.

The way is the one of [1]: the photo is shrunk, its edges are found [2] and closed, and the smallest
rectangle around a closed outline says where a part lies.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on the data.
[2] J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI, 1986.

Differs from [1]: it names an edge detector and nothing else, so the rest is ours. Gradients are
those of all three colours, because a part may be as bright as its ground. Thresholds are multiples
of the median gradient, which is that of the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage, spatial

from blemish.preparation.placement import Points, Rectangle
from blemish.types import Image, Mask

Array = NDArray[np.float32]
LONG_SIDE = 750  # pixels of the shrunk photo
BLUR = 1.2  # shrunk pixels, before gradients are taken
WEAK, STRONG = 3.0, 7.0  # edges, in multiples of the median gradient
GAP = 3  # shrunk pixels that an outline may be open
LEAST = 0.01  # share of the photo that a part covers at least
CLEARLY = 3.0  # a colour is not the ground's, in multiples of what the ground differs by itself
EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Outline:
    """The outline of something that may be a part.

    Attributes:
        place: The smallest rectangle around it.
        area: Pixels of the photo inside the outline.
        at_border: Whether it reaches the border of the photo.
    """

    place: Rectangle
    area: float
    at_border: bool

    @property
    def filled(self) -> float:
        """Share of the rectangle that the outline fills."""
        return self.area / (self.place.width * self.place.height)


def shrink_factor(shape: tuple[int, ...]) -> int:
    """By which whole number a photo (H, W) is shrunk before outlines are looked for."""
    return max(1, max(shape[:2]) // LONG_SIDE)


def find_outlines(photo: Image, *, by_colour: bool = False) -> list[Outline]:
    """Find what stands out from the ground, largest area first.

    Args:
        photo: (H, W, 3) uint8.
        by_colour: Instead of edges, take what differs in colour from the border of the photo: the
            way out where edges do not close.
    """
    factor = shrink_factor(photo.shape)
    small = np.asarray(Pillow.fromarray(photo).reduce(factor), np.float32)
    solid = _by_colour(small) if by_colour else _by_edges(small)
    # Cables and the like are thinner than any part.
    thin = 2 * GAP + 1
    kept = ndimage.minimum_filter(solid, thin, mode="constant")
    solid = ndimage.maximum_filter(kept, thin, mode="constant")
    labels, count = ndimage.label(solid, EIGHT)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[number] >= LEAST * labels.size:
            found.append(_outline(labels[box] == number, box, labels.shape, factor))
    return sorted(found, key=lambda outline: -outline.area)


def _outline(
    inside: Mask, box: tuple[slice, slice], shape: tuple[int, ...], factor: int
) -> Outline:
    # The ends of the rows hold all that the convex hull needs.
    rows = np.arange(box[0].start, box[0].stop)
    left = box[1].start + inside.argmax(axis=1)
    right = box[1].stop - inside[:, ::-1].argmax(axis=1)
    ends_of_rows = [np.stack([x, y], axis=1) for x in (left, right) for y in (rows, rows + 1)]
    corners = np.concatenate(ends_of_rows).astype(float)
    ends = [(box[0].start, box[0].stop, shape[0]), (box[1].start, box[1].stop, shape[1])]
    at_border = any(start <= GAP or stop >= side - GAP for start, stop, side in ends)
    return Outline(smallest_rectangle(corners * factor), float(inside.sum() * factor**2), at_border)


def smallest_rectangle(points: Points) -> Rectangle:
    """The rectangle of least area around points (n, 2); its height is its longer side.

    One of its sides lies on a side of the convex hull (Freeman and Shapira, 1975).
    """
    hull = points[spatial.ConvexHull(points).vertices]
    steps = np.roll(hull, -1, axis=0) - hull
    turns = np.arctan2(steps[:, 1], steps[:, 0]) % (np.pi / 2)
    along = np.stack([np.cos(turns), np.sin(turns)])  # (2, n)
    across = np.stack([-along[1], along[0]])
    lows, highs = [], []
    for axis in (along, across):
        reach = hull @ axis
        lows.append(reach.min(axis=0))
        highs.append(reach.max(axis=0))
    sides = np.array(highs) - np.array(lows)
    best = int(sides.prod(axis=0).argmin())
    centre = (np.array(highs) + np.array(lows))[:, best] / 2
    x, y = centre[0] * along[:, best] + centre[1] * across[:, best]
    width, height, angle = sides[0, best], sides[1, best], np.degrees(turns[best])
    if width > height:
        width, height, angle = height, width, angle - 90
    return Rectangle(float(x), float(y), float(width), float(height), float(angle))


def _by_edges(small: Array) -> Mask:
    """What closed edges surround, in a photo (h, w, 3)."""
    edges = _canny(small)
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), GAP)
    # Closing would eat what lies at the border, so that the border is moved away first.
    closed = ndimage.binary_closing(np.pad(edges, 2 * GAP), disc)
    return _filled(np.asarray(closed[2 * GAP : -2 * GAP, 2 * GAP : -2 * GAP], bool))


def _filled(closed: Mask) -> Mask:
    """Fill what edges surround, alone or together with one side of the photo."""
    labels, count = ndimage.label(~closed)
    sides = np.zeros(count + 1, int)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        sides[np.unique(side)] += 1
    # The ground reaches several sides; a part that is cut by the border only one.
    inside = sides <= 1
    inside[0] = True
    return np.asarray(inside[labels], bool)


def _canny(small: Array) -> Mask:
    """Thin edges (h, w) by the gradient of all colours."""
    down, across = (
        ndimage.gaussian_filter(small, (BLUR, BLUR, 0), (*order, 0)) for order in ((1, 0), (0, 1))
    )
    squares = down**2 + across**2
    magnitude = np.sqrt(squares.sum(axis=2))
    # Direction of the colour that changes most.
    strongest = squares.argmax(axis=2)[..., None]
    gy, gx = (np.take_along_axis(d, strongest, 2)[..., 0] for d in (down, across))
    ridge = _ridges(magnitude, gy, gx)
    median = float(np.median(magnitude))
    weak = ridge & (magnitude > WEAK * median)
    labels, count = ndimage.label(weak, EIGHT)
    kept = np.zeros(count + 1, bool)
    kept[labels[weak & (magnitude > STRONG * median)]] = True
    kept[0] = False
    return np.asarray(kept[labels], bool)


def _ridges(magnitude: Array, gy: Array, gx: Array) -> Mask:
    """Where a gradient is the largest along its own direction, rounded to 45 degrees."""
    sector = np.round(np.arctan2(gy, gx) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(magnitude, 1)
    height, width = magnitude.shape
    ridge = np.zeros(magnitude.shape, bool)
    for number, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        ridge |= (sector == number) & (magnitude >= ahead) & (magnitude > behind)
    return ridge


def _by_colour(small: Array) -> Mask:
    """What is far in colour from the border of the photo, split by Otsu's threshold."""
    soft = ndimage.gaussian_filter(small, (BLUR, BLUR, 0))
    ends = (soft[:GAP], soft[-GAP:], soft[:, :GAP], soft[:, -GAP:])
    border = np.concatenate([end.reshape(-1, 3) for end in ends])
    ground = np.median(border, axis=0)
    away, usual = (np.abs(colours - ground).max(axis=-1) for colours in (soft, border))
    # Otsu splits anything in two: a bare bench must not become a part and its ground.
    least = max(otsu(away), CLEARLY * float(np.quantile(usual, 0.9)))
    solid = ndimage.binary_closing(away > least, EIGHT, iterations=GAP)
    return np.asarray(ndimage.binary_fill_holes(solid), bool)


def otsu(values: Array) -> float:
    """The threshold that separates two classes best (N. Otsu, IEEE SMC, 1979).

    Args:
        values: Any shape, in [0, 255].
    """
    counts, edges = np.histogram(values, bins=256, range=(0, 256))
    below = counts.cumsum()
    sums = (counts * edges[:-1]).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nan_to_num(between).argmax()])
