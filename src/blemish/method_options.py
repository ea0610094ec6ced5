"""Options and geometry of a method and its detector together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blemish import options
from blemish.augmentation.classic import find_changes
from blemish.datasets.base import DataSet
from blemish.errors import CapabilityError, UnknownNameError
from blemish.methods.base import Method
from blemish.preprocess import Geometry
from blemish.settings import Settings, make_geometry, split_options

SHAPES_LOOKED_AT = 16  # `image_size=auto` looks at this many images


def read_options(
    name: str, method: type[Method], preset: str | None, values: Mapping[str, Any]
) -> tuple[Settings, Any]:
    """Options of the detector and of a method from what a user gave, text included.

    Args:
        name: Name of the method.
        method: Its class.
        preset: Name of a set of option values of the method.
        values: Options of both; they go before those of the preset.

    Raises:
        UnknownNameError: No such preset or option.
        OptionError: An option has a value that it cannot take.
        CapabilityError: Augmentation for a method that learns from views as they are.
    """
    if preset is not None:
        if preset not in method.presets:
            raise UnknownNameError("preset", preset, method.presets)
        values = {**method.presets[preset], **values}
    shared, own = split_options(values)
    settings = options.build(Settings, shared, "the detector")
    known = {*options.names(Settings), *options.names(method.Options)}
    for option_name in own:
        if option_name not in known:
            raise UnknownNameError(f"option of {name}", option_name, known)
    if find_changes(settings.augmentation) is not None and not method.augments:
        raise CapabilityError(
            f"{name} does not learn from changed images: leave augmentation="
            f"{settings.augmentation} out, or use a method that does, such as patchcore."
        )
    return settings, options.build(method.Options, own, f"method {name}")


def geometry_for(settings: Settings, data: DataSet, method: Method) -> Geometry:
    """Decide on the one geometry for the images of a data set; see :func:`make_geometry`."""
    shapes = [data.image(record).shape for record in data.records[:SHAPES_LOOKED_AT]]
    return make_geometry(settings, [s[:2] for s in shapes], method.multiple, method.default_size)
