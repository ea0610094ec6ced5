"""What lies between a plate and its image: pose, light, optics and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from blemish.datasets.drawing.plate import HEIGHT, OUTLINE, WIDTH, Canvas
from blemish.datasets.drawing.shapes import Array, smooth_noise
from blemish.types import Image, Mask


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


def place(picture: Pillow.Image, pose: Pose, scale: float, box: tuple[int, int, int, int]) -> Image:
    """Move a canvas into an image.

    Args:
        picture: The canvas.
        pose: Where the plate lies in the image.
        scale: Pixels of the canvas per unit.
        box: Left, top, right and bottom in pixels of the part of the image that is wanted.

    Returns:
        That part, (bottom - top, right - left[, bands]) uint8; 0 outside the canvas.
    """
    shift = np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
    back = np.diag([scale, scale, 1]) @ np.linalg.inv(pose.matrix) @ shift
    size = (box[2] - box[0], box[3] - box[1])
    bicubic = Pillow.Resampling.BICUBIC
    return np.asarray(
        picture.transform(size, Pillow.Transform.AFFINE, back[:2].ravel().tolist(), bicubic)
    )


def place_plate(canvas: Canvas, pose: Pose, box: tuple[int, int, int, int]) -> tuple[Image, Image]:
    """Colours (h, w, 3) uint8 and coverage (h, w) uint8 of a plate in a part of an image."""
    bands = np.empty((*canvas.alpha.shape, 4), np.uint8)
    bands[..., :3] = to_bytes(canvas.rgb)
    bands[..., 3] = to_bytes(canvas.alpha)
    placed = place(Pillow.fromarray(bands), pose, canvas.scale, box)
    return placed[..., :3], placed[..., 3]


def place_mask(footprint: Array, pose: Pose, scale: float, box: tuple[int, int, int, int]) -> Mask:
    """Mask (h, w) bool in a part of an image of a footprint on the canvas."""
    return place(Pillow.fromarray(to_bytes(footprint)), pose, scale, box) >= 128


def to_bytes(values: Array) -> Image:
    """Turn [0, 1] into uint8, rounded and clipped."""
    return np.clip(values * 255 + 0.5, 0, 255).astype(np.uint8)


def light(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Lamp and lens of one shot.

    Returns:
        Factors (h, 1) and (1, w, 3) that multiply to the light on each pixel and colour.
    """
    down, across = np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1])
    gain = rng.uniform(0.82, 1.16)
    slope, tilt = rng.normal(0, 0.07, 2)
    fall = rng.uniform(0.02, 0.08)
    warmth = rng.normal(0, 0.015)
    rows = gain * (1 + np.clip(slope, -0.16, 0.16) * down - fall * down**2)
    columns = 1 + np.clip(tilt, -0.16, 0.16) * across - fall * across**2
    colour = np.array((1 + warmth, 1, 1 - warmth))
    return (
        rows[:, None].astype(np.float32),
        (columns[:, None] * colour)[None].astype(np.float32),
    )


def soften(image: Array, side: float) -> Array:
    """Blur (h, w, 3) by the kernel (side, 1 - 2 side, side) along both axes."""
    padded = np.pad(image, ((1, 1), (0, 0), (0, 0)), "edge")
    image = (1 - 2 * side) * image + side * (padded[:-2] + padded[2:])
    padded = np.pad(image, ((0, 0), (1, 1), (0, 0)), "edge")
    return (1 - 2 * side) * image + side * (padded[:, :-2] + padded[:, 2:])


def expose(rng: np.random.Generator, scene: Array) -> Image:
    """Photograph a scene (h, w, 3) float32 in [0, 1]: light, blur and noise, as uint8."""
    rows, columns = light(rng, scene.shape[:2])
    lit = scene * rows[..., None] * columns
    lit = soften(lit, np.float32(rng.uniform(0.08, 0.22)))
    sigma = np.float32(rng.uniform(0.006, 0.015))
    # Half of the noise is common to the colours, as raw conversion leaves it.
    lit += sigma * 0.7 * rng.standard_normal(scene.shape, np.float32)
    lit += sigma * 0.7 * rng.standard_normal((*scene.shape[:2], 1), np.float32)
    return to_bytes(lit)


def table(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Dark background of the plate view, (h, w, 3) float32."""
    base = np.asarray((0.062, 0.066, 0.074), np.float32) * np.float32(rng.uniform(0.8, 1.25))
    cloud = 1 + 0.10 * smooth_noise(rng, (12, 4), shape)
    return base * cloud[..., None]
