"""Defects of a plate: scratches, dents, stains and missing material, with exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blemish.datasets.drawing.plate import (
    BODY,
    PANELS,
    REGIONS,
    Canvas,
    blend,
    outline_distance,
    panel_cover,
    patch,
)
from blemish.datasets.drawing.shapes import Array, Box, bend, cover, curve_distance

KINDS = ("scratch", "dent", "stain", "missing")
# The glass of the plates that this set stands in for has hardly any defects.
REGION_SHARES = {"anode": 0.43, "glass": 0.12, "cathode": 0.45}
_SUBSTRATE = {
    "anode": (0.78, 0.52, 0.38),
    "glass": (0.93, 0.96, 0.98),
    "cathode": (0.72, 0.73, 0.74),
}


@dataclass(frozen=True)
class Defect:
    """One defect, described apart from any resolution.

    Attributes:
        kind: One of `KINDS`.
        region: ``"anode"``, ``"glass"`` or ``"cathode"``; a defect never crosses into another.
        x: Column of its centre in units.
        y: Row of its centre in units.
        radius: Mean radius in units; of a scratch half its length.
        angle: Direction in radians.
        stretch: Ratio of the axes, at least 1; of a scratch its width in units.
        strength: Contrast; negative where it darkens.
        waves: (amplitude, phase) of the outline's second to fifth harmonic.
        edge: True for material that is missing at the outer edge of the plate.
    """

    kind: str
    region: str
    x: float
    y: float
    radius: float
    angle: float
    stretch: float
    strength: float
    waves: tuple[tuple[float, float], ...]
    edge: bool = False


# Ranges of radius, stretch and strength.
_RANGES = {
    "scratch": ((18, 36), (2.4, 4.0), (0.2, 0.36)),
    "dent": ((7.5, 10.5), (1, 1.4), (0.55, 0.85)),
    "stain": ((7.5, 11.5), (1, 1.7), (0.5, 0.75)),
    "missing": ((7, 10), (1, 1.5), (0.62, 0.85)),
}


def sample_defect(rng: np.random.Generator, kind: str) -> Defect:
    """Draw the parameters of a defect of one kind."""
    region = str(rng.choice(list(REGION_SHARES), p=list(REGION_SHARES.values())))
    rough = 0.4 if kind == "dent" else 1.0
    amplitudes = rng.normal(0, rough, 4) * (0.16, 0.11, 0.07, 0.05)
    waves = tuple(zip(amplitudes.tolist(), rng.uniform(0, 2 * np.pi, 4).tolist(), strict=True))
    place = _place_at_edge if kind == "missing" else _place_inside
    x, y, edge = place(rng, region)
    radius, stretch, strength = (float(rng.uniform(*limits)) for limits in _RANGES[kind])
    angle = float(rng.uniform(0, np.pi))
    if kind == "scratch":
        angle = float(rng.uniform(-1, 1)) * 1.1  # away from the brushing, which is vertical
        # Dark coatings lose their dark surface: there a scratch is always bright.
        left, top, right, bottom = PANELS[region]
        coated = region != "glass" and left < x < right and top < y < bottom
        strength *= -1 if rng.random() < 0.5 and not coated else 1
    return Defect(kind, region, x, y, radius, angle, stretch, strength, waves, edge)


def _place_inside(rng: np.random.Generator, region: str) -> tuple[float, float, bool]:
    """Anywhere on the body, so far from other regions that no jitter moves a part across."""
    top, bottom = REGIONS[region]
    x = rng.uniform(BODY[0] + 14, BODY[2] - 14)
    y = rng.uniform(max(top + 44, BODY[1] + 24), min(bottom - 44, BODY[3] - 24))
    return float(x), float(y), False


def _place_at_edge(rng: np.random.Generator, region: str) -> tuple[float, float, bool]:
    """At the outer edge of the body, or at the edge of the region's panel."""
    edge = bool(rng.random() < 0.4) and region != "glass"
    left, _, right, _ = BODY if edge else PANELS[region]
    _, top, _, bottom = PANELS[region]
    x = (left + 3.0) if rng.random() < 0.5 else (right - 3.0)
    y = rng.uniform(top + 26, bottom - 26)
    if not edge and rng.random() < 0.4:
        x, y = rng.uniform(left + 20, right - 20), rng.choice([top + 4.0, bottom - 4.0])
    return float(x), float(y), edge


def reach(defect: Defect) -> Box:
    """A box in units that holds the whole defect."""
    half = defect.radius * (1 if defect.kind == "scratch" else 1.45 * defect.stretch) + 6
    return defect.x - half, defect.y - half, defect.x + half, defect.y + half


def footprint(defect: Defect, scale: float) -> Array:
    """Where a defect is, on the whole canvas: (H, W) float32, the share of each pixel in [0, 1]."""
    canvas = np.zeros((round(1200 * scale), round(240 * scale)), np.float32)
    xs, ys, part = patch(canvas, reach(defect), scale)
    part[:] = _weight(defect, xs, ys, scale)
    return canvas


def add_defect(canvas: Canvas, defect: Defect) -> None:
    """Draw a defect onto a plate, in place, and only inside its footprint."""
    xs, ys, rgb = patch(canvas.rgb, reach(defect), canvas.scale)
    weight = _weight(defect, xs, ys, canvas.scale)
    if defect.kind == "scratch":
        _scratch(defect, xs, ys, rgb, weight)
    elif defect.kind == "dent":
        _dent(defect, xs, ys, rgb, weight)
    elif defect.kind == "stain":
        _stain(defect, xs, ys, rgb, weight)
    elif defect.edge:
        _, _, alpha = patch(canvas.alpha, reach(defect), canvas.scale)
        alpha *= 1 - weight
    else:
        _flake(defect, xs, ys, rgb, weight)


def _weight(defect: Defect, xs: Array, ys: Array, scale: float) -> Array:
    if defect.kind == "scratch":
        distance, _ = curve_distance(xs, ys, _path(defect))
        inside = cover(np.abs(distance) - defect.stretch / 2, scale)
    else:
        inside = cover((_blob(defect, xs, ys) - 1) * defect.radius, scale)
    if defect.kind == "missing" and not defect.edge:
        inside *= panel_cover(xs, ys, defect.region, scale)
    else:
        inside *= cover(outline_distance(xs, ys), scale)
    return inside


def _path(defect: Defect) -> Array:
    """The curve of a scratch, (9, 2) float32 in units."""
    along = np.array((np.cos(defect.angle), np.sin(defect.angle)))
    across = np.array((-along[1], along[0]))
    centre = np.array((defect.x, defect.y))
    sag = defect.waves[0][0] * 1.2 * defect.radius
    ends = (centre - along * defect.radius, centre + along * defect.radius)
    return bend(ends[0].tolist(), (centre + across * sag).tolist(), ends[1].tolist())


def _blob(defect: Defect, xs: Array, ys: Array) -> Array:
    """Distance from the centre over the distance of the outline there: below 1 = inside."""
    dx, dy = xs - defect.x, (ys - defect.y)[:, None]
    along = (dx * np.cos(defect.angle) + dy * np.sin(defect.angle)) / np.sqrt(defect.stretch)
    across = (dy * np.cos(defect.angle) - dx * np.sin(defect.angle)) * np.sqrt(defect.stretch)
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for order, (amplitude, phase) in enumerate(defect.waves, 2):
        outline += amplitude * np.cos(order * theta + phase)
    away: Array = np.hypot(along, across) / (defect.radius * np.maximum(outline, 0.4))
    return away.astype(np.float32)


def _scratch(defect: Defect, xs: Array, ys: Array, rgb: Array, weight: Array) -> None:
    """Draw a groove: one flank catches the light, the other lies in shadow."""
    distance, along = curve_distance(xs, ys, _path(defect))
    flank = np.clip(distance / (defect.stretch / 2), -1, 1)
    profile = defect.strength * (0.75 + 0.75 * flank) * (1.1 - 0.5 * np.abs(2 * along - 1))
    rgb += profile * weight


def _dent(defect: Defect, xs: Array, ys: Array, rgb: Array, weight: Array) -> None:
    """Draw a hollow: dark towards the light in the upper left, bright on the other side."""
    away = _blob(defect, xs, ys)
    dx, dy = (xs - defect.x) / defect.radius, ((ys - defect.y) / defect.radius)[:, None]
    slope = (dx + dy) * np.exp(-1.6 * away**2) * 1.5
    rgb *= (1 + defect.strength * 1.3 * slope * weight).astype(np.float32)
    rgb += (0.16 * defect.strength * slope * weight).astype(np.float32)


def _stain(defect: Defect, xs: Array, ys: Array, rgb: Array, weight: Array) -> None:
    """Draw a dried drop: a tinted film with a stronger rim."""
    away = _blob(defect, xs, ys)
    film = weight * (0.55 + 0.65 * np.exp(-(((away - 0.86) / 0.13) ** 2)))
    film = np.clip(film * defect.strength * 1.3, 0, 0.9)
    light = rgb.mean() > 0.33
    blend(rgb, (0.24, 0.17, 0.10) if light else (0.62, 0.60, 0.50), film)


def _flake(defect: Defect, xs: Array, ys: Array, rgb: Array, weight: Array) -> None:
    """Draw where the coating came off: the bare material, with a shadow at the upper rim."""
    away = _blob(defect, xs, ys)
    shade = 1 - 0.65 * np.exp(-(((away - 0.92) / 0.14) ** 2)) * (
        (xs < defect.x) | (ys < defect.y)[:, None]
    )
    bare = np.stack([shade * value for value in _SUBSTRATE[defect.region]])
    blend(rgb, bare.astype(np.float32), weight * defect.strength)
