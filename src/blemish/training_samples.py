"""What a method is given to learn from: views, how they may be changed, what they came from."""

from __future__ import annotations

from blemish.augmentation.classic import find_changes
from blemish.datasets.base import DataSet
from blemish.preprocess import Geometry
from blemish.samples import Samples
from blemish.settings import Settings


def make(data: DataSet, geometry: Geometry, settings: Settings) -> Samples:
    """The images as a method learns from them."""
    changes = find_changes(settings.augmentation)
    return Samples(data, geometry, changes, settings.augmentation_copies)


def digests(samples: Samples) -> tuple[str, ...]:
    """Digests of the images and of those that synthetic ones among them were made from."""
    return tuple(dict.fromkeys((*samples.digests, *sorted(samples.data.origins))))
