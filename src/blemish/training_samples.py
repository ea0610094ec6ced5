"""What a detector gives a method to learn from: views, how they may be changed, and their origins."""

from __future__ import annotations

from blemish.augmentation.classic import find_changes
from blemish.datasets.base import DataSet
from blemish.errors import CapabilityError
from blemish.methods.base import Method
from blemish.preprocess import Geometry
from blemish.samples import Samples
from blemish.settings import Settings


def check(settings: Settings, name: str, method: type[Method]) -> None:
    """Refuse an augmentation that is not there, or that the method would not look at.

    Args:
        settings: ``augmentation``.
        name: Name of the method.
        method: Tells whether it learns from changed views.

    Raises:
        UnknownNameError: No such augmentation.
        CapabilityError: The method learns from views as they are, such as from kept features.
    """
    if find_changes(settings.augmentation) is not None and not method.augments:
        raise CapabilityError(
            f"{name} does not learn from changed images: leave augmentation="
            f"{settings.augmentation} out, or use a method that does, such as patchcore."
        )


def make(data: DataSet, geometry: Geometry, settings: Settings) -> Samples:
    """The images as a method learns from them."""
    changes = find_changes(settings.augmentation)
    return Samples(data, geometry, changes, settings.augmentation_copies)


def digests(samples: Samples) -> tuple[str, ...]:
    """Digests of the images and of those that synthetic ones among them were made from."""
    return tuple(dict.fromkeys((*samples.digests, *sorted(samples.data.origins))))
