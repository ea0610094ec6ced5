"""Pictures for people: the anomaly map painted on its image, outlines, thumbnails, close-ups.

The colours of a map mean the same in every picture: their range comes from the pixel threshold,
which is stored in the detector, and never from the smallest and largest value of one image. A map
of a good part therefore looks calm beside the map of a defective one.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from blemish.errors import ImageError
from blemish.types import Image, Map, Mask, Prediction

LONG_SIDE = 360  # pixels of a thumbnail
LONG_SIDE_STRIP = 480  # of one whose sides differ by more than `STRIP`: it is narrow as it is
STRIP = 2.5
FLAT_COLOURS = 32  # an image of at most so many colours is a drawing, not a photo
SHORTEST = 120  # smaller images are enlarged to about this, pixel by pixel
PREDICTED_COLOUR = (0, 200, 255)
TRUTH_COLOUR = (124, 240, 60)
Box = tuple[slice, slice]  # rows and columns
# From dark to light in even steps of lightness (CIE L* 8 to 95), from cold to hot.
_ANCHORS = (
    (24, 16, 58),
    (84, 24, 122),
    (158, 38, 118),
    (218, 74, 72),
    (246, 140, 40),
    (252, 246, 150),
)
_LIGHTNESS = (7.9, 23.5, 37.8, 52.1, 68.4, 95.5)


@dataclass(frozen=True)
class MapScale:
    """Which map values the first and the last colour stand for.

    Attributes:
        low: Value of the first colour; anything below has this colour too.
        high: Value of the last colour; anything above has this colour too.
        threshold: The pixel threshold, in the middle wherever it is a finite number other than 0.
    """

    low: float
    high: float
    threshold: float

    @classmethod
    def of(cls, pixel_threshold: float) -> MapScale:
        """Make the scale of a detector: 0 to twice the pixel threshold.

        A negative threshold t gives 2t to 0. Without a usable threshold (0, infinite, not a
        number) the scale is 0 to 1.
        """
        twice = 2 * pixel_threshold
        if not math.isfinite(twice) or twice == 0:
            return cls(0.0, 1.0, pixel_threshold)
        return cls(min(0.0, twice), max(0.0, twice), pixel_threshold)

    def positions(self, values: Map) -> Map:
        """Map values to positions in [0, 1] on the colour ramp; NaN goes to 0."""
        position = (values.astype(np.float32) - self.low) / (self.high - self.low)
        known = np.nan_to_num(position, nan=0.0, posinf=1.0, neginf=0.0)
        return np.asarray(known.clip(0, 1), dtype=np.float32)


def colour_ramp() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB: dark violet to light yellow, lightness rising evenly from end to end."""
    at = np.linspace(_LIGHTNESS[0], _LIGHTNESS[-1], 256)
    channels = [np.interp(at, _LIGHTNESS, channel) for channel in zip(*_ANCHORS, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def overlay(image: Image, prediction: Prediction) -> Image:
    """Paint the anomaly map and the outline of the predicted mask onto an image.

    The colour range is fixed by the pixel threshold (:class:`MapScale`), so that the pictures of
    different images compare. Where the map is far below the threshold the image shows in grey.

    Args:
        image: (H, W, 3) uint8 RGB in [0, 255].
        prediction: What the detector said of this image; its map is (H, W).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: The map or the mask is not of the size of the image.
    """
    check_same_frame(image, prediction)
    scale = MapScale.of(prediction.pixel_threshold)
    heated = heat(image, prediction.anomaly_map, scale)
    return outlined(heated, prediction.mask, PREDICTED_COLOUR)


def check_same_frame(image: Image, prediction: Prediction) -> None:
    """Refuse a prediction that belongs to an image of another size.

    Raises:
        ImageError: The map or the mask is not of the size of the image.
    """
    height, width = image.shape[:2]
    for name, array in (("anomaly map", prediction.anomaly_map), ("mask", prediction.mask)):
        if array.shape != (height, width):
            shape = "×".join(str(n) for n in reversed(array.shape))
            raise ImageError(
                f"The {name} of {prediction.key!r} is {shape} pixels, the image {width}×{height}; "
                "pass the image that was given to predict, at its own size."
            )


def heat(image: Image, anomaly_map: Map, scale: MapScale, valid: Mask | None = None) -> Image:
    """Paint a map onto the grey version of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        anomaly_map: (H, W) float32.
        scale: The colour range.
        valid: (H, W) bool; outside, the image is darkened and no colour is painted.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    position = scale.positions(anomaly_map)
    colours = colour_ramp()[(position * 255).round().astype(np.uint8)].astype(np.float32)
    grey = (image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    # Almost clear at 0, 60 % at the threshold, 85 % at the top: the part stays recognisable.
    opacity = np.interp(position, (0, 0.25, 0.5, 1), (0.08, 0.25, 0.6, 0.85))[..., None]
    if valid is not None:
        opacity = np.where(valid[..., None], opacity, 0)
        grey = np.where(valid[..., None], grey, 0.35 * grey)
    return (grey * (1 - opacity) + colours * opacity).round().clip(0, 255).astype(np.uint8)


def outlined(image: Image, mask: Mask, colour: tuple[int, int, int]) -> Image:
    """Draw a line around a mask, outside of it, with a dark edge that shows on any ground.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        colour: RGB in [0, 255].

    Returns:
        (H, W, 3) uint8 RGB; where the mask reaches the border the line runs inside it.
    """
    if not mask.any():
        return image.copy()
    thick = max(2, round(max(mask.shape) / 400))
    line = _grown(mask, thick) & ~mask
    line |= mask & _frame(mask.shape, thick)
    edge = _grown(line, max(1, thick // 2)) & ~line & ~mask
    drawn = image.copy()
    drawn[edge] = drawn[edge] // 4
    drawn[line] = colour
    return drawn


def thumbnail(image: Image) -> Image:
    """Scale an image to the size at which a report shows it: (h, w, 3) uint8."""
    height, width = thumbnail_size(*image.shape[:2])
    if max(height, width) >= max(image.shape[:2]):
        return _enlarged(image, height // image.shape[0])
    small = Pillow.fromarray(image).resize(
        (width, height), Pillow.Resampling.LANCZOS, reducing_gap=3
    )
    return np.asarray(small)


def thumbnail_map(values: Map) -> Map:
    """Scale a map like :func:`thumbnail`, keeping the largest value: no peak is averaged away."""
    return np.asarray(_largest(values), dtype=np.float32)


def thumbnail_mask(mask: Mask) -> Mask:
    """Scale a mask like :func:`thumbnail`; a single marked pixel stays marked."""
    return np.asarray(_largest(mask), dtype=bool)


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a thumbnail: reduced to `LONG_SIDE`, or enlarged by a whole number."""
    long, short = max(height, width), min(height, width)
    limit = LONG_SIDE_STRIP if long > STRIP * short else LONG_SIDE
    if long <= limit:
        factor = max(1, min(round(SHORTEST / short), limit // long)) if short < SHORTEST else 1
        return height * factor, width * factor
    return max(1, round(height * limit / long)), max(1, round(width * limit / long))


def close_up(shape: tuple[int, int], prediction: Prediction, truth: Mask | None) -> Box | None:
    """Choose what to show enlarged: the largest true defect, else the first region, else the peak.

    Args:
        shape: (H, W) of the image.
        prediction: What the detector said of it.
        truth: (H, W) bool ground truth, or None.

    Returns:
        A square of rows and columns, or None where it would show most of the image anyway.
    """
    left, top, right, bottom = _focus(prediction, truth)
    side = min(max(3 * max(right - left, bottom - top), 48, min(shape) // 4), *shape)
    if 2 * side > max(shape):
        return None
    y = min(max((top + bottom - side) // 2, 0), shape[0] - side)
    x = min(max((left + right - side) // 2, 0), shape[1] - side)
    return slice(y, y + side), slice(x, x + side)


def data_uri(image: Image, budget: int) -> str:
    """Write an image as a data URI: PNG for a flat drawing, otherwise JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        budget: Bytes that the file should not exceed; the JPEG quality is lowered until it fits,
            but not below 25 of 100.

    Returns:
        ``data:image/jpeg;base64,…``
    """
    picture = Pillow.fromarray(np.ascontiguousarray(image))
    # Asking first is quick; writing every photo as PNG too would take most of a report's time.
    if picture.getcolors(FLAT_COLOURS) is not None:
        file, kind = _encoded(picture, "PNG"), "png"
    else:
        file, kind = _jpeg(picture, budget), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode('ascii')}"


def _jpeg(picture: Pillow.Image, budget: int) -> bytes:
    file = b""
    for quality in (88, 75, 60, 40, 25):
        # Full colour resolution keeps the outlines sharp; given up where bytes are short.
        file = _encoded(picture, "JPEG", quality=quality, subsampling=0 if quality > 40 else 2)
        if len(file) <= budget:
            break
    return file


def _encoded(picture: Pillow.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _enlarged(array: NDArray[Any], factor: int) -> NDArray[Any]:
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def _largest(values: NDArray[Any]) -> NDArray[Any]:
    """Scale an array to the size of a thumbnail; each pixel is the largest of those it covers."""
    height, width = thumbnail_size(*values.shape)
    if max(height, width) >= max(values.shape):
        return _enlarged(values, height // values.shape[0])
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    # Rows first: they lie one behind the other in memory, and few are left for the columns.
    ends = [*rows[1:], values.shape[0]]
    strips = [values[a:b].max(axis=0) for a, b in zip(rows, ends, strict=True)]
    reduced: NDArray[Any] = np.maximum.reduceat(np.stack(strips), columns, axis=1)
    return reduced


def _grown(mask: Mask, by: int) -> Mask:
    return np.asarray(ndimage.maximum_filter(mask, size=2 * by + 1, mode="constant"), dtype=bool)


def _frame(shape: tuple[int, ...], thick: int) -> Mask:
    frame = np.ones(shape, bool)
    frame[thick:-thick, thick:-thick] = False
    return frame


def _focus(prediction: Prediction, truth: Mask | None) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of what a reader wants to see."""
    if truth is not None and truth.any():
        labels, _ = ndimage.label(truth, structure=np.ones((3, 3)))
        largest = int(np.bincount(labels[truth]).argmax())
        rows, columns = ndimage.find_objects(labels)[largest - 1]
        return columns.start, rows.start, columns.stop, rows.stop
    if prediction.regions:
        return prediction.regions[0].box
    y, x = np.unravel_index(int(prediction.anomaly_map.argmax()), prediction.anomaly_map.shape)
    return int(x), int(y), int(x) + 1, int(y) + 1
