"""Images in: a path, bytes or an array becomes (H, W, 3) uint8 RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from blemish.errors import ImageError
from blemish.types import Image, Mask

DEFAULT_MAX_PIXELS = 200_000_000


def read_image(
    source: str | Path | bytes | NDArray[np.generic],
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    bit_depth: int = 16,
) -> Image:
    """Read an image. Draft: to be replaced with the full set of formats and checks."""
    if isinstance(source, np.ndarray):
        return np.ascontiguousarray(source, dtype=np.uint8)
    try:
        with Pillow.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ImageError(f"{source!r} cannot be read: {error}") from error


def read_mask(source: Path) -> Mask:
    """Read a mask as (H, W) bool; non-zero = defect. Draft."""
    with Pillow.open(source) as opened:
        return np.asarray(opened.convert("L")) > 0
