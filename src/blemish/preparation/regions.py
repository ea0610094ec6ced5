"""Regions of a part: named boxes in shares of its width and height that tile it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from blemish.errors import OptionError

THIRDS = ("anode=0:1/3", "glass=1/3:2/3", "cathode=2/3:1")


@dataclass(frozen=True)
class PartRegion:
    """A named box of a part.

    Attributes:
        name: Letters, digits, ``_`` and ``-``.
        left: Share of the width in [0, 1], exact: 1/3 is a third.
        top: Share of the height.
        right: Share of the width; exclusive.
        bottom: Share of the height; exclusive.
    """

    name: str
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction

    @property
    def area(self) -> Fraction:
        """Share of the part."""
        return (self.right - self.left) * (self.bottom - self.top)

    def slices(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns in an image (H, W); neighbours share no pixel and leave none out."""
        rows = slice(round(self.top * shape[0]), round(self.bottom * shape[0]))
        return rows, slice(round(self.left * shape[1]), round(self.right * shape[1]))

    def overlaps(self, other: PartRegion) -> bool:
        """Whether the two boxes have an area in common."""
        across = min(self.right, other.right) - max(self.left, other.left)
        return across > 0 and min(self.bottom, other.bottom) - max(self.top, other.top) > 0


def read_regions(texts: Sequence[str], *, gaps: bool = False) -> tuple[PartRegion, ...]:
    """Read ``name=top:bottom`` or ``name=left:top:right:bottom``, numbers like 0.25 or 400/1200.

    Args:
        texts: One for each region.
        gaps: Allow that some of the part is in no region.

    Raises:
        OptionError: A text that cannot be read, a name twice, regions that overlap, or, without
            `gaps`, that do not cover the part.
    """
    regions = tuple(_read(text) for text in texts)
    names = [region.name for region in regions]
    if not regions or len(set(names)) < len(names):
        raise OptionError(f"regions={','.join(texts)!r} must name at least one region, each once.")
    for one, other in combinations(regions, 2):
        if one.overlaps(other):
            raise OptionError(
                f"The regions {one.name} and {other.name} overlap: a defect there would count "
                "twice. Let one end where the other begins."
            )
    covered = sum(region.area for region in regions)
    if covered != 1 and not gaps:
        raise OptionError(
            f"The regions cover {float(covered):.1%} of the part: a defect in the rest would be "
            "seen by none. Let them tile the part, or allow gaps."
        )
    return regions


def _read(text: str) -> PartRegion:
    name, _, numbers = text.strip().partition("=")
    try:
        edges = [Fraction(number.strip()) for number in numbers.split(":")]
        if len(edges) == 2:
            edges = [Fraction(0), edges[0], Fraction(1), edges[1]]
        left, top, right, bottom = edges
    except (ValueError, ZeroDivisionError):
        raise OptionError(
            f"{text!r} is no region: write name=top:bottom or name=left:top:right:bottom in "
            "shares of the part, such as anode=0:1/3."
        ) from None
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise OptionError(f"{name!r} is no name of a region: use letters, digits, _ and -.")
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise OptionError(
            f"{text!r} is no box inside the part: 0 <= left < right <= 1, 0 <= top < bottom <= 1."
        )
    return PartRegion(name, left, top, right, bottom)
