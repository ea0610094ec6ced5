"""The options that belong to the detector, whatever the method: geometry, calibration, resources.

Their names are reserved: no method may have an option of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish import options
from blemish.errors import OptionError
from blemish.images import DEFAULT_MAX_PIXELS, read_mask
from blemish.options import option
from blemish.preprocess import RESAMPLING, Fit, Geometry, auto_size


@dataclass(frozen=True)
class Settings:
    """Options of every detector."""

    image_size: str = option(
        "auto",
        "Working resolution: N, WIDTHxHEIGHT, auto (the images' own up to 0.3 Mpx), or auto:N "
        "(their aspect, at most N x N pixels in all).",
    )
    fit: str = option(
        "pad", "Keep the aspect ratio and pad, or stretch.", choices=("pad", "stretch")
    )
    interpolation: str = option(
        "bilinear", "How images are resized, antialiased.", choices=tuple(RESAMPLING)
    )
    crop: tuple[float, ...] = option(
        (0.0, 0.0, 1.0, 1.0), "Left,top,right,bottom as shares of the image.", low=0, high=1
    )
    tile: int = option(0, "Side of square tiles in pixels at working resolution; 0 = none.", low=0)
    overlap: float = option(0.25, "Share of a tile that it has in common with the next.", high=0.9)
    roi: str | None = option(None, "Mask image of the region of interest: non-zero = inspect.")
    augmentation: str = option(
        "none",
        "Changes to good training images: none, thesis, aligned (or on), pixel_only, or one of "
        "them alone, such as aligned:rotate.",
    )
    augmentation_copies: int = option(
        4, "Changed copies of each good image, for methods that look once (patchcore).", low=1
    )
    calibration_share: float = option(
        0.2, "Share of the good training parts held out for calibration.", low=0.01, high=0.99
    )
    calibration: str = option(
        "auto",
        "Calibrate on parts that are held out (split), or, by several fits, on every part once "
        "(cross); auto = cross below 100 parts, where fits are cheap.",
        choices=("auto", "split", "cross"),
    )
    folds: int = option(5, "Fits of calibration=cross; as many as parts = leave one out.", low=2)
    false_alarms: float = option(0.05, "Accepted share of good parts that are flagged.")
    pixel_false_alarms: float | None = option(
        None, "Accepted share for the pixel threshold; none = as false_alarms."
    )
    pixel_rule: str = option(
        "images",
        "The share is of good images with any pixel above, or of all their pixels.",
        choices=("images", "pixels"),
    )
    seed: int = option(0, "Seed of the calibration split and of the method.", low=0)
    device: str = option("auto", "Where networks run: auto, cpu, cuda, …")
    precision: str = option("auto", "Precision of networks.", choices=("auto", "32", "bf16"))
    batch_size: int = option(8, "Views per batch.", low=1)
    max_pixels: int = option(DEFAULT_MAX_PIXELS, "Larger images are refused.", low=1)
    bit_depth: int = option(16, "Bits used in 16-bit images.", low=8, high=16)


def split_options(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part options into those of the detector and those of the method."""
    reserved = set(options.names(Settings))
    own = {name: value for name, value in values.items() if name in reserved}
    return own, {name: value for name, value in values.items() if name not in reserved}


def make_geometry(
    settings: Settings,
    shapes: list[tuple[int, int]],
    multiple: int,
    default_size: tuple[int, int] | None,
) -> Geometry:
    """Decide on the one geometry of a detector.

    Args:
        settings: What the user asked for.
        shapes: (H, W) of some training images.
        multiple: What the method needs both sides of a view to be a multiple of.
        default_size: (height, width) that the method works at unless told otherwise.

    Raises:
        OptionError: The size cannot be read, or the crop is not four numbers.
        DataError: The region of interest is empty.
    """
    if len(settings.crop) != 4:
        raise OptionError(f"crop={settings.crop} needs four numbers: left,top,right,bottom.")
    left, top, right, bottom = settings.crop
    cropped = [(round(h * (bottom - top)), round(w * (right - left))) for h, w in shapes]
    size = _read_size(settings.image_size, cropped, default_size)
    fit: Fit = "stretch" if settings.fit == "stretch" else "pad"
    return Geometry(
        size=size,
        fit=fit,
        interpolation=settings.interpolation,
        crop=(left, top, right, bottom),
        tile=settings.tile,
        overlap=settings.overlap,
        multiple=multiple,
        roi=None if settings.roi is None else read_mask(settings.roi),
    )


def _read_size(
    text: str, shapes: list[tuple[int, int]], default_size: tuple[int, int] | None
) -> tuple[int, int]:
    """(height, width) of "N", "WIDTHxHEIGHT", "auto" or "auto:N" for images of these shapes."""
    if text == "auto":
        return default_size or auto_size(shapes)
    found = re.fullmatch(r"(auto:)?(\d+)(?:[x×](\d+))?", text.strip().lower())
    if not found or int(found[2]) < 1 or int(found[3] or 1) < 1 or (found[1] and found[3]):
        raise OptionError(
            f"image_size={text!r} is not N, WIDTHxHEIGHT, auto or auto:N; such as 256x512."
        )
    if found[1]:
        return auto_size(shapes, multiple=8, pixels=int(found[2]) ** 2)
    return int(found[3] or found[2]), int(found[2])
