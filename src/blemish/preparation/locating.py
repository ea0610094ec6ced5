"""Find the one part in a photo, or say in one sentence why not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from blemish.errors import OptionError
from blemish.options import build, option
from blemish.preparation.outline import LEAST, Outline, find_outlines, shrink_factor
from blemish.preparation.placement import Frame, Rectangle
from blemish.preparation.sides import Sides, fit_sides
from blemish.types import Image

TWIN = 0.5  # something of a part's shape and of this share of its area is a second part
LEAST_SEEN = 0.5  # share of the two better seen sides, on average


@dataclass(frozen=True)
class CropOptions:
    """How parts are cut out, and what is accepted."""

    size: str = option("240x1200", "Width x height of the cut-out in pixels.")
    margin: str = option(
        "0x0", "Width x height in pixels of the border around the part in its cut-out."
    )
    max_angle: float = option(15.0, "Degrees that a part may be turned by.", low=0, high=45)
    aspect: float = option(
        0.1, "Share that its aspect ratio may differ from the cut-out's.", low=0, high=1
    )
    area: float = option(
        0.15, "Share that its area may differ from the median of all photos.", low=0, high=1
    )
    filled: float = option(
        0.015,
        "What the share of its rectangle that it fills may differ from the median.",
        low=0,
        high=1,
    )
    seen: float = option(
        0.03, "What the seen share of a side may be below the median of all photos.", low=0, high=1
    )

    @property
    def frame(self) -> Frame:
        """Size and margin of the cut-outs.

        Raises:
            OptionError: A size that is none, or a margin that leaves nothing.
        """
        width, height = _pair("size", self.size)
        across, down = _pair("margin", self.margin)
        if 2 * across >= width or 2 * down >= height or not width * height:
            raise OptionError(
                f"size={self.size} with margin={self.margin} leaves no room for the part; take a "
                "larger size or a smaller margin."
            )
        return Frame(width, height, (across, down))


def read_crop_options(**values: Any) -> CropOptions:
    """Options from values that may be text.

    Raises:
        UnknownNameError: No such option; the nearest name is offered.
        OptionError: A value that an option cannot take.
    """
    options = build(CropOptions, values, "prepare crop")
    _ = options.frame  # says now what is wrong with it
    return options


@dataclass(frozen=True)
class Found:
    """What was found in a photo.

    Attributes:
        reason: Why the photo is rejected, in one sentence; empty for an accepted one.
        place: Where the part lies; None where nothing like a part was found.
        area: Pixels of the photo inside its outline.
        filled: Share of the smallest rectangle that its outline fills.
        seen: Share of each side on which an edge was found: top, right, bottom, left.
    """

    reason: str = ""
    place: Rectangle | None = None
    area: float = 0.0
    filled: float = 0.0
    seen: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


def locate(photo: Image, options: CropOptions) -> Found:
    """Find the one part in a photo (H, W, 3) uint8; the reason is empty where it is accepted."""
    frame = options.frame
    # Colour comes second: it may leave out what covers a part, which edges never do.
    outlines = find_outlines(photo) or find_outlines(photo, by_colour=True)
    if not outlines:
        return Found(
            f"no part found: nothing that covers {LEAST:.0%} of the photo stands out from its "
            "ground; take the photo on a ground of another colour."
        )
    outlines = [replace(o, place=upright(o.place, frame)) for o in outlines]
    part = outlines[0]
    found = Found("", part.place, part.area, part.filled)
    if reason := _complaint(outlines, frame, options):
        return replace(found, reason=reason)
    sides = fit_sides(photo, part.place, shrink_factor(photo.shape))
    found = replace(found, place=sides.place, seen=sides.seen)
    return replace(found, reason=_off_aspect(sides.place, frame, options) or _unseen(sides))


def upright(place: Rectangle, frame: Frame) -> Rectangle:
    """Say the same rectangle as a part that is turned as little as its aspect ratio allows."""
    lying = Rectangle(place.x, place.y, place.height, place.width, place.angle - 90)
    turned = [replace(p, angle=(p.angle + 90) % 180 - 90) for p in (place, lying)]
    # Wrong by the same factor, the aspect ratio of a square says nothing.
    return min(turned, key=lambda p: (round(_misfit(p, frame), 1), abs(p.angle)))


def _misfit(place: Rectangle, frame: Frame) -> float:
    ratio = place.height / place.width / frame.aspect
    return max(ratio, 1 / ratio)


def _complaint(outlines: list[Outline], frame: Frame, options: CropOptions) -> str:
    """What is wrong with the outlines, largest first."""
    part, others = outlines[0], outlines[1:]
    alike = [
        other
        for other in others
        if other.area >= TWIN * part.area and _misfit(other.place, frame) <= 1 + 2 * options.aspect
    ]
    if alike:
        return (
            f"{1 + len(alike)} parts in one photo, at {_at(part)} and {_at(alike[0])}; take one "
            "photo of each, or cover the other."
        )
    if part.at_border:
        return (
            f"the part at {_at(part)} is cut by the border of the photo; take the photo again with "
            "the whole part in it."
        )
    angle = part.place.angle
    if abs(angle) > options.max_angle:
        return (
            f"the part is turned by {angle:.0f}°, more than max_angle={options.max_angle:g}; turn "
            "the photo, or allow more."
        )
    return _off_aspect(part.place, frame, options)


def _off_aspect(place: Rectangle, frame: Frame, options: CropOptions) -> str:
    if _misfit(place, frame) <= 1 + options.aspect:
        return ""
    return (
        f"what was found is {place.height / place.width:.2f} times as high as wide, but the part "
        f"in the cut-out {frame.aspect:.2f} times (tolerance aspect={options.aspect:g}): something "
        "lies across or beside it, or it is another part."
    )


def _unseen(sides: Sides) -> str:
    best = sorted(sides.seen)[-2:]
    if sum(best) / 2 >= LEAST_SEEN:
        return ""
    return (
        f"on its two clearest sides only {sum(best) / 2:.0%} show an edge, less than "
        f"{LEAST_SEEN:.0%}: blurred, covered, or no rectangle."
    )


def _at(outline: Outline) -> str:
    return f"{outline.place.x:.0f},{outline.place.y:.0f}"


def _pair(name: str, text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    if not found:
        raise OptionError(f"{name}={text!r} is not WIDTHxHEIGHT in pixels, such as 240x1200.")
    return int(found[1]), int(found[2])
