"""``battery_plate``: electronic plates that are drawn, for demos, tests and studies.

The set stands in for a confidential one: 207 good and 53 defective plates, each a strip of anode,
glass and cathode in an upright frame of 240×1200 pixels, with defects so small that the median one
covers less than a thousandth of the plate. Light, blur, noise, print, brushing, dust and smudges
differ from plate to plate, so that neither brightness nor the size of the file nor the difference
to the mean image tells good from defective.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from blemish.datasets.base import Record, Split
from blemish.datasets.drawing.camera import (
    Pose,
    expose,
    overlay,
    place_mask,
    place_plate,
    sample_shot,
    table,
)
from blemish.datasets.drawing.defects import KINDS, Defect, add_defect, footprint, sample_defect
from blemish.datasets.drawing.plate import HEIGHT, REGIONS, WIDTH, draw_plate
from blemish.errors import DataError, OptionError
from blemish.options import option
from blemish.types import Image, Mask

FRAME = (0, 0, WIDTH, HEIGHT)
MM_PER_UNIT = 0.15
MAX_SHIFT, MAX_TURN = 1.2, 0.35  # pixels and degrees: the plate stays inside the frame
TEST_SHARE = 60 / 207  # of the good plates
_PLATE, _POSE, _SHOT, _DEFECT = range(4)  # random streams of one plate


@dataclass(frozen=True)
class Options:
    """Options of ``battery_plate``."""

    good: int = option(207, "Number of good plates.", low=2, high=100_000)
    defective: int = option(53, "Number of defective plates, all in test.", low=0, high=100_000)
    seed: int = option(0, "Seed of everything that is drawn.", low=0)
    view: str = option("plate", "The plate upright, or a photo of it.", choices=("plate", "photo"))
    region: str = option("whole", "Part of the plate.", choices=("whole", *REGIONS))
    size: str = option("1024x1500", "Width x height of a photo in pixels (view=photo only).")


@dataclass(frozen=True)
class PlateTruth:
    """What was drawn.

    Attributes:
        kind: ``"good"`` or the kind of defect.
        region: Region of the plate that has the defect; None for a good plate.
        pose: Where the plate lies in the image; `pose.corners` are the true corners.
    """

    kind: str
    region: str | None
    pose: Pose


@dataclass(frozen=True)
class _Part:
    """Names one plate: good and defective plates are numbered apart, from 0."""

    seed: int
    defective: bool
    number: int

    def stream(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(self.defective), self.number, purpose))

    @property
    def defect(self) -> Defect | None:
        if not self.defective:
            return None
        return sample_defect(self.stream(_DEFECT), KINDS[self.number % len(KINDS)])

    @property
    def pose(self) -> Pose:
        shift = self.stream(_POSE).uniform(-MAX_SHIFT, MAX_SHIFT, 2)
        angle = self.stream(_POSE).uniform(-MAX_TURN, MAX_TURN)
        return Pose(WIDTH / 2 + shift[0], HEIGHT / 2 + shift[1], float(angle))


class BatteryPlate:
    """A :class:`blemish.datasets.base.Source` of drawn battery plates."""

    Options: ClassVar[type] = Options

    def __init__(self, root: Path | None, options: Options):
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """None: the regions are an option."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        o = self.options
        tests = min(max(round(o.good * TEST_SHARE), 1), o.good - 1)
        records = []
        for number in range(o.good):
            split: Split = "train" if number < o.good - tests else "test"
            records.append(self._record(_Part(o.seed, False, number), split))
        for number in range(o.defective):
            records.append(self._record(_Part(o.seed, True, number), "test"))
        return records, ()

    def _record(self, part: _Part, split: Split) -> Record:
        defect = part.defect
        name = f"{'defective' if part.defective else 'good'}_{part.number:03d}"
        if defect is not None:
            name = f"{name}_{defect.region}"
        if defect is not None and self.options.region not in ("whole", defect.region):
            defect = None
        kind = defect.kind if defect else "good"
        return Record(
            key=f"{split}/{kind}/{name}.png",
            image=partial(_crop_image, part, self.options.region),
            defective=defect is not None,
            defect_type=kind,
            group=name,
            split=split,
            mask=partial(_crop_mask, part, self.options.region) if defect else None,
            mm_per_pixel=MM_PER_UNIT,
            synthetic=False,
        )


def _rows(region: str) -> slice:
    return slice(*REGIONS.get(region, (0, HEIGHT)))


def _crop_image(part: _Part, region: str) -> Image:
    return _plate(part)[_rows(region)].copy()


def _crop_mask(part: _Part, region: str) -> Mask:
    defect = part.defect
    if defect is None:
        return np.zeros((HEIGHT, WIDTH), bool)[_rows(region)]
    return place_mask(footprint(defect, 1.0), part.pose, 1.0, FRAME)[_rows(region)].copy()


@lru_cache(maxsize=320)
def _plate(part: _Part) -> Image:
    canvas = draw_plate(part.stream(_PLATE))
    if part.defect is not None:
        add_defect(canvas, part.defect)
    rgb, alpha = place_plate(canvas, part.pose, FRAME)
    rng = part.stream(_SHOT)
    return expose(sample_shot(rng), overlay(table(rng, (HEIGHT, WIDTH)), rgb, alpha))
