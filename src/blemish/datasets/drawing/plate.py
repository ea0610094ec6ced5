"""A good plate: anode, glass and cathode, stacked along the long side of one strip.

The plate is drawn on a canvas of 240×1200 units, anode on top. Everything that differs from plate
to plate without being a defect is drawn here as well: brushing, tint, print, reflections, dust,
hairlines and smudges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from blemish.datasets.drawing.shapes import (
    Array,
    Bits,
    Box,
    box_distance,
    centres,
    cover,
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
        rgb: (3, H, W) float32 reflectance, about [0, 1]; goes on beyond the outline.
        alpha: (H, W) float32 in [0, 1], the share of each pixel that the plate covers.
        scale: Pixels per unit.
    """

    rgb: Array
    alpha: Array
    scale: float


def draw_plate(rng: np.random.Generator, scale: float = 1.0) -> Canvas:
    """Draw a good plate.

    Args:
        rng: Everything that is random; the same generator gives the same plate at every scale.
        scale: Pixels per unit.
    """
    xs, ys = centres(0, WIDTH, scale), centres(0, HEIGHT, scale)
    # Colours first: numpy then works on long rows, several times as fast as on triples.
    rgb = np.empty((3, len(ys), len(xs)), np.float32)
    # One seed per part: how many numbers one part uses does not change the next.
    seeds = rng.integers(0, 2**63, 4)
    for seed, (name, (top, bottom)) in zip(seeds, REGIONS.items(), strict=False):
        rows = slice(round(top * scale), round(bottom * scale))
        drawer = _REGION_DRAWERS[name]
        drawer(np.random.default_rng(seed), rgb[:, rows], xs, ys[rows], scale)
    _finish(rgb, xs, ys)
    outline, rim = (_cached_outline if scale == 1 else _outline)(scale)
    rgb *= rim
    _marks(np.random.default_rng(seeds[3]), rgb, scale)
    return Canvas(rgb, outline.copy(), scale)


def _outline(scale: float) -> tuple[Array, Array]:
    """Coverage of the plate (H, W), and how its rounded rim loses light (H, W)."""
    distance = outline_distance(centres(0, WIDTH, scale), centres(0, HEIGHT, scale))
    return cover(distance, scale), 1 - np.float32(0.72) * np.exp(
        -((np.minimum(distance, 0) / 2.6) ** 2)
    )


def outline_distance(xs: Array, ys: Array) -> Array:
    """Signed distance in units to the outline of body and tabs, (h, w)."""
    distances = [box_distance(xs, ys, BODY, 12), *(box_distance(xs, ys, tab, 9) for tab in TABS)]
    nearest: Array = np.minimum.reduce(distances)
    return nearest


def panel_cover(xs: Array, ys: Array, region: str, scale: float) -> Array:
    """Share of each pixel that the coated panel (or the pane) of a region covers, (h, w)."""
    return cover(box_distance(xs, ys, PANELS[region], PANEL_RADIUS), scale)


def _edge(region: str, scale: float) -> tuple[Box, Array, Array, Array, Array]:
    """Around the panel of a region: box in units, coverage, groove, bevel, share of upper light."""
    left, top, right, bottom = PANELS[region]
    box = (left - 6, top - 6, right + 6, bottom + 6)
    xs, ys = centres(box[0], box[2], scale), centres(box[1], box[3], scale)
    distance = box_distance(xs, ys, PANELS[region], PANEL_RADIUS)
    across, down = (xs - left) / (right - left), (ys - top) / (bottom - top)
    upper = np.clip(1.5 - 1.4 * across - down[:, None], 0, 1)
    groove, bevel = np.exp(-((distance - 0.8) ** 2) / 3), np.exp(-((distance + 1.8) ** 2) / 1.2)
    return box, cover(distance, scale), groove, bevel, upper


# What is the same on all plates is kept at the scale of the plate view; photos differ in scale.
_cached_outline, _cached_edge = lru_cache(_outline), lru_cache(_edge)


def blend(rgb: Array, colour: Array | Sequence[float | np.floating], weight: Array) -> None:
    """Lay a colour over an image (3, h, w) in place; colour (3,) or (3, h, w), weight (h, w)."""
    for band, value in zip(rgb, colour, strict=True):
        band += (value - band) * weight


def _colour(base: tuple[float, float, float], *factors: object) -> list[np.float32]:
    """Multiply a colour by factors, each one number or three."""
    product = np.asarray(base)
    for factor in factors:
        product = product * np.asarray(factor)
    return [np.float32(value) for value in product]


def _metal(
    rng: np.random.Generator,
    colour: tuple[float, float, float],
    rough: float,
    rgb: Array,
    xs: Array,
) -> None:
    """Fill with brushed metal: fine vertical lines on a broad horizontal sheen."""
    shape = rgb.shape[1:]
    fine = _brushing(rng, 1, (1, shape[1]))
    streaks = _brushing(rng, 14, shape)
    phase, swing = rng.uniform(-0.6, 0.6), rng.uniform(0.10, 0.22)
    sheen = (0.92 + swing * np.cos((xs - WIDTH / 2) / 108 * 1.7 + phase)).astype(np.float32)
    light = streaks
    light *= np.float32(1.2 * rough)
    light += sheen + np.float32(rough) * fine
    tint = _colour(colour, 1 + rng.normal(0, 0.015), 1 + rng.normal(0, 0.008, 3))
    for band, value in zip(rgb, tint, strict=True):
        np.multiply(light, value, out=band)


def _brushing(rng: np.random.Generator, rows: int, shape: tuple[int, int]) -> Array:
    """Noise in vertical lines, smooth over about two units across; (h, w) float32."""
    noise = rng.standard_normal((rows, WIDTH), np.float32)
    noise = np.float32(0.6) * noise + np.float32(0.4) * np.roll(noise, 1, 1)
    return resized(noise, shape)


def _panel(
    rng: np.random.Generator,
    region: str,
    colour: tuple[float, float, float],
    rough: float,
    rgb: Array,
    scale: float,
) -> None:
    """Lay a dark coated panel with a bevelled edge over the metal."""
    box, inside, groove, bevel, upper = (_cached_edge if scale == 1 else _edge)(region, scale)
    part = _part(rgb, box, region, scale)
    shape = inside.shape
    light = _brushing(rng, 10, shape) * np.float32(0.8 * rough)
    light += np.float32(rough) * smooth_noise(rng, (200, WIDTH), shape)
    light += 1 + np.float32(0.05) * smooth_noise(rng, (7, 4), shape)
    tint = _colour(colour, 1 + rng.normal(0, 0.04), 1 + rng.normal(0, 0.01, 3))
    blend(part, (0.05, 0.045, 0.04), np.float32(0.55) * groove)
    blend(part, np.stack([light * value for value in tint]), inside)
    blend(part, (0.75, 0.74, 0.72), bevel * (np.float32(0.12) + np.float32(0.22) * upper))


def _part(rgb: Array, box: Box, region: str, scale: float) -> Array:
    """View of a box in the drawing of a region."""
    left, top, right, bottom = (round(edge * scale) for edge in box)
    start = round(REGIONS[region][0] * scale)
    return rgb[:, top - start : bottom - start, left:right]


def _anode(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw copper with a graphite panel, a row of spot welds and two fiducials."""
    _metal(rng, (0.74, 0.455, 0.335), 0.05, rgb, xs)
    _panel(rng, "anode", (0.245, 0.228, 0.22), 0.075, rgb, scale)
    _welds(rng, rgb, xs, ys, 84, scale)
    for side in (24, 216):
        _engrave(rgb, xs, ys, _cross((side, 386), 4.5, 0.8), scale)
    _engrave(rgb, xs, ys, [(112, 36.6, 128, 39.4)], scale)


def _glass(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw a bezel with a bluish pane, a lattice seen through it and a soft reflection."""
    _metal(rng, (0.20, 0.21, 0.23), 0.05, rgb, xs)
    columns, rows = xs, ys
    box, inside, groove, bevel, upper = (_cached_edge if scale == 1 else _edge)("glass", scale)
    part = _part(rgb, box, "glass", scale)
    xs, ys = centres(box[0], box[2], scale), centres(box[1], box[3], scale)
    light = _pane_light(rng, xs, ys)
    tint = _colour((0.445, 0.515, 0.565), 1 + rng.normal(0, 0.015), 1 + rng.normal(0, 0.012, 3))
    pane = np.stack([light * value for value in tint])
    angle = rng.normal(0.62, 0.05)
    across = (xs * np.cos(angle)).astype(np.float32)
    across = across + ((ys - 600) * np.sin(angle)).astype(np.float32)[:, None]
    for width, strength, centre in ((34, 0.30, 70), (9, 0.13, 128)):
        away = (across - np.float32(rng.normal(centre, 22))) * np.float32(1 / width)
        blend(pane, (0.93, 0.96, 1.0), np.float32(strength) * np.exp(-(away**2)))
    blend(part, (0.02, 0.02, 0.03), np.float32(0.6) * groove)
    blend(part, pane, inside)
    blend(part, (0.88, 0.93, 0.98), np.float32(0.38) * bevel * upper)
    blend(part, (0.12, 0.15, 0.19), np.float32(0.45) * bevel * (1 - upper))
    _studs(rng, rgb, columns, rows, scale)


def _pane_light(rng: np.random.Generator, xs: Array, ys: Array) -> Array:
    """Light through the pane: a slow gradient, clouds, grain and the shadow of the lattice."""
    shape = (len(ys), len(xs))
    light = np.float32(0.03) * smooth_noise(rng, (6, 4), shape)
    light += np.float32(0.012) * smooth_noise(rng, (200, 110), shape)
    light += (1.06 - 0.22 * (ys - 418) / 364).astype(np.float32)[:, None]
    shift, depth = rng.uniform(-1.5, 1.5, 2), np.float32(rng.uniform(0.05, 0.09))
    lines_x = np.exp(-((((xs + shift[0]) % 23 - 11.5) / 1.3) ** 2)).astype(np.float32)
    lines_y = np.exp(-((((ys + shift[1]) % 26 - 13) / 1.3) ** 2)).astype(np.float32)
    light *= 1 - depth * np.maximum(lines_x, lines_y[:, None])
    return light


def _cathode(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw aluminium with a dark panel that carries a code, a matrix code and a grid of dots."""
    _metal(rng, (0.70, 0.71, 0.725), 0.035, rgb, xs)
    _panel(rng, "cathode", (0.185, 0.19, 0.205), 0.06, rgb, scale)
    shift, ink = rng.uniform(-1.5, 1.5, 2), rng.uniform(0.85, 1.0)
    for box, bits, origin, pitch, radius, colour in _prints(rng):
        columns, rows = _window(xs, box[0], box[2]), _window(ys, box[1], box[3])
        place = (origin[0] + shift[0], origin[1] + shift[1])
        inked = dots(xs[columns], ys[rows], bits, place, pitch, radius, scale)
        blend(rgb[:, rows, columns], _colour(colour, ink), inked * np.float32(0.92))
    _welds(rng, rgb, xs, ys, 1118, scale)
    for side in (24, 216):
        _engrave(rgb, xs, ys, _cross((side, 814), 4.5, 0.8), scale)
    _engrave(rgb, xs, ys, _cross((120, 1162), 8, 1.4), scale)


Print = tuple[Box, Bits, tuple[float, float], float, float, tuple[float, float, float]]
_WHITE, _ETCHED = (0.56, 0.58, 0.57), (0.31, 0.31, 0.31)


def _matrix_code() -> Bits:
    """The type of the plate as a matrix code, the same on all plates: (14, 14) bool."""
    matrix = np.random.default_rng(2106).random((14, 14)) < 0.5
    # Two solid sides to find it, two dotted ones to count.
    matrix[:, 0], matrix[-1], matrix[0], matrix[:, -1] = True, True, False, False
    matrix[0, ::2], matrix[1::2, -1] = True, True
    return matrix


def _prints(rng: np.random.Generator) -> list[Print]:
    """What is on the cathode: area, dots, origin, pitch and radius in units, and colour."""
    serial = "".join(str(digit) for digit in rng.integers(0, 10, 6))
    return [
        ((40, 838, 200, 864), text_bits("BL-2170-C+"), (51, 842), 2.3, 1.1, _WHITE),
        ((110, 876, 200, 902), text_bits(serial), (122, 884), 2.0, 0.95, _ETCHED),
        ((40, 874, 112, 946), _matrix_code(), (46, 878), 4.2, 1.75, _WHITE),
        ((40, 960, 200, 1080), np.ones((7, 12), bool), (48, 970), 12.0, 2.1, _WHITE),
    ]


def _welds(
    rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, row: float, scale: float
) -> None:
    """Draw a row of spot welds, shallow rings; how much each of them glints is chance."""
    shift, glints = rng.uniform(-0.7, 0.7, 2), rng.uniform(0, 1, 5)
    for place, glint in enumerate(glints):
        x, y = 60 + 30 * place + shift[0], row + shift[1]
        dx, dy, part = _nearby(rgb, xs, ys, x, y)
        away = np.hypot(dx, dy)
        ring = np.exp(-(((away - 5) / 1.2) ** 2))
        part *= 1 - (dx + dy) / (away + 1) * 0.2 * ring - 0.10 * cover(away - 5, scale)
        _glint(part, dx, dy, glint)


def _studs(rng: np.random.Generator, rgb: Array, xs: Array, ys: Array, scale: float) -> None:
    """Draw four polished studs in the bezel; one of them mirrors the lamp."""
    bright = rng.integers(4)
    for place, (x, y) in enumerate(((20, 436), (220, 436), (20, 764), (220, 764))):
        dx, dy, part = _nearby(rgb, xs, ys, x, y)
        away = np.hypot(dx, dy)
        blend(part, (0.04, 0.04, 0.05), np.float32(0.7) * cover(away - 5.2, scale))
        dome = [np.float32(level) * (1 - (dx + dy) / 14) for level in (0.36, 0.37, 0.39)]
        blend(part, np.stack(np.broadcast_arrays(*dome)), cover(away - 4.4, scale))
        _glint(part, dx, dy, rng.uniform(0.95, 1.05) if place == bright else rng.uniform(0, 0.15))


def _nearby(rgb: Array, xs: Array, ys: Array, x: float, y: float) -> tuple[Array, Array, Array]:
    """Offsets (w,) and (h, 1) in units from a point, and a view of the drawing around it."""
    columns, rows = _window(xs, x - 9, x + 9), _window(ys, y - 9, y + 9)
    return xs[columns] - np.float32(x), (ys[rows] - np.float32(y))[:, None], rgb[:, rows, columns]


def _glint(part: Array, dx: Array, dy: Array, strength: float) -> None:
    """Mirror the lamp in a small dome, up to the brightest white."""
    spot = np.exp(-((dx + 1.2) ** 2 + (dy + 1.2) ** 2) / 4.5)
    blend(part, (1.1, 1.1, 1.08), np.minimum(np.float32(strength) * spot, 1))


def _cross(centre: tuple[float, float], arm: float, half: float) -> list[Box]:
    x, y = centre
    return [(x - arm, y - half, x + arm, y + half), (x - half, y - arm, x + half, y + arm)]


def _engrave(rgb: Array, xs: Array, ys: Array, bars: list[Box], scale: float) -> None:
    """Engrave bars into the metal."""
    left, top = (min(bar[side] for bar in bars) - 2 for side in (0, 1))
    right, bottom = (max(bar[side] for bar in bars) + 2 for side in (2, 3))
    columns, rows = _window(xs, left, right), _window(ys, top, bottom)
    distance = np.minimum.reduce([box_distance(xs[columns], ys[rows], bar) for bar in bars])
    blend(rgb[:, rows, columns], (0.12, 0.10, 0.09), np.float32(0.6) * cover(distance, scale))


def _finish(rgb: Array, xs: Array, ys: Array) -> None:
    """Shade the seams between the regions and light the left edge of the body."""
    rows = np.ones_like(ys)
    for seam in (400, 800):
        rows -= 0.55 * np.exp(-(((ys - seam) / 1.1) ** 2))
    columns = 1 + 0.25 * np.exp(-(((xs - BODY[0] - 4) / 1.3) ** 2))
    rgb *= (rows[:, None] * columns).astype(np.float32)


def _window(coordinates: Array, low: float, high: float) -> slice:
    """Indices of the sorted coordinates that lie between two values."""
    return slice(*np.searchsorted(coordinates, np.array((low, high))).tolist())


def _marks(rng: np.random.Generator, rgb: Array, scale: float) -> None:
    """Add what is harmless: dust, faint hairlines along the brushing and soft smudges."""
    left, top, right, bottom = BODY
    for _ in range(rng.poisson(16)):
        x, y, radius = rng.uniform((left, top, 0.4), (right, bottom, 0.8)).tolist()
        strength = float(np.clip(rng.normal(0, 0.08), -0.15, 0.15))
        away, part = _around(rgb, x, y, radius + 2, scale)
        part += strength * cover(away - radius, scale)
    for _ in range(rng.poisson(2.5)):
        x, y, radius = rng.uniform((left, top, 14), (right, bottom, 38)).tolist()
        away, part = _around(rgb, x, y, 2.3 * radius, scale)
        part += np.float32(rng.normal(0, 0.015)) * np.exp(-((away / radius) ** 2))
    for _ in range(rng.poisson(4)):
        _hairline(rng, rgb, scale)


def _around(rgb: Array, x: float, y: float, reach: float, scale: float) -> tuple[Array, Array]:
    """Distance in units from a point, and a view of the drawing around it."""
    xs, ys, part = patch(rgb, (x - reach, y - reach, x + reach, y + reach), scale)
    return np.hypot(xs - np.float32(x), (ys - np.float32(y))[:, None]), part


def _hairline(rng: np.random.Generator, rgb: Array, scale: float) -> None:
    x, y = rng.uniform((BODY[0] + 4, BODY[1] + 50), (BODY[2] - 4, BODY[3] - 50))
    length, lean, bow = rng.uniform(12, 45), rng.normal(0, 0.06), rng.normal(0, 1)
    xs, ys, part = patch(rgb, (x - 9, y, x + 9, y + length), scale)
    down = (ys - y) / length
    path = x + lean * (ys - y) + bow * down * (1 - down)
    part += rng.normal(0, 0.028) * cover(np.abs(xs - path[:, None]) - 0.6, scale)


def patch(values: Array, box: Box, scale: float) -> tuple[Array, Array, Array]:
    """Columns (w,) and rows (h,) in units of a box clipped to a canvas, and a view of it."""
    height, width = values.shape[-2:]
    left, right = (min(max(round(edge * scale), 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(round(edge * scale), 0), height) for edge in (box[1], box[3]))
    xs = ((np.arange(left, right) + 0.5) / scale).astype(np.float32)
    ys = ((np.arange(top, bottom) + 0.5) / scale).astype(np.float32)
    return xs, ys, values[..., top:bottom, left:right]


_REGION_DRAWERS: dict[str, Callable[[np.random.Generator, Array, Array, Array, float], None]] = {
    "anode": _anode,
    "glass": _glass,
    "cathode": _cathode,
}
