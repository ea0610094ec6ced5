"""What lies between a plate and its image: pose, light, optics and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from blemish.datasets.drawing.plate import HEIGHT, OUTLINE, WIDTH, Canvas
from blemish.datasets.drawing.shapes import Array, smooth_noise
from blemish.types import Image, Mask

_STRIP_PIXELS = 1 << 17  # a strip of float colours then fits a cache


@dataclass(frozen=True)
class Pose:
    """Where a plate lies in an image: scaled, turned about its centre, then moved.

    Attributes:
        x: Column of the plate's centre in pixels, counted from the left edge of the image.
        y: Row of the plate's centre in pixels, counted from the upper edge.
        angle: Clockwise turn in degrees.
        scale: Pixels per unit.
    """

    x: float = WIDTH / 2
    y: float = HEIGHT / 2
    angle: float = 0.0
    scale: float = 1.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) from units of the frame to pixels; the first pixel's centre is (0.5, 0.5)."""
        turn = np.deg2rad(self.angle)
        cos, sin = np.cos(turn) * self.scale, np.sin(turn) * self.scale
        x, y = WIDTH / 2, HEIGHT / 2
        return np.array(
            [
                [cos, -sin, self.x - cos * x + sin * y],
                [sin, cos, self.y - sin * x - cos * y],
                [0, 0, 1],
            ]
        )

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 2) x, y in pixels of the outline: anode left, anode right, cathode right, left."""
        left, top, right, bottom = OUTLINE
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        return points @ self.matrix[:2, :2].T + self.matrix[:2, 2]


def place(
    picture: Pillow.Image, pose: Pose, scale: float, box: tuple[int, int, int, int]
) -> Pillow.Image:
    """Move a canvas into an image.

    Args:
        picture: The canvas.
        pose: Where the plate lies in the image.
        scale: Pixels of the canvas per unit.
        box: Left, top, right and bottom in pixels of the part of the image that is wanted.

    Returns:
        That part; 0 outside the canvas.
    """
    shift = np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    back = np.diag([scale, scale, 1]) @ np.linalg.inv(pose.matrix) @ shift
    size = (box[2] - box[0], box[3] - box[1])
    linear = Pillow.Resampling.BILINEAR
    return picture.transform(size, Pillow.Transform.AFFINE, back[:2].ravel().tolist(), linear)


def place_plate(
    canvas: Canvas, pose: Pose, box: tuple[int, int, int, int]
) -> tuple[Pillow.Image, Pillow.Image]:
    """Colours (RGB) and coverage (L) of a plate in a part of an image."""
    # Called CMYK, four bands move in one pass; RGBA would be multiplied by its alpha and back.
    bands = [Pillow.fromarray(to_bytes(band)) for band in (*canvas.rgb, canvas.alpha)]
    placed = place(Pillow.merge("CMYK", bands), pose, canvas.scale, box).split()
    return Pillow.merge("RGB", placed[:3]), placed[3]


def place_mask(footprint: Array, pose: Pose, scale: float, box: tuple[int, int, int, int]) -> Mask:
    """Mask (h, w) bool in a part of an image of a footprint on the canvas."""
    return np.asarray(place(Pillow.fromarray(to_bytes(footprint)), pose, scale, box)) >= 128


def to_bytes(values: Array) -> NDArray[np.uint8]:
    """Turn [0, 1] into uint8, rounded and clipped."""
    scaled = values * np.float32(255)
    scaled += 0.5
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


@dataclass(frozen=True)
class Shot:
    """Lamp, lens and sensor of one image.

    Attributes:
        gain: Brightness of the lamp.
        slopes: How much lighter the image is below and on the right, and how much darker the
            borders are, as shares.
        warmth: How much redder, as a share.
        side: Weight of each neighbour in the blur along one axis.
        noise: Standard deviation of the noise, in [0, 1].
        seed: Of the noise.
    """

    gain: float
    slopes: tuple[float, float, float]
    warmth: float
    side: float
    noise: float
    seed: int


def sample_shot(rng: np.random.Generator) -> Shot:
    """Draw the conditions of one shot."""
    down, across = np.clip(rng.normal(0, 0.07, 2), -0.16, 0.16).tolist()
    return Shot(
        gain=float(rng.uniform(0.86, 1.12)),
        slopes=(down, across, float(rng.uniform(0.02, 0.08))),
        warmth=float(rng.normal(0, 0.015)),
        side=float(rng.uniform(0.04, 0.18)),
        noise=float(rng.uniform(0.006, 0.015)),
        seed=int(rng.integers(2**63)),
    )


def expose(shot: Shot, scene: Image) -> Image:
    """Photograph a scene (h, w, 3) uint8: light, blur and noise, as uint8.

    It works in strips of rows, so that a photo of 24 million pixels needs little memory.
    """
    height, width = scene.shape[:2]
    rng = np.random.default_rng(shot.seed)
    down, across = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    rows = shot.gain * (1 + shot.slopes[0] * down - shot.slopes[2] * down**2)
    columns = (1 + shot.slopes[1] * across - shot.slopes[2] * across**2).astype(np.float32)
    image = np.empty_like(scene)
    step = max(_STRIP_PIXELS // width, 16)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)  # the blur needs the next row
        strip = np.ascontiguousarray(scene[first:last].transpose(2, 0, 1), np.float32)
        lit = soften(strip, shot.side)[:, top - first : bottom - first]
        lit *= rows[top:bottom, None].astype(np.float32) * columns
        image[top:bottom] = _sense(shot, rng, lit)
    return image


def _sense(shot: Shot, rng: np.random.Generator, lit: Array) -> Image:
    """Add the noise of the sensor to (3, h, w) in [0, 255] and round, to (h, w, 3) uint8."""
    shape = lit.shape[1:]
    # Part of the noise is common to the colours, as raw conversion leaves it.
    common = rng.standard_normal(shape, np.float32)
    common *= np.float32(255 * shot.noise)
    # The rest is in blocks of two by two pixels, as in a photo with halved colours.
    apart = rng.standard_normal((shape[0] // 2 + 1, shape[1] // 2 + 1), np.float32)
    apart *= np.float32(75 * shot.noise)
    apart = apart.repeat(2, 0)[: shape[0]].repeat(2, 1)[:, : shape[1]]
    common += 0.5  # rounds
    lit[0] *= np.float32(1 + shot.warmth)
    lit[2] *= np.float32(1 - shot.warmth)
    lit += common
    lit[0] += apart
    lit[2] -= apart
    bands = np.clip(lit, 0, 255, out=lit).astype(np.uint8)
    return np.asarray(Pillow.merge("RGB", [Pillow.fromarray(band) for band in bands]))


def soften(bands: Array, side: float) -> Array:
    """Blur (3, h, w) by the kernel (side, 1 - 2 side, side) along both axes; the border stays."""
    for band in bands:
        for lines in (band, band.T):
            # Differences of neighbours flow both ways: the mean stays exactly the same.
            flow = np.subtract(lines[1:], lines[:-1])
            flow *= np.float32(side)
            lines[:-1] += flow
            lines[1:] -= flow
    return bands


def table(rng: np.random.Generator, shape: tuple[int, int]) -> Pillow.Image:
    """Dark background of the plate view; shape is (h, w)."""
    level = rng.uniform(0.8, 1.25)
    cloud = 1 + 0.12 * smooth_noise(rng, (12, 4), shape)
    bands = [Pillow.fromarray(to_bytes(cloud * (level * c))) for c in (0.105, 0.111, 0.124)]
    return Pillow.merge("RGB", bands)
