"""Image files: one decoder chosen by content, one header check, one kind of error.

The layer below :mod:`blemish.images`, which holds the rules for colours and ranges.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from blemish.errors import ImageError

_FORMATS: tuple[tuple[str, bytes, type[ImageFile]], ...] = (
    ("PNG", rb"\x89PNG\r\n\x1a\n", PngImageFile),
    ("JPEG", rb"\xff\xd8\xff", JpegImageFile),
    ("BMP", rb"BM", BmpImageFile),
    ("TIFF", rb"II[*+]\x00|MM\x00[*+]", TiffImageFile),
    ("WebP", rb"RIFF....WEBP", WebPImageFile),
)
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {  # EXIF orientation to numpy
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: np.rot90,
}
# To RGBA where transparency could come along: dropping it is left to one place.
_CONVERTED = {
    "1": "L",
    "LA": "L",
    "La": "LA",
    "P": "RGBA",
    "PA": "RGBA",
    "RGBa": "RGBA",
} | dict.fromkeys(("CMYK", "YCbCr", "HSV", "RGBX"), "RGB")
_BITS = {"1": 1, "I": 32, "F": 32}


@dataclass(frozen=True)
class ImageInfo:
    """What the header of an image file says.

    Attributes:
        width: Pixels, before EXIF orientation is applied.
        height: Pixels, before EXIF orientation is applied.
        format: ``"BMP"``, ``"JPEG"``, ``"PNG"``, ``"TIFF"`` or ``"WebP"``.
        mode: Pillow's name of the pixel format, such as ``"RGB"`` or ``"I;16"``.
        bits: Bits per channel: 1, 8, 16 or 32.
    """

    width: int
    height: int
    format: str
    mode: str
    bits: int


def name_of(source: str | Path | bytes) -> str:
    """Say in a message what was read."""
    return f"The image of {len(source)} bytes" if isinstance(source, bytes) else str(source)


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        ImageError: More pixels than `max_pixels`.
    """
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}×{height} = {width * height:,} pixels, more than the limit "
            f"max_pixels={max_pixels:,}; raise max_pixels if the image is meant to be so large."
        )


@contextmanager
def open_image(
    source: str | Path | bytes, max_pixels: int
) -> Iterator[tuple[ImageFile, ImageInfo]]:
    """Open a file with the one decoder that its first bytes ask for, and check its header.

    Args:
        source: A path, or the bytes of a file.
        max_pixels: Images with more pixels than this are refused before they are decoded.

    Yields:
        The opened file, not yet decoded, and what its header says.

    Raises:
        ImageError: Missing, a folder, empty, of another kind, several pages, too large; and
            whatever a decoder raises on damaged content, here or in the body.
    """
    name = name_of(source)
    try:
        with _stream(source, name) as stream, _decoder(stream, name)(stream) as opened:
            check_size(*opened.size, name, max_pixels)
            if (pages := getattr(opened, "n_frames", 1)) > 1:
                raise ImageError(
                    f"{name} holds {pages} pages, and a file must be one photo; save each page as "
                    "a file of its own."
                )
            with _beyond_the_guard_of_pillow(opened.width * opened.height):
                yield opened, _info(opened)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything from SyntaxError to struct.error
        raise ImageError(
            f"{name} is damaged or truncated ({type(error).__name__}: {error}); copy or save it "
            "again, or take it out."
        ) from error


def _stream(source: str | Path | bytes, name: str) -> BinaryIO:
    """Open a path or bytes for reading, with one sentence where that fails."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    if path.is_dir():
        raise ImageError(f"{name} is a folder, not an image; name the images in it.")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be opened: {error}; check its permissions.") from error


def _decoder(stream: BinaryIO, name: str) -> type[ImageFile]:
    """Choose the decoder by the first bytes. Pillow's own choice would try all its formats."""
    first = stream.read(16)
    stream.seek(0)
    if not first:
        raise ImageError(f"{name} is empty (0 bytes); copy or save it again, or take it out.")
    for _, magic, decoder in _FORMATS:
        if re.match(magic, first, re.DOTALL):
            return decoder
    known = ", ".join(kind for kind, _, _ in _FORMATS)
    raise ImageError(
        f"{name} is not an image of a known format ({known}); it begins with {first[:8]!r}. "
        "Convert it, or take it out."
    )


def _info(opened: ImageFile) -> ImageInfo:
    kind = next(kind for kind, _, decoder in _FORMATS if isinstance(opened, decoder))
    bits = 16 if _has_16_bits(opened) else _BITS.get(opened.mode, 8)
    return ImageInfo(opened.width, opened.height, kind, opened.mode, bits)


def _has_16_bits(opened: ImageFile) -> bool:
    """Whether the file has 16 bits per channel; Pillow hides that of colour files."""
    if opened.mode.startswith("I;16"):
        return True
    # The raw mode of a tile is like "RGB;16B"; BMP has a "BGR;16" too, of 5 or 6 bits per channel.
    raw = " ".join(re.findall(r"\w+;16[BLN]?\b", str([tile[3] for tile in opened.tile])))
    return bool(raw) and not isinstance(opened, BmpImageFile)


_guard = threading.Lock()
_unguarded = 0
_usual_limit = Pillow.MAX_IMAGE_PIXELS


@contextmanager
def _beyond_the_guard_of_pillow(pixels: int) -> Iterator[None]:
    """Lift Pillow's own limit where ours allowed more; it is global, so only while needed."""
    global _unguarded, _usual_limit
    with _guard:
        limit = _usual_limit if _unguarded else Pillow.MAX_IMAGE_PIXELS
        beyond = limit is not None and pixels > limit
        if beyond:
            _usual_limit, Pillow.MAX_IMAGE_PIXELS = limit, None
            _unguarded += 1
    if not beyond:
        yield
        return
    try:
        yield
    finally:
        with _guard:
            _unguarded -= 1
            if not _unguarded:
                Pillow.MAX_IMAGE_PIXELS = _usual_limit


def decode(opened: ImageFile, name: str, bit_depth: int) -> NDArray[Any]:
    """Decode to (H, W) or (H, W, C), upright, in the file's own number type.

    Args:
        opened: From :func:`open_image`.
        name: What messages call it.
        bit_depth: Bits used in 16-bit images; 0 where every bit counts, as in masks.

    Returns:
        Grey as (H, W) uint8, uint16, int32 or float32, colour as (H, W, 3) or (H, W, 4) uint8.

    Raises:
        ImageError: A kind of pixel that cannot be read faithfully.
    """
    mode = opened.mode
    if _has_16_bits(opened) and not mode.startswith("I") and bit_depth != 16:
        raise ImageError(
            f"{name} has 16 bits per colour channel, of which only the upper 8 are read, so it "
            "cannot be a mask or have bit_depth below 16; save it as 16-bit grey or as 8-bit."
        )
    opened.load()
    turn = _orientation(opened)
    image: Pillow.Image = opened
    if mode in _CONVERTED:
        image = image.convert(_CONVERTED[mode])
    elif mode not in ("L", "RGB", "RGBA", "F") and not mode.startswith("I"):
        raise ImageError(f"{name} has pixels of the kind {mode!r}; save it as RGB or grey.")
    if image.mode == "LA":
        image = image.convert("L")
    values = np.asarray(image)
    return _TURNS[turn](values) if turn in _TURNS else values


def _orientation(opened: ImageFile) -> int:
    try:
        return int(opened.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF beside sound pixels is no reason to refuse a photo
        return 1
