"""Where a part lies in a photo, and the way between the photo and its cut-out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from blemish.types import Image, Map, Mask

APART = 1.5  # pixels of the photo between samples
Points = NDArray[np.float64]  # (n, 2) x, y in pixels; the first pixel's centre is (0.5, 0.5)


@dataclass(frozen=True)
class Frame:
    """What a cut-out looks like.

    Attributes:
        width: Pixels of the cut-out.
        height: Pixels of the cut-out.
        margin: Pixels between the part and the left and right, and the upper and lower border.
    """

    width: int
    height: int
    margin: tuple[int, int] = (0, 0)

    @property
    def part(self) -> tuple[int, int]:
        """Width and height in pixels of the part in the cut-out."""
        return self.width - 2 * self.margin[0], self.height - 2 * self.margin[1]

    @property
    def aspect(self) -> float:
        """Height over width of the part."""
        return self.part[1] / self.part[0]


@dataclass(frozen=True)
class Rectangle:
    """A turned rectangle in a photo.

    Attributes:
        x: Column of the centre in pixels.
        y: Row of the centre in pixels.
        width: Length in pixels of the side that lies across.
        height: Length in pixels of the side that stands upright.
        angle: Clockwise turn in degrees.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float

    @property
    def axes(self) -> Points:
        """(2, 2) unit vectors x, y: to the right along the width, and down along the height."""
        turn = math.radians(self.angle)
        cos, sin = math.cos(turn), math.sin(turn)
        return np.array([(cos, sin), (-sin, cos)])

    @property
    def corners(self) -> Points:
        """(4, 2) in pixels: upper left, upper right, lower right, lower left."""
        signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        corners: Points = signs * (self.width / 2, self.height / 2) @ self.axes + (self.x, self.y)
        return corners

    def matrix(self, frame: Frame) -> NDArray[np.float64]:
        """(2, 3) from pixels of the cut-out to pixels of the photo."""
        steps = np.array([[self.width / frame.part[0]], [self.height / frame.part[1]]]) * self.axes
        centre = np.array((self.x, self.y)) - np.array((frame.width, frame.height)) / 2 @ steps
        return np.column_stack([steps.T, centre])


def to_photo(points: Points, place: Rectangle, frame: Frame) -> Points:
    """Bring points (n, 2) of a cut-out back into its photo."""
    matrix = place.matrix(frame)
    found: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return found


def cut(photo: Image, place: Rectangle, frame: Frame) -> Image:
    """Turn a part upright and bring it to the size of its cut-out, in one resampling.

    Args:
        photo: (H, W, 3) uint8.
        place: Where the part lies.
        frame: Size and margin of the cut-out.

    Returns:
        (h, w, 3) uint8. Each pixel is the mean of the area that it covers; 0 outside the photo.
    """
    return np.asarray(_warp(photo, place, frame))


def cut_mask(mask: Mask, place: Rectangle, frame: Frame) -> Mask:
    """Cut a mask (H, W) bool like its photo; True where half of a pixel is covered."""
    return np.asarray(_warp(mask.view(np.uint8) * np.uint8(255), place, frame)) >= 128


def map_to_photo(anomaly_map: Map, place: Rectangle, frame: Frame, shape: tuple[int, int]) -> Map:
    """Bring the map of a cut-out back into the frame of its photo.

    Args:
        anomaly_map: (h, w) float32, of the size of the cut-out.
        place: Where the part lies.
        frame: Size and margin of the cut-out.
        shape: (H, W) of the photo.

    Returns:
        (H, W) float32; 0 outside the cut-out.
    """
    matrix = np.vstack([place.matrix(frame), (0, 0, 1)])
    corners = np.array([(0, 0), (frame.width, 0), (frame.width, frame.height), (0, frame.height)])
    inside = to_photo(corners.astype(float), place, frame)
    left, top, right, bottom = _bounds(inside, shape)
    back = np.linalg.inv(matrix)
    whole = np.zeros(shape, np.float32)
    if left >= right or top >= bottom:
        return whole
    # To rows and columns, and from centres at 0.5 to the indices that scipy counts.
    shifted = back[:2, :2] @ (left + 0.5, top + 0.5) + back[:2, 2] - 0.5
    ndimage.affine_transform(
        anomaly_map,
        back[1::-1, 1::-1],
        shifted[::-1],
        output=whole[top:bottom, left:right],
        output_shape=(bottom - top, right - left),
        order=1,
        mode="grid-constant",
    )
    return whole


def _warp(pixels: NDArray[np.uint8], place: Rectangle, frame: Frame) -> Pillow.Image:
    matrix = place.matrix(frame)
    # So many samples per pixel that none is further than that from the next, each interpolated
    # between four pixels of the photo; their mean is the area filter.
    each = max(1, math.ceil(float(np.linalg.norm(matrix[:, :2], axis=0).max()) / APART))
    size = (frame.width * each, frame.height * each)
    corners = np.array([(0, 0), (frame.width, 0), (frame.width, frame.height), (0, frame.height)])
    left, top, right, bottom = _bounds(to_photo(corners.astype(float), place, frame), pixels.shape)
    if left >= right or top >= bottom:
        raise ValueError("the cut-out lies outside the photo")
    fine = np.column_stack([matrix[:, :2] / each, matrix[:, 2] - (left, top)])
    part = Pillow.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    linear = Pillow.Resampling.BILINEAR
    warped = part.transform(size, Pillow.Transform.AFFINE, fine.ravel().tolist(), linear)
    return warped.reduce(each) if each > 1 else warped


def _bounds(points: Points, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in whole pixels around points, inside a photo."""
    low, high = np.floor(points.min(0)).astype(int) - 2, np.ceil(points.max(0)).astype(int) + 2
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, (shape[1], shape[0])).tolist()
    return left, top, right, bottom
