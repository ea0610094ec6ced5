"""What a version is made of, and which challengers a part may have.

A part begins with one method. Its challengers may be of another one: with painted masks there is
more to learn from than good images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import blemish
from blemish.station.blobs import Blobs
from blemish.station.tables import Part

SMALL = "small"  # trains on a small computer; every method has this preset
COMMON = ("tiny", SMALL)
# Small networks work on small squares, in which a long part would be lost: the same number of
# pixels in the shape of the part.
SHAPED = {"image_size": "auto:256"}


@dataclass(frozen=True)
class Recipe:
    """Method, preset and options of one training.

    Attributes:
        method: Registered name.
        preset: Name of a set of option values, or None.
        options: Values beside the preset.
    """

    method: str
    preset: str | None
    options: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"method": self.method, "preset": self.preset, "options": dict(self.options)}

    def make(self, part: Part, blobs: Blobs, **more: Any) -> blemish.Detector:
        """A detector that has not learned yet, for the part's region and false-alarm rate.

        Args:
            part: Whose region of interest and false-alarm rate count.
            blobs: Where the region is.
            more: Options that are set unless the recipe sets them.
        """
        roi = {} if part.roi is None else {"roi": str(blobs.path(part.roi))}
        detector = blemish.Detector(self.method, self.preset, **{**more, **self.options, **roi})
        detector.set_false_alarms(part.false_alarms)
        return detector


def own_recipe(part: Part) -> Recipe:
    """What the part was created with."""
    return Recipe(part.method, part.preset, part.options)


def challenger_recipe(part: Part, method: str | None) -> Recipe:
    """The recipe of a challenger: the part's own, or another method with what they have in common.

    Args:
        part: The part.
        method: Registered name; None = the part's own.

    Raises:
        UnknownNameError: There is no such method.
        OptionError: It cannot work with the part's options.
    """
    if method in (None, part.method):
        return own_recipe(part)
    tried = blemish.Detector(str(method), SMALL)
    shared = {field.name for field in fields(tried.settings)}
    given = {name: value for name, value in part.options.items() if name in shared}
    options = {**SHAPED, **given}
    preset = part.preset if part.preset in COMMON else SMALL
    blemish.Detector(str(method), preset, **options)
    return Recipe(str(method), preset, options)


@cache
def learn_from_masks() -> tuple[str, ...]:
    """Names of the methods that learn from painted defects, as far as their extras are here."""
    return tuple(name for name in blemish.method_names() if _takes_masks(name))


def _takes_masks(name: str) -> bool:
    try:
        return blemish.Detector(name, SMALL).supervision == "masks"
    except blemish.BlemishError:
        return False  # an extra is missing, or there is nothing to train
