"""Anti-aliased shapes and smooth noise, at any resolution.

Lengths are in *units*: one unit is one pixel of the 240×1200 frame. A canvas of scale ``s`` has
``s`` pixels per unit, and the centre of its pixel ``i`` lies at ``(i + 0.5) / s`` units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Array = NDArray[np.float32]
Bits = NDArray[np.bool_]
Box = tuple[float, float, float, float]  # left, top, right, bottom in units

# Columns of a 5×7 dot-matrix font, as ink-jet coders print it; the lowest bit is the top row.
_FONT = {
    "0": "3E5149453E", "1": "00427F4000", "2": "4261514946", "3": "2141454B31",
    "4": "1814127F10", "5": "2745454539", "6": "3C4A494930", "7": "0171090503",
    "8": "3649494936", "9": "064949291E", "A": "7E1111117E", "B": "7F49494936",
    "C": "3E41414122", "D": "7F4141221C", "E": "7F49494941", "F": "7F09090901",
    "H": "7F0808087F", "K": "7F08142241", "L": "7F40404040", "P": "7F09090906",
    "T": "01017F0101", "X": "6314081463", "+": "08083E0808", "-": "0808080808",
}  # fmt: skip


def centres(start: float, stop: float, scale: float) -> Array:
    """Coordinates in units of the pixel centres between two coordinates, as (n,) float32."""
    first, last = round(start * scale), round(stop * scale)
    return ((np.arange(first, last) + 0.5) / scale).astype(np.float32)


def cover(distance: NDArray[np.floating], scale: float) -> Array:
    """Share in [0, 1] of each pixel inside a shape, from the signed distance in units (< 0: in)."""
    share = np.float32(0.5) - distance.astype(np.float32) * np.float32(scale)
    return np.clip(share, 0, 1, out=share)


def box_distance(xs: Array, ys: Array, box: Box, radius: float = 0.0) -> Array:
    """Signed distance in units to a box with rounded corners; xs (w,), ys (h,) -> (h, w)."""
    left, top, right, bottom = box
    dx = np.abs(xs - (left + right) / 2) - ((right - left) / 2 - radius)
    dy = (np.abs(ys - (top + bottom) / 2) - ((bottom - top) / 2 - radius))[:, None]
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    distance: Array = outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(radius)
    return distance


def curve_distance(xs: Array, ys: Array, points: Array) -> tuple[Array, Array]:
    """Distance to a line through points, and the position along it.

    Args:
        xs: (w,) columns in units.
        ys: (h,) rows in units.
        points: (n, 2) float32 points x, y in units.

    Returns:
        The signed distance in units (h, w), and the place of the nearest point in [0, 1] (h, w).
    """
    grid = np.stack(np.broadcast_arrays(xs, ys[:, None]), -1)[..., None, :]  # (h, w, 1, 2)
    start, step = points[:-1], np.diff(points, axis=0)
    length = np.maximum((step**2).sum(-1), 1e-9)
    place = np.clip(((grid - start) * step).sum(-1) / length, 0, 1)  # (h, w, n - 1)
    away = grid - start - place[..., None] * step
    distance = np.hypot(away[..., 0], away[..., 1])
    nearest = distance.argmin(-1)[..., None]
    side = np.sign(away[..., 0] * step[:, 1] - away[..., 1] * step[:, 0])

    def pick(values: Array) -> Array:
        return np.take_along_axis(values, nearest, -1)[..., 0].astype(np.float32)

    along = (pick(place) + nearest[..., 0].astype(np.float32)) / np.float32(len(step))
    return pick(distance) * np.where(pick(side) < 0, -1, 1).astype(np.float32), along


def bend(
    start: Sequence[float], middle: Sequence[float], end: Sequence[float], count: int = 9
) -> Array:
    """Points on the quadratic Bézier curve with these control points, (count, 2) float32."""
    t = np.linspace(0, 1, count)[:, None]
    a, b, c = (np.asarray(point, float) for point in (start, middle, end))
    points: Array = ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c).astype(np.float32)
    return points


def resized(values: Array, shape: tuple[int, int]) -> Array:
    """Enlarge a (h, w) float32 array smoothly to another shape; unchanged where it fits."""
    if values.shape == shape:
        return values
    picture = Pillow.fromarray(np.ascontiguousarray(values, np.float32))
    return np.array(picture.resize((shape[1], shape[0]), Pillow.Resampling.BICUBIC))


def smooth_noise(rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int]) -> Array:
    """Normal noise on a coarse grid of cells, enlarged smoothly to a shape (h, w)."""
    return resized(rng.standard_normal(cells, np.float32), shape)


def text_bits(text: str) -> Bits:
    """A line of text in dots, (7, 6 n - 1) bool; a letter that the font lacks is a blank."""
    columns = np.zeros((6 * len(text), 7), bool)
    for place, letter in enumerate(text):
        for column, code in enumerate(bytes.fromhex(_FONT.get(letter, "00" * 5))):
            columns[6 * place + column] = [code >> row & 1 for row in range(7)]
    return columns[:-1].T


def dots(
    xs: Array,
    ys: Array,
    bits: Bits,
    origin: tuple[float, float],
    pitch: float,
    radius: float,
    scale: float,
) -> Array:
    """Print a matrix of round dots: the coverage (h, w) in [0, 1].

    Args:
        xs: (w,) columns in units.
        ys: (h,) rows in units.
        bits: (rows, columns) bool, where a dot is.
        origin: Left and top of the matrix in units.
        pitch: Distance between dots in units.
        radius: Radius of a dot in units, at most half the pitch.
        scale: Pixels per unit.
    """
    columns, rows = (xs - origin[0]) / pitch, (ys - origin[1]) / pitch
    inside_x = (columns >= 0) & (columns < bits.shape[1])
    inside_y = (rows >= 0) & (rows < bits.shape[0])
    across = np.where(inside_x, columns, 0).astype(int)
    down = np.where(inside_y, rows, 0).astype(int)
    lit = bits[down[:, None], across] & inside_x & inside_y[:, None]
    dx, dy = (columns - across - 0.5) * pitch, (rows - down - 0.5) * pitch
    distance = np.hypot(dx, dy[:, None]) - np.float32(radius)
    printed: Array = cover(distance.astype(np.float32), scale) * lit
    return printed
