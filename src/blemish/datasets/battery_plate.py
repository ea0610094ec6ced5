"""``battery_plate``: electronic plates that are drawn, for demos, tests and studies.

The set stands in for a confidential one: 207 good and 53 defective plates, each a strip of anode,
glass and cathode in an upright frame of 240×1200 pixels, with defects so small that the median one
covers less than a thousandth of the plate. Light, blur, noise, brushing, reflections, serial
number, dust and smudges differ from plate to plate, so that neither brightness nor the size of the
file nor the difference to the mean image tells good from defective.

``view=photo`` shows the same plates on a cluttered bench, for the tools that cut parts out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from blemish.datasets.base import Record, Split
from blemish.datasets.drawing.camera import (
    Pose,
    expose,
    place_mask,
    place_plate,
    sample_shot,
    table,
)
from blemish.datasets.drawing.defects import KINDS, Defect, add_defect, footprint, sample_defect
from blemish.datasets.drawing.photo import Size, draw_photo, photo_mask, sample_pose
from blemish.datasets.drawing.plate import HEIGHT, REGIONS, WIDTH, Canvas, draw_plate
from blemish.errors import DataError, OptionError
from blemish.options import option
from blemish.types import Image, Mask

MM_PER_UNIT = 0.15  # a unit is a pixel of the plate view
MAX_SHIFT, MAX_TURN = 1.2, 0.35  # pixels and degrees: the plate view is cut out well, not exactly
TEST_SHARE = 60 / 207  # of the good plates
MIN_SIZE, MAX_SIZE = (320, 480), (4096, 6000)
_FRAME = (0, 0, WIDTH, HEIGHT)
_PLATE, _POSE, _SHOT, _DEFECT, _BENCH, _COVER = range(6)  # random streams of one plate


@dataclass(frozen=True)
class PlateTruth:
    """What was drawn in one image.

    Attributes:
        kind: ``"good"``, or the kind of defect anywhere on the plate.
        region: The region of the plate that has the defect; None for a good plate.
        pose: Where the plate lies in the image of the whole plate: ``pose.corners`` are its
            corners (4, 2), ``pose.matrix`` maps the frame of 240×1200 units to pixels.
        covered: The end of the plate that something lies on, if any.
    """

    kind: str
    region: str | None
    pose: Pose
    covered: str | None = None


@dataclass(frozen=True)
class _Plate:
    """One plate: good and defective ones are numbered apart, so that counts change no image."""

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

    def canvas(self, scale: float) -> Canvas:
        canvas = draw_plate(self.stream(_PLATE), scale)
        if self.defect:
            add_defect(canvas, self.defect)
        return canvas

    def pose(self, size: Size | None) -> Pose:
        """Where it lies in a photo of this size, or in the plate view."""
        rng = self.stream(_POSE)
        if size:
            return sample_pose(rng, size)
        x, y = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
        angle = float(rng.uniform(-MAX_TURN, MAX_TURN))
        return Pose(WIDTH / 2 + float(x), HEIGHT / 2 + float(y), angle)

    def cover(self, share: float) -> str | None:
        """The end that is covered in a photo: never the one with the defect."""
        rng = self.stream(_COVER)
        if rng.random() >= share:
            return None
        if self.defect:
            return "cathode" if self.defect.y < HEIGHT / 2 else "anode"
        return "cathode" if rng.random() < 0.5 else "anode"


class BatteryPlate:
    """A :class:`blemish.datasets.base.Source` of drawn battery plates.

    An image is a pure function of the options and its number: the same wherever, whenever and in
    whatever order it is drawn.

    Args:
        root: Not used: there are no files.
        options: What to draw.

    Raises:
        OptionError: `size` is not of the form 1024x1500 or out of limits, or a photo of one region
            was asked for.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of ``battery_plate``."""

        good: int = option(207, "Number of good plates.", low=2, high=100_000)
        defective: int = option(53, "Number of defective plates.", low=0, high=100_000)
        seed: int = option(0, "Seed of everything that is drawn.", low=0)
        view: str = option(
            "plate", "The upright plate alone, or a photo of it.", choices=("plate", "photo")
        )
        region: str = option(
            "whole", "Part of the plate (view=plate only).", choices=("whole", *REGIONS)
        )
        size: str = option("1024x1500", "Width x height of a photo in pixels (view=photo only).")
        covered: float = option(
            0.0,
            "Share of photos with a partly covered plate (view=photo only).",
            low=0,
            high=1,
        )

    def __init__(self, root: Path | None, options: Options):
        self.options = options
        self._size = _parse_size(options.size) if options.view == "photo" else None
        if self._size and options.region != "whole":
            raise OptionError(
                f"region={options.region} does not go with view=photo, which shows the whole "
                "plate; use view=plate, or cut the photos."
            )

    def categories(self) -> tuple[str, ...]:
        """None: the regions are an option."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the plates: good ones for training, good ones for test, then the defective ones.

        With a region, a plate whose defect lies elsewhere counts as good; it stays in test. The key
        names the split, the kind of defect and the region that has it, as in
        ``test/scratch/defective_012_anode.png``.

        Raises:
            DataError: A category was asked for.
        """
        if category is not None:
            raise DataError(
                f"battery_plate has no category {category!r}; use its option region instead."
            )
        return tuple(self._record(*entry) for entry in self._plates()), ()

    def truth(self, key: str) -> PlateTruth:
        """Tell what was drawn in the image with this key.

        Raises:
            DataError: No image has this key.
        """
        plate = self._by_key.get(key)
        if plate is None:
            raise DataError(
                f"battery_plate has no image {key!r} with these options; take a key of its records."
            )
        kind, region = (plate.defect.kind, plate.defect.region) if plate.defect else ("good", None)
        return PlateTruth(kind, region, plate.pose(self._size), self._cover(plate))

    @cached_property
    def _by_key(self) -> dict[str, _Plate]:
        return {self._key(plate, split): plate for plate, split in self._plates()}

    def _plates(self) -> list[tuple[_Plate, Split]]:
        o = self.options
        tests = min(max(round(o.good * TEST_SHARE), 1), o.good - 1)
        plates: list[tuple[_Plate, Split]] = []
        for number in range(o.good):
            split: Split = "train" if number < o.good - tests else "test"
            plates.append((_Plate(o.seed, False, number), split))
        return plates + [(_Plate(o.seed, True, number), "test") for number in range(o.defective)]

    def _shown(self, plate: _Plate) -> Defect | None:
        """The defect that this region of the plate has."""
        defect = plate.defect
        return defect if defect and self.options.region in ("whole", defect.region) else None

    def _cover(self, plate: _Plate) -> str | None:
        return plate.cover(self.options.covered) if self._size else None

    def _key(self, plate: _Plate, split: Split) -> str:
        shown, defect = self._shown(plate), plate.defect
        name = f"defective_{plate.number:03d}_{defect.region}" if defect else _good_name(plate)
        return f"{split}/{shown.kind if shown else 'good'}/{name}.png"

    def _record(self, plate: _Plate, split: Split) -> Record:
        shown = self._shown(plate)
        if self._size:
            image = partial(_photo, plate, self._size, self._cover(plate))
            mask = partial(_mask_of_photo, plate, self._size)
        else:
            image = partial(_view, plate, self.options.region)
            mask = partial(_mask_of_view, plate, self.options.region)
        return Record(
            key=self._key(plate, split),
            image=image,
            defective=shown is not None,
            defect_type=shown.kind if shown else "good",
            group=f"defective_{plate.number:03d}" if plate.defective else _good_name(plate),
            split=split,
            mask=mask if shown else None,
            mm_per_pixel=MM_PER_UNIT / plate.pose(self._size).scale,
        )


def _good_name(plate: _Plate) -> str:
    return f"good_{plate.number:03d}"


def _parse_size(text: str) -> Size:
    """Read ``1024x1500``."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if not found:
        raise OptionError(f"size={text!r} is not of the form 1024x1500 (width x height in pixels).")
    size = int(found[1]), int(found[2])
    limits = zip(size, MIN_SIZE, MAX_SIZE, strict=True)
    if not all(low <= side <= high for side, low, high in limits):
        raise OptionError(
            f"size={text!r} is out of limits: from {MIN_SIZE[0]}x{MIN_SIZE[1]} to "
            f"{MAX_SIZE[0]}x{MAX_SIZE[1]} pixels."
        )
    return size


def _rows(region: str) -> slice:
    return slice(*REGIONS.get(region, (0, HEIGHT)))


def _view(plate: _Plate, region: str) -> Image:
    return _whole_view(plate)[_rows(region)].copy()


# Fitting, checking and evaluating each go through the default set of 260 plates once: 275 MB at
# most save drawing them again. The cache may be used from several threads.
@lru_cache(maxsize=320)
def _whole_view(plate: _Plate) -> Image:
    rng = plate.stream(_SHOT)
    shot = sample_shot(rng)
    colours, alpha = place_plate(plate.canvas(1.0), plate.pose(None), _FRAME)
    scene = table(rng, (HEIGHT, WIDTH))
    scene.paste(colours, (0, 0), alpha)
    return expose(shot, np.asarray(scene))


def _mask_of_view(plate: _Plate, region: str) -> Mask:
    if plate.defect is None:
        return np.zeros((HEIGHT, WIDTH), bool)[_rows(region)]
    whole = place_mask(footprint(plate.defect, 1.0), plate.pose(None), 1.0, _FRAME)
    return whole[_rows(region)].copy()


def _photo(plate: _Plate, size: Size, covered: str | None) -> Image:
    pose, shot = plate.pose(size), sample_shot(plate.stream(_SHOT))
    canvas = plate.canvas(pose.scale)
    return draw_photo(plate.stream(_BENCH), canvas, pose, size, shot, covered)


def _mask_of_photo(plate: _Plate, size: Size) -> Mask:
    if plate.defect is None:
        return np.zeros(size[::-1], bool)
    return photo_mask(plate.defect, plate.pose(size), size)
