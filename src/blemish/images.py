"""Images in and out: a path, bytes or an array becomes (H, W, 3) uint8 RGB.

The rules, the same for every image and never learned from one:

- Formats are BMP, JPEG, PNG, TIFF and WebP, told by content, not by name. A file is one photo:
  files with several pages or frames are refused.
- EXIF orientation is applied: the image stands as a viewer shows it.
- Grey, 1-bit, palette and CMYK images become RGB. Alpha is dropped and the colour below it kept,
  because compositing would need a background that no camera saw.
- 16-bit grey values v become ``round(255 · v / (2**bit_depth − 1))``; a value above the divisor is
  refused. 16-bit colour files are read by their upper 8 bits, so only with ``bit_depth=16``.
- Floating-point values must lie in [0, 1] and become ``round(255 · v)``.
- Images with more than `max_pixels` pixels are refused by their header, before decoding.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from blemish.errors import ImageError, OptionError
from blemish.files import write_atomically
from blemish.image_files import ImageInfo, check_size, decode, name_of, open_image
from blemish.types import Image, Map, Mask

Source = str | Path | bytes | NDArray[Any]

DEFAULT_MAX_PIXELS = 200_000_000
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Files of these kinds are pictures too, but not read: worth a warning when they lie around.
UNREAD_SUFFIXES = frozenset(
    {".arw", ".avif", ".cr2", ".dng", ".gif", ".heic", ".jfif", ".jp2", ".jxl", ".nef", ".pgm"}
    | {".ppm", ".psd", ".raw", ".svg"}
)


def read_image(
    source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS, bit_depth: int = 16
) -> Image:
    """Read an image by the rules of this module.

    Args:
        source: A path, the bytes of a file, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or
            (H, W, 4) RGBA; uint8, uint16, or floating point in [0, 1].
        max_pixels: Images with more pixels than this are refused.
        bit_depth: Bits in 8…16 that are used in 16-bit images: 12 for many machine cameras.

    Returns:
        (H, W, 3) uint8 RGB in [0, 255], contiguous; never shares memory with `source`.

    Raises:
        ImageError: The file is missing, damaged, of another kind or too large, or the array has
            another shape, type or range.
        OptionError: `max_pixels` or `bit_depth` is out of range.
    """
    _check_limits(max_pixels, bit_depth)
    name = _name(source)
    if isinstance(source, np.ndarray):
        _check_shape(source, name, max_pixels)
        if source.dtype not in (np.uint8, np.uint16) and source.dtype.kind != "f":
            raise ImageError(
                f"{name} is not uint8, uint16 or floating point; convert it to one of them."
            )
        values = source
    else:
        with open_image(source, max_pixels) as (opened, _):
            values = decode(opened, name, bit_depth)
    eight = _to_uint8(values, name, bit_depth)
    eight = eight[..., None] if eight.ndim == 2 else eight[..., :3]
    return np.array(np.broadcast_to(eight, (*eight.shape[:2], 3)), order="C")


def read_mask(source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Mask:
    """Read a mask: every pixel that is not black is defect.

    Any mode is read; alpha says nothing. JPEG masks count from half brightness, because their
    compression leaves small values around the defect.

    Args:
        source: A path, the bytes of a file, or an array of any number type.
        max_pixels: Masks with more pixels than this are refused.

    Returns:
        (H, W) bool, contiguous.

    Raises:
        ImageError: The mask cannot be read.
    """
    name, lowest = _name(source), 1
    if isinstance(source, np.ndarray):
        _check_shape(source, name, max_pixels)
        values = source
    else:
        with open_image(source, max_pixels) as (opened, info):
            # Pillow keeps the upper 8 bits of 16-bit colour: there a mask of ones would be empty.
            values = decode(opened, name, bit_depth=0)
            lowest = 128 if info.format == "JPEG" else 1
    colour = values if values.ndim == 2 else values[..., :3].max(axis=2)
    marked: Mask = (colour >= lowest) if lowest > 1 else (colour != 0)
    return np.ascontiguousarray(marked)


def read_info(source: str | Path | bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageInfo:
    """Read what the header says, without decoding pixels.

    Raises:
        ImageError: Missing, not an image, several pages, or larger than `max_pixels`.
    """
    with open_image(source, max_pixels) as (_, info):
        return info


def read_tiff(path: str | Path) -> Map:
    """Read a raw map that :func:`write_tiff` wrote, as (H, W) float32.

    Raises:
        ImageError: Not a TIFF file of one floating-point channel.
    """
    with open_image(path, DEFAULT_MAX_PIXELS) as (opened, info):
        if info.mode != "F":
            raise ImageError(f"{path} holds no floating-point map but pixels of mode {info.mode}.")
        return np.array(opened, np.float32)


def write_png(path: str | Path, image: Image | Mask) -> Path:
    """Write a PNG file, whole or not at all; see :func:`to_png_bytes`."""
    return write_atomically(path, to_png_bytes(image))


def to_png_bytes(image: Image | Mask) -> bytes:
    """Encode as PNG, for files and for ``data:`` addresses in reports.

    Args:
        image: (H, W, 3) uint8 RGB, (H, W, 4) uint8 RGBA, (H, W) uint8 grey, or (H, W) bool, where
            True becomes white.

    Raises:
        ImageError: Another shape or type.
    """
    pixels = image.astype(np.uint8) * 255 if image.dtype == bool else image
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or not pixels.size:
        raise ImageError(
            f"An array of shape {image.shape} and type {image.dtype} cannot become a PNG file; "
            "give (H, W, 3) uint8 RGB, (H, W) uint8 or (H, W) bool."
        )
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tiff(path: str | Path, map: Map) -> Path:
    """Write an (H, W) anomaly map as a float32 TIFF file, bit for bit, whole or not at all.

    Raises:
        ImageError: The array is not (H, W).
    """
    if map.ndim != 2 or not map.size:
        raise ImageError(f"A map is (H, W); this array has the shape {map.shape}.")
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(map, np.float32)).save(buffer, "TIFF")
    return write_atomically(path, buffer.getvalue())


def is_image_name(path: Path) -> bool:
    """Whether the name ends like an image that :func:`read_image` reads, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _name(source: Source) -> str:
    if isinstance(source, np.ndarray):
        return f"The array of shape {source.shape} and type {source.dtype}"
    return name_of(source)


def _check_limits(max_pixels: int, bit_depth: int) -> None:
    if max_pixels < 1:
        raise OptionError(f"max_pixels={max_pixels} is below the smallest value 1.")
    if not 8 <= bit_depth <= 16:
        raise OptionError(f"bit_depth={bit_depth} is not one of 8 to 16 bits.")


def _check_shape(array: NDArray[Any], name: str, max_pixels: int) -> None:
    if array.ndim not in (2, 3) or not array.size or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ImageError(
            f"{name} is not an image: the shape must be (H, W), (H, W, 1), (H, W, 3) RGB or "
            "(H, W, 4) RGBA, channels last and no batch."
        )
    check_size(array.shape[1], array.shape[0], name, max_pixels)


def _to_uint8(values: NDArray[Any], name: str, bit_depth: int) -> NDArray[np.uint8]:
    """Scale by a fixed divisor that depends on the number type alone."""
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise ImageError(
                f"{name} has floating-point values from {low} to {high}; they must be finite and "
                "in [0, 1], where 1 is white. Divide by a fixed white value."
            )
        eight: NDArray[np.uint8] = np.rint(np.float32(255) * values).astype(np.uint8)
        return eight
    divisor = 2**bit_depth - 1
    if low < 0 or high > divisor:
        raise ImageError(
            f"{name} has values from {low} to {high}, outside 0 to {divisor} of "
            f"bit_depth={bit_depth}; give the bit depth of the camera, at most 16."
        )
    scaled: NDArray[np.uint8] = ((values.astype(np.uint32) * 255 + divisor // 2) // divisor).astype(
        np.uint8
    )
    return scaled
