"""A plate photographed as it lies on a bench: turned, lit unevenly, with clutter around it.

The bench is drawn coarsely and enlarged, since it is out of focus; the plate is drawn at the
resolution of the photo. Clutter keeps clear of the plate, unless a photo with a covered plate is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from blemish.datasets.drawing.camera import (
    Pose,
    Shot,
    expose,
    place_mask,
    place_plate,
    to_bytes,
)
from blemish.datasets.drawing.defects import Defect, footprint
from blemish.datasets.drawing.plate import BODY, OUTLINE, TABS, Canvas
from blemish.datasets.drawing.shapes import bend, smooth_noise
from blemish.types import Image, Mask

Size = tuple[int, int]  # width, height in pixels
Points = NDArray[np.float64]  # (n, 2) x, y in pixels
Colour = tuple[int, int, int]
MAX_TURN = 10.0  # degrees
CLEARANCE = 22.0  # units between the plate and the nearest clutter
_BENCH_PIXELS = 1200  # of the longer side of the coarse bench
_BENCHES = ((96, 122, 148), (128, 130, 132), (98, 132, 112), (150, 145, 130))


def sample_pose(rng: np.random.Generator, size: Size) -> Pose:
    """Draw where a plate lies: wholly inside the photo, turned by at most 10 degrees."""
    left, top, right, bottom = OUTLINE
    angle = float(rng.uniform(-MAX_TURN, MAX_TURN))
    cos, sin = np.cos(np.deg2rad(abs(angle))), np.sin(np.deg2rad(abs(angle)))
    width = (right - left) * cos + (bottom - top) * sin
    height = (bottom - top) * cos + (right - left) * sin
    limits = (size[0] / width, size[1] / height)
    scale = float(min(limits) * rng.uniform(0.86, 0.95))
    room = [0.5 - 0.5 * scale / limit - 0.015 for limit in limits]
    shift = rng.uniform(-1, 1, 2) * room
    return Pose(size[0] * float(0.5 + shift[0]), size[1] * float(0.5 + shift[1]), angle, scale)


def draw_photo(
    rng: np.random.Generator,
    canvas: Canvas,
    pose: Pose,
    size: Size,
    shot: Shot,
    covered: str | None = None,
) -> Image:
    """Draw a photo.

    Args:
        rng: Of bench and clutter.
        canvas: The plate, drawn at the scale of the pose.
        pose: Where the plate lies.
        size: Width and height in pixels.
        shot: Light, blur and noise.
        covered: ``"anode"`` or ``"cathode"`` to lay something across that end of the plate.

    Returns:
        (H, W, 3) uint8.
    """
    bench = _bench(rng, pose, size)
    scene = bench.resize(size, Pillow.Resampling.BICUBIC)
    box = _bounds(pose, size)
    colours, alpha = place_plate(canvas, pose, box)
    scene.paste(colours, box[:2], alpha)
    if covered:
        _cover(rng, scene, pose, covered)
    return expose(shot, np.asarray(scene))


def photo_mask(defect: Defect, pose: Pose, size: Size) -> Mask:
    """Mask (H, W) bool of a defect in a photo."""
    mask = np.zeros((size[1], size[0]), bool)
    left, top, right, bottom = box = _bounds(pose, size)
    mask[top:bottom, left:right] = place_mask(footprint(defect, pose.scale), pose, pose.scale, box)
    return mask


def _bounds(pose: Pose, size: Size) -> tuple[int, int, int, int]:
    """Upright box in pixels around the plate."""
    low, high = pose.corners.min(0) - 2, pose.corners.max(0) + 2
    left, top = (max(int(value), 0) for value in low)
    right, bottom = (min(int(value) + 1, limit) for value, limit in zip(high, size, strict=True))
    return left, top, right, bottom


def _bench(rng: np.random.Generator, pose: Pose, size: Size) -> Pillow.Image:
    """The bench with clutter and the shadow of the plate, at a coarse resolution."""
    ratio = min(1.0, _BENCH_PIXELS / max(size))
    width, height = (max(round(side * ratio), 1) for side in size)
    # The pose in the coarse picture, from which clutter keeps clear.
    coarse = Pose(pose.x * ratio, pose.y * ratio, pose.angle, pose.scale * ratio)
    base = np.asarray(_BENCHES[rng.integers(len(_BENCHES))]) * rng.uniform(0.9, 1.1) / 255
    cloud = 1 + 0.05 * smooth_noise(rng, (6, 4), (height, width))
    cloud += 0.02 * smooth_noise(rng, (height // 3, width // 3), (height, width))
    bands = [Pillow.fromarray(to_bytes(cloud * np.float32(value))) for value in base]
    picture = Pillow.merge("RGB", bands)
    for _ in range(rng.integers(7, 13)):
        _add_clutter(rng, picture, coarse)
    _shadow(picture, lambda pen: _silhouette(pen, coarse), 4 * coarse.scale)
    return picture.filter(ImageFilter.GaussianBlur(1.0))


def _silhouette(pen: ImageDraw.ImageDraw, pose: Pose) -> None:
    """Fill body and tabs, moved a little away from the light."""
    for left, top, right, bottom in (BODY, *TABS):
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        moved = points @ pose.matrix[:2, :2].T + pose.matrix[:2, 2] + 2.5 * pose.scale
        pen.polygon(_flat(moved), fill=150)


def _add_clutter(rng: np.random.Generator, picture: Pillow.Image, pose: Pose) -> None:
    """Draw one thing that keeps clear of the plate, where there is room for it."""
    draw = _THINGS[rng.integers(len(_THINGS))]
    seed = int(rng.integers(2**63))
    for _ in range(20):
        centre = rng.uniform((0, 0), picture.size)
        angle = float(rng.uniform(0, np.pi))
        points = draw(np.random.default_rng(seed), None, centre, angle, pose.scale)
        if _clear(points, pose):
            draw(np.random.default_rng(seed), picture, centre, angle, pose.scale)
            return


def _clear(points: Points, pose: Pose) -> bool:
    """Tell whether no point lies on the plate or close to it."""
    back = np.linalg.inv(pose.matrix)
    units = points @ back[:2, :2].T + back[:2, 2]
    low, high = np.array(OUTLINE[:2]) - CLEARANCE, np.array(OUTLINE[2:]) + CLEARANCE
    return not ((units > low) & (units < high)).all(1).any()


def _cover(rng: np.random.Generator, scene: Pillow.Image, pose: Pose, end: str) -> None:
    """Lay a slip of paper across one end of the plate, in place."""
    x, y = (
        rng.choice((OUTLINE[0], OUTLINE[2])),
        OUTLINE[1] + 60 if end == "anode" else OUTLINE[3] - 60,
    )
    centre = pose.matrix[:2, :2] @ (x, y) + pose.matrix[:2, 2]
    reach = round(170 * pose.scale)
    left, top = (max(int(value) - reach, 0) for value in centre)
    picture = scene.crop((left, top, left + 2 * reach, top + 2 * reach))
    angle = float(np.deg2rad(pose.angle) + rng.uniform(-0.7, 0.7))
    _slip(rng, picture, centre - (left, top), angle, pose.scale)
    scene.paste(picture, (left, top))


def _flat(points: Points) -> list[float]:
    return [float(value) for value in points.ravel()]


def _shadow(
    picture: Pillow.Image, draw: Callable[[ImageDraw.ImageDraw], None], blur: float
) -> None:
    """Darken what a shape, drawn in grey levels, keeps from the light."""
    mask = Pillow.new("L", picture.size)
    draw(ImageDraw.Draw(mask))
    picture.paste((12, 12, 14), (0, 0), mask.filter(ImageFilter.GaussianBlur(blur)))


def _rectangle(centre: Points, angle: float, half: tuple[float, float]) -> Points:
    """Corners of a turned rectangle, (4, 2)."""
    along = np.array((np.cos(angle), np.sin(angle)))
    across = np.array((-along[1], along[0]))
    signs = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)))
    corners: Points = centre + signs[:, :1] * half[0] * along + signs[:, 1:] * half[1] * across
    return corners


def _between(points: Points, count: int = 24) -> Points:
    """Points along a closed outline, so that none of its sides can jump over the plate."""
    ends = np.roll(points, -1, 0)
    steps = np.linspace(0, 1, count)[:, None, None]
    return ((1 - steps) * points + steps * ends).reshape(-1, 2)


def _slip(
    rng: np.random.Generator,
    picture: Pillow.Image | None,
    centre: Points,
    angle: float,
    scale: float,
) -> Points:
    """A slip of paper with lines of writing."""
    half = (rng.uniform(60, 100) * scale, rng.uniform(35, 60) * scale)
    corners = _rectangle(centre, angle, half)
    level = int(rng.integers(190, 225))
    lengths = rng.uniform(0.3, 0.85, 5)
    if picture is not None:
        _shadow(picture, lambda pen: pen.polygon(_flat(corners + 2 * scale), fill=120), 3 * scale)
        pen = ImageDraw.Draw(picture)
        pen.polygon(_flat(corners), fill=(level, level, level - 10))
        side, down = corners[1] - corners[0], corners[3] - corners[0]
        for row, length in enumerate(lengths):
            start = corners[0] + 0.08 * side + (0.16 + 0.16 * row) * down
            line = np.stack((start, start + length * side))
            pen.line(_flat(line), fill=(90, 92, 110), width=max(round(2 * scale), 1))
    return _between(corners)


def _ruler(
    rng: np.random.Generator,
    picture: Pillow.Image | None,
    centre: Points,
    angle: float,
    scale: float,
) -> Points:
    """A steel rule with its marks."""
    half = (rng.uniform(150, 260) * scale, 13 * scale)
    corners = _rectangle(centre, angle, half)
    level = int(rng.integers(165, 205))
    if picture is not None:
        _shadow(picture, lambda pen: pen.polygon(_flat(corners + 2 * scale), fill=130), 3 * scale)
        pen = ImageDraw.Draw(picture)
        pen.polygon(_flat(corners), fill=(level, level, level + 4))
        side, down = corners[1] - corners[0], corners[3] - corners[0]
        for mark in range(1, 50):
            start = corners[0] + mark / 50 * side
            depth = 0.5 if mark % 5 == 0 else 0.28
            pen.line(_flat(np.stack((start, start + depth * down))), fill=(60, 60, 64))
    return _between(corners)


def _cable(
    rng: np.random.Generator,
    picture: Pillow.Image | None,
    centre: Points,
    angle: float,
    scale: float,
) -> Points:
    """A bent cable."""
    along = np.array((np.cos(angle), np.sin(angle))) * rng.uniform(160, 380) * scale
    middle = centre + rng.normal(0, 120, 2) * scale
    ends = (centre - along).tolist(), (centre + along).tolist()
    points = bend(ends[0], middle.tolist(), ends[1], 60).astype(float)
    width = float(rng.uniform(5, 10) * scale)
    colour = _CABLES[rng.integers(len(_CABLES))]
    if picture is not None:
        path = [(float(x), float(y)) for x, y in points]
        thick = max(round(width), 1)
        _shadow(picture, lambda pen: _line(pen, path, 140, thick, 2 * scale), 2.5 * scale)
        pen = ImageDraw.Draw(picture)
        _line(pen, path, colour, thick, 0)
        light = tuple(min(level + 45, 255) for level in colour)
        _line(pen, path, light, max(round(0.25 * width), 1), -0.2 * width)
    return points


def _line(
    pen: ImageDraw.ImageDraw,
    path: list[tuple[float, float]],
    fill: int | tuple[int, ...],
    width: int,
    shift: float,
) -> None:
    pen.line([(x + shift, y + shift) for x, y in path], fill=fill, width=width, joint="curve")


def _screw(
    rng: np.random.Generator,
    picture: Pillow.Image | None,
    centre: Points,
    angle: float,
    scale: float,
) -> Points:
    """The head of a screw, or a washer."""
    radius = float(rng.uniform(9, 19) * scale)
    level, hole = int(rng.integers(130, 190)), bool(rng.random() < 0.4)
    if picture is not None:
        _shadow(picture, lambda pen: _disc(pen, centre + 2 * scale, radius, 150), 2.5 * scale)
        pen = ImageDraw.Draw(picture)
        _disc(pen, centre, radius, (level - 35, level - 35, level - 30))
        _disc(pen, centre - 0.06 * radius, 0.88 * radius, (level, level, level + 5))
        if hole:
            _disc(pen, centre, 0.5 * radius, (66, 68, 70))
        else:
            slot = _rectangle(centre, angle, (0.7 * radius, 0.12 * radius))
            pen.polygon(_flat(slot), fill=(52, 52, 55))
    return _between(_rectangle(centre, 0, (radius, radius)))


def _disc(
    pen: ImageDraw.ImageDraw, centre: Points, radius: float, fill: int | tuple[int, ...]
) -> None:
    x, y = (float(value) for value in centre)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


_CABLES: tuple[Colour, ...] = ((42, 44, 48), (150, 48, 40), (44, 74, 130), (190, 160, 60))
_THINGS = (_slip, _ruler, _cable, _cable, _screw, _screw, _screw)
