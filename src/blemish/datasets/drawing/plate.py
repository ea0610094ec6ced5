"""A good plate: anode, glass and cathode, stacked along the long side of one strip.

The plate is drawn on a canvas of 240×1200 units, anode on top. Everything that differs from plate
to plate without being a defect is drawn here as well: brushing, tint, print, reflections, dust,
hairlines and smudges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blemish.datasets.drawing.shapes import (
    Array,
    Box,
    bend,
    box_distance,
    centres,
    cover,
    curve_distance,
    dots,
    resized,
    smooth_noise,
    text_bits,
)

WIDTH, HEIGHT = 240, 1200
REGIONS: dict[str, tuple[int, int]] = {
    "anode": (0, 400),
    "glass": (400, 800),
    "cathode": (800, 1200),
}
BODY: Box = (12, 50, 228, 1150)
TABS: tuple[Box, Box] = ((72, 20, 168, 56), (72, 1144, 168, 1180))
OUTLINE: Box = (12, 20, 228, 1180)  # the upright rectangle around body and tabs
PANELS: dict[str, Box] = {
    "anode": (32, 112, 208, 376),
    "glass": (28, 418, 212, 782),
    "cathode": (32, 824, 208, 1088),
}
PANEL_RADIUS = 9.0


@dataclass
class Canvas:
    """A plate before a camera sees it.

    Attributes:
        rgb: (H, W, 3) float32 reflectance, about [0, 1]; goes on beyond the outline.
        alpha: (H, W) float32 in [0, 1], the share of each pixel that the plate covers.
        scale: Pixels per unit.
    """

    rgb: Array
    alpha: Array
    scale: float


def draw_plate(rng: np.random.Generator, scale: float = 1.0) -> Canvas:
    """Draw a good plate.

    Args:
        rng: Everything that is random; the same generator gives the same plate at every scale,
            but for the finest grain.
        scale: Pixels per unit.
    """
    xs = centres(0, WIDTH, scale)
    ys = centres(0, HEIGHT, scale)
    rgb = np.empty((len(ys), len(xs), 3), np.float32)
    # One seed per part: how many numbers one part uses does not change the next.
    seeds = rng.integers(0, 2**63, 5)
    for seed, (name, (top, bottom)) in zip(seeds, REGIONS.items(), strict=False):
        rows = slice(round(top * scale), round(bottom * scale))
        _REGION_DRAWERS[name](np.random.default_rng(seed), rgb[rows], xs, ys[rows], scale)
    _marks(np.random.default_rng(seeds[3]), rgb, scale)
    return Canvas(rgb, outline_cover(xs, ys, scale), scale)


def outline_cover(xs: Array, ys: Array, scale: float) -> Array:
    """Share of each pixel that body and tabs cover, (h, w) in [0, 1]."""
    distance = box_distance(xs, ys, BODY, 7)
    for tab in TABS:
        distance = np.minimum(distance, box_distance(xs, ys, tab, 5))
    return cover(distance, scale)


def panel_cover(xs: Array, ys: Array, region: str, scale: float) -> Array:
    """Share of each pixel that the coated panel (or the pane) of a region covers, (h, w)."""
    return cover(box_distance(xs, ys, PANELS[region], PANEL_RADIUS), scale)


def blend(rgb: Array, colour: Array | tuple[float, float, float], weight: Array) -> None:
    """Lay a colour over an image in place; colour (3,) or (h, w, 3), weight (h, w) in [0, 1]."""
    rgb += (np.asarray(colour, np.float32) - rgb) * weight[..., None]


def _metal(
    rng: np.random.Generator,
    colour: tuple[float, float, float],
    rough: float,
    rgb: Array,
    xs: Array,
) -> None:
    """Fill with brushed metal: fine vertical lines on a broad horizontal sheen."""
    shape = rgb.shape[:2]
    rows = 400
    fine = smooth_noise(rng, (1, WIDTH), (1, shape[1]))
    streaks = smooth_noise(rng, (rows // 25, WIDTH), shape)
    phase = rng.uniform(-0.6, 0.6)
    sheen = np.cos((xs - WIDTH / 2) / 108 * 1.7 + phase) * rng.uniform(0.10, 0.22)
    light = 0.92 + sheen + rough * (0.6 * fine + streaks)
    tint = np.asarray(colour) * (1 + rng.normal(0, 0.02, 3))
    np.multiply(light[..., None], tint.astype(np.float32), out=rgb)


def _panel(
    rng: np.random.Generator,
    colour: tuple[float, float, float],
    rough: float,
    rgb: Array,
    distance: Array,
    scale: float,
) -> None:
    """Lay a dark coated panel with a bevelled edge over the metal."""
    shape = rgb.shape[:2]
    grain = resized(rng.standard_normal((400, WIDTH), np.float32), shape)
    lines = smooth_noise(rng, (8, WIDTH), shape)
    clouds = smooth_noise(rng, (7, 4), shape)
    light = 1 + rough * (0.5 * grain + 0.8 * lines) + 0.05 * clouds
    tint = np.asarray(colour) * (1 + rng.normal(0, 0.04)) * (1 + rng.normal(0, 0.012, 3))
    coating = light[..., None] * tint.astype(np.float32)
    blend(rgb, (0.05, 0.045, 0.04), 0.55 * np.exp(-((distance - 0.5) ** 2) / 3))
    blend(rgb, coating, cover(distance, scale))
    blend(rgb, (0.75, 0.74, 0.72), 0.28 * np.exp(-((distance + 1.6) ** 2) / 0.8))


def _anode(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw copper with a graphite panel, a row of spot welds and two fiducials."""
    _metal(rng, (0.78, 0.47, 0.33), 0.045, rgb, xs)
    distance = box_distance(xs, ys, PANELS["anode"], PANEL_RADIUS)
    _panel(rng, (0.245, 0.225, 0.215), 0.075, rgb, distance, scale)
    shift = rng.uniform(-1, 1, 2)
    for place in range(5):
        _weld(rgb, xs, ys, (60 + 30 * place + shift[0], 84 + shift[1]), 5.0, scale)
    for side in (24, 216):
        _fiducial(rgb, xs, ys, (side, 386), scale)


def _glass(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw a bezel with a bluish pane, a lattice seen through it and a soft reflection."""
    _metal(rng, (0.20, 0.21, 0.23), 0.05, rgb, xs)
    shape = rgb.shape[:2]
    distance = box_distance(xs, ys, PANELS["glass"], PANEL_RADIUS)
    depth = ((ys - 418) / 364)[:, None]
    light = 1.06 - 0.22 * depth + 0.03 * smooth_noise(rng, (6, 4), shape)
    grain = resized(rng.standard_normal((400, WIDTH), np.float32), shape)
    light = light + 0.012 * grain
    shift = rng.uniform(-1.5, 1.5, 2)
    lines_x = np.abs((xs + shift[0]) % 23 - 11.5)
    lines_y = np.abs((ys + shift[1]) % 26 - 13)[:, None]
    lattice = np.maximum(np.exp(-((lines_x / 1.3) ** 2)), np.exp(-((lines_y / 1.3) ** 2)))
    light = light * (1 - rng.uniform(0.05, 0.09) * lattice)
    tint = np.asarray((0.42, 0.51, 0.58)) * (1 + rng.normal(0, 0.02, 3))
    pane = light[..., None] * tint.astype(np.float32)
    angle = rng.normal(0.62, 0.05)
    across = xs * np.cos(angle) + ((ys - 600) * np.sin(angle))[:, None]
    for width, strength in ((34, 0.30), (9, 0.13)):
        place = rng.normal(70 if width > 20 else 128, 22)
        blend(pane, (0.93, 0.96, 1.0), strength * np.exp(-(((across - place) / width) ** 2)))
    blend(rgb, (0.02, 0.02, 0.03), 0.6 * np.exp(-((distance - 1) ** 2) / 4))
    blend(rgb, pane, cover(distance, scale))
    lit = np.clip(0.5 + ((120 - xs) / 200 + ((600 - ys) / 400)[:, None]), 0, 1)
    edge = np.exp(-((distance + 2.2) ** 2) / 1.5)
    blend(rgb, (0.88, 0.93, 0.98), 0.5 * edge * lit)
    blend(rgb, (0.12, 0.15, 0.19), 0.45 * edge * (1 - lit))


def _cathode(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw aluminium with a dark panel that carries a code, a matrix code and a grid of dots."""
    _metal(rng, (0.74, 0.75, 0.77), 0.035, rgb, xs)
    distance = box_distance(xs, ys, PANELS["cathode"], PANEL_RADIUS)
    _panel(rng, (0.185, 0.19, 0.205), 0.06, rgb, distance, scale)
    ink = np.asarray((0.86, 0.88, 0.86), np.float32) * rng.uniform(0.8, 1.05)
    shift = rng.uniform(-1.5, 1.5, 2)
    for box, bits, origin, pitch, radius in _prints(rng):
        columns = slice(*(round(edge * scale) for edge in (box[0], box[2])))
        rows = slice(*(round((edge - 800) * scale) for edge in (box[1], box[3])))
        place = (origin[0] + shift[0], origin[1] + shift[1])
        inked = dots(xs[columns], ys[rows], bits, place, pitch, radius, scale)
        blend(rgb[rows, columns], ink, inked * 0.92)
    for place in range(5):
        _weld(rgb, xs, ys, (60 + 30 * place, 1118), 5.0, scale)
    for side in (24, 216):
        _fiducial(rgb, xs, ys, (side, 814), scale)


Print = tuple[
    Box, "np.ndarray[tuple[int, int], np.dtype[np.bool_]]", tuple[float, float], float, float
]


def _prints(rng: np.random.Generator) -> list[Print]:
    """What is printed on the cathode: area, dots, origin, pitch and radius in units."""
    serial = "".join(str(digit) for digit in rng.integers(0, 10, 8))
    code = f"BL-{serial}"
    batch = f"{'ABCDEFHK'[rng.integers(8)]}{rng.integers(10, 99)}-{rng.integers(1000, 9999)}"
    matrix = rng.random((14, 14)) < 0.5
    # Like a data matrix code: two solid sides to find it, two dotted ones to count.
    matrix[:, 0], matrix[-1], matrix[0], matrix[:, -1] = True, True, False, False
    matrix[0, ::2], matrix[1::2, -1] = True, True
    grid = np.ones((7, 12), bool)
    return [
        ((40, 838, 200, 864), text_bits(code), (47, 842), 2.2, 1.05),
        ((110, 876, 200, 902), text_bits(batch), (116, 880), 1.7, 0.8),
        ((40, 874, 112, 946), matrix, (46, 878), 4.2, 1.75),
        ((40, 960, 200, 1080), grid, (48, 970), 12.0, 2.1),
    ]


def _weld(
    rgb: Array, xs: Array, ys: Array, centre: tuple[float, float], radius: float, scale: float
) -> None:
    """Draw a spot weld: a shallow ring lit from the upper left."""
    box = (centre[0] - 9, centre[1] - 9, centre[0] + 9, centre[1] + 9)
    columns, rows = _window(xs, box[0], box[2]), _window(ys, box[1], box[3])
    dx, dy = xs[columns] - centre[0], (ys[rows] - centre[1])[:, None]
    away = np.hypot(dx, dy)
    ring = np.exp(-(((away - radius) / 1.2) ** 2))
    light = -(dx + dy) / (away + 1) * 0.2
    part = rgb[rows, columns]
    part *= (1 + ring * light - 0.10 * cover(away - radius, scale))[..., None]


def _fiducial(rgb: Array, xs: Array, ys: Array, centre: tuple[float, float], scale: float) -> None:
    """Etch a small cross."""
    columns, rows = (
        _window(xs, centre[0] - 6, centre[0] + 6),
        _window(ys, centre[1] - 6, centre[1] + 6),
    )
    x, y = centre
    bars = ((x - 4.5, y - 0.8, x + 4.5, y + 0.8), (x - 0.8, y - 4.5, x + 0.8, y + 4.5))
    both = [cover(box_distance(xs[columns], ys[rows], bar), scale) for bar in bars]
    blend(rgb[rows, columns], (0.12, 0.10, 0.09), 0.75 * np.maximum(*both))


def _window(coordinates: Array, low: float, high: float) -> slice:
    """Indices of the sorted coordinates that lie between two values."""
    return slice(*np.searchsorted(coordinates, (low, high)).tolist())


def _marks(rng: np.random.Generator, rgb: Array, scale: float) -> None:
    """Add what is harmless: dust, faint hairlines along the brushing and soft smudges."""
    left, top, right, bottom = BODY
    for _ in range(rng.poisson(16)):
        x, y = rng.uniform((left, top), (right, bottom))
        radius, strength = rng.uniform(0.4, 0.9), rng.normal(0, 0.11)
        _spot(
            rgb, (x, y), radius + 2, scale, lambda away, r=radius: cover(away - r, scale), strength
        )
    for _ in range(rng.poisson(2.5)):
        x, y = rng.uniform((left, top), (right, bottom))
        radius, strength = rng.uniform(14, 38), rng.normal(0, 0.015)
        _spot(
            rgb,
            (x, y),
            2.5 * radius,
            scale,
            lambda away, r=radius: np.exp(-((away / r) ** 2)),
            strength,
        )
    for _ in range(rng.poisson(4)):
        _hairline(rng, rgb, scale)


def _spot(
    rgb: Array,
    centre: tuple[float, float],
    reach: float,
    scale: float,
    weight: Callable[[Array], Array],
    strength: float,
) -> None:
    x, y = centre
    xs, ys, part = patch(rgb, (x - reach, y - reach, x + reach, y + reach), scale)
    part += (strength * weight(np.hypot(xs - x, (ys - y)[:, None])))[..., None]


def _hairline(rng: np.random.Generator, rgb: Array, scale: float) -> None:
    x, y = rng.uniform((BODY[0] + 4, BODY[1] + 50), (BODY[2] - 4, BODY[3] - 50))
    length, lean = rng.uniform(12, 45), rng.normal(0, 0.06)
    points = bend((x, y), (x + rng.normal(0, 1), y + length / 2), (x + lean * length, y + length))
    strength = rng.normal(0, 0.028)
    xs, ys, part = patch(rgb, (x - 10, y - 3, x + 10, y + length + 3), scale)
    distance, _ = curve_distance(xs, ys, points)
    part += (strength * cover(np.abs(distance) - 0.6, scale))[..., None]


def patch(values: Array, box: Box, scale: float) -> tuple[Array, Array, Array]:
    """Columns (w,) and rows (h,) in units of a box clipped to a canvas, and a view of it."""
    height, width = values.shape[:2]
    left, right = (min(max(round(edge * scale), 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(round(edge * scale), 0), height) for edge in (box[1], box[3]))
    xs = ((np.arange(left, right) + 0.5) / scale).astype(np.float32)
    ys = ((np.arange(top, bottom) + 0.5) / scale).astype(np.float32)
    return xs, ys, values[top:bottom, left:right]


_REGION_DRAWERS: dict[str, Callable[[np.random.Generator, Array, Array, Array, float], None]] = {
    "anode": _anode,
    "glass": _glass,
    "cathode": _cathode,
}
