"""Put the sides of a rectangle exactly onto the edges of a part, at full resolution.

Profiles of colour are read across each side. In each, the part begins at the outermost edge:
shadows around it are soft, and its own bevels and frames lie further in. One rectangle is then
fitted to all four sides at once, and profiles without an edge there count as not seen: rounded
corners, lugs, chipped edges, something that lies across.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish.preparation.placement import Rectangle
from blemish.types import Image

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]
PROFILES, NEIGHBOURS = 160, 4  # of each side; each profile is the mean of so many
INWARD, OUTWARD = 8.0, 3.0  # what is searched, in pixels of the shrunk photo
BLUR = 1.5  # pixels, before an edge is looked for
# An edge is so steep against the steepest place of its profile, and of its side, and against what
# is usual on the side.
OWN_PEAK, SIDE_PEAK, USUAL = 0.35, 0.15, 2.0
AGREED = 0.35  # a profile agrees within so many pixels of the shrunk photo, at least two pixels
# Direction along each side and outwards, as multiples of the axes: top, right, bottom, left.
_ALONG = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
_OUT = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])


@dataclass(frozen=True)
class Sides:
    """A rectangle that lies on the edges of a part.

    Attributes:
        place: The rectangle.
        seen: Share of each side on which the part's edge was found: top, right, bottom, left.
    """

    place: Rectangle
    seen: tuple[float, float, float, float]


def fit_sides(photo: Image, coarse: Rectangle, factor: int) -> Sides:
    """Move the sides of a rectangle onto the edges of the part.

    Args:
        photo: (H, W, 3) uint8.
        coarse: From the outline in the shrunk photo.
        factor: By which the photo was shrunk for it.
    """
    step = max(factor / 8, 0.5)  # photo pixels
    along, edges = [], []
    for number in range(4):
        places, colours = _profiles(photo, coarse, number, factor, step)
        along.append(places)
        edges.append(OUTWARD * factor - step * _edges(colours))
    u, v = np.array(along), np.array(edges)  # (4, PROFILES) and (4, PROFILES, m), in pixels
    offsets, turn, seen = _fit(u, v, factor)
    moved = offsets @ _OUT / 2 @ coarse.axes
    place = Rectangle(
        x=coarse.x + float(moved[0]),
        y=coarse.y + float(moved[1]),
        width=coarse.width + float(offsets[1] + offsets[3]),
        height=coarse.height + float(offsets[0] + offsets[2]),
        angle=coarse.angle + math.degrees(turn),
    )
    top, right, bottom, left = seen.tolist()
    return Sides(place, (top, right, bottom, left))


def _profiles(
    photo: Image, place: Rectangle, number: int, factor: int, step: float
) -> tuple[Numbers, Array]:
    """Positions along a side, and colours across it from outside to inside, (n, m, 3)."""
    half = np.array((place.width, place.height)) / 2
    length = float(np.abs(_ALONG[number]) @ half)
    fine = (np.arange(PROFILES * NEIGHBOURS) + 0.5) / (PROFILES * NEIGHBOURS) * 2 - 1
    u = fine * length
    v = np.arange(OUTWARD * factor, -INWARD * factor, -step)
    out = float(np.abs(_OUT[number]) @ half) + v
    own = u[:, None, None] * _ALONG[number] + out[:, None] * _OUT[number]  # (n, m, 2)
    points = own @ place.axes + (place.x - 0.5, place.y - 0.5)
    where = points[..., ::-1].reshape(-1, 2).T
    colours = np.empty((len(u) * len(v), 3), np.float32)
    for channel in range(3):
        ndimage.map_coordinates(
            photo[..., channel], where, output=colours[:, channel], order=1, mode="nearest"
        )
    shape = (PROFILES, NEIGHBOURS, len(v), 3)
    return u.reshape(PROFILES, NEIGHBOURS).mean(axis=1), colours.reshape(shape).mean(axis=1)


def _edges(colours: Array) -> Numbers:
    """Indices, with fractions, of the steep places of each profile (n, m, 3); NaN elsewhere."""
    slopes = ndimage.gaussian_filter1d(colours, BLUR, axis=1, order=1, mode="nearest")
    steep = np.sqrt((slopes**2).sum(axis=2))
    before, here, after = steep[:, :-2], steep[:, 1:-1], steep[:, 2:]
    peak = (here >= before) & (here > after)
    steepest = steep.max(axis=1, keepdims=True)
    least = max(SIDE_PEAK * np.quantile(steepest, 0.9), USUAL * np.median(steep))
    peak &= here >= np.maximum(OWN_PEAK * steepest, least)
    # The top of a parabola through three neighbours; at a peak it bends downwards.
    bend = np.where(peak, before - 2 * here + after, -1)
    places = np.arange(1, steep.shape[1] - 1) + 0.5 * (before - after) / bend
    return np.where(peak, places, np.nan)


def _fit(u: Numbers, v: Numbers, factor: int) -> tuple[Numbers, float, Numbers]:
    """Fit one rectangle to the outermost edges.

    Args:
        u: (4, n) where each profile crosses its side, from the side's middle.
        v: (4, n, m) where edges are on it, outwards; NaN elsewhere.
        factor: Of the shrunk photo.

    Returns:
        Offsets of the sides outwards (4,), their common turn in radians, and the share of each
        side's profiles that have an edge there (4,).
    """
    least, tolerance, turn = max(2.0, AGREED * factor), 2.0 * factor, 0.0
    outermost = np.where(np.isnan(v), -np.inf, v).max(axis=2)
    offsets = np.array([_densest(side[np.isfinite(side)], tolerance) for side in outermost])
    while tolerance > least:
        away = outermost + turn * u - offsets[:, None]
        agreed = np.abs(away) <= tolerance
        many = np.maximum(agreed.sum(axis=1), 1)
        offsets = offsets + np.where(agreed, away, 0).sum(axis=1) / many
        away = np.where(agreed, outermost + turn * u - offsets[:, None], 0)
        turn -= float((u * away).sum() / max(float((agreed * u**2).sum()), 1.0))
        tolerance = max(tolerance / 1.5, least)
    away = v + (turn * u - offsets[:, None])[:, :, None]
    seen: Numbers = (np.abs(away) <= least).any(axis=2).mean(axis=1)
    return offsets, turn, seen


def _densest(values: Numbers, reach: float) -> float:
    """Centre of the values within `reach` of each other that are most; 0 for none."""
    if not len(values):
        return 0.0
    ordered = np.sort(values)
    ends = np.searchsorted(ordered, ordered + 2 * reach, side="right")
    first = int((ends - np.arange(len(ordered))).argmax())
    return float(np.median(ordered[first : ends[first]]))
