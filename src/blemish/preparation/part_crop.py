"""Cut the part out of every photo of a data set, upright and of one size.

A photo is decoded once: cut-outs stay in a folder that is a data set of its own, and a second run
reads only photos that are new or have changed. Memory holds a few photos at a time, whatever their
number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from blemish.datasets.base import DataSet, Record
from blemish.errors import DataError, ImageError
from blemish.files import write_atomically
from blemish.images import read_image, write_png
from blemish.parallel import read_ahead
from blemish.preparation.acceptance import reject_outliers
from blemish.preparation.contact_sheet import shrunk_photo, write_sheets
from blemish.preparation.crop_files import (
    SIDE_FILE,
    Crop,
    file_of,
    read_crops,
    row_of,
    stamp_of,
    table,
    write_crops,
    write_manifest,
)
from blemish.preparation.locating import CropOptions, Found, locate
from blemish.preparation.placement import cut, cut_mask
from blemish.run import Progress, silent
from blemish.types import Image

IMAGES, MASKS, REJECTED = "images", "masks", "rejected"
SMALL = 48  # pixels of the longer side of a cut-out that is compared with the others
SAVE_EVERY = 20  # photos after which what is known is written down


@dataclass(frozen=True)
class Cropped:
    """What came of all photos.

    Attributes:
        folder: Holds ``manifest.csv``, ``images``, ``masks``, ``corners.json``, ``rejected.csv``,
            ``rejected`` and the contact sheets.
        crops: One entry for every photo, in the order of the data set.
        decoded: How many photos were read in this run.
    """

    folder: Path
    crops: tuple[Crop, ...]
    decoded: int

    @property
    def accepted(self) -> tuple[Crop, ...]:
        """The photos whose cut-outs are in the manifest."""
        return tuple(crop for crop in self.crops if crop.accepted)

    @property
    def rejected(self) -> tuple[Crop, ...]:
        """The photos that were rejected; each says why."""
        return tuple(crop for crop in self.crops if not crop.accepted)


def crop_parts(
    data: DataSet,
    folder: str | Path,
    options: CropOptions | None = None,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Cropped:
    """Cut the part out of every photo; write a data set of cut-outs and a list of rejections.

    Args:
        data: Photos of one part each, with or without masks.
        folder: Where cut-outs go; what is there of an earlier run with the same options is kept.
        options: Size of the cut-outs, and what is accepted.
        workers: Photos that are worked on at the same time; each needs about 300 MB at 24 million
            pixels.
        progress: Called after every photo.

    Raises:
        DataError: Two photos would have the same file, or all photos were rejected.
        OptionError: A size or margin that cannot be.
    """
    options, folder = options or CropOptions(), Path(folder)
    task = _Task(data, folder, options)
    twice = [file for file, n in Counter(file_of(r.key) for r in data).items() if n > 1]
    if twice:
        raise DataError(f"Two photos would become {twice[0]}; rename one of them.")
    task.forget(set(task.known) - {record.key for record in data})
    crops: list[Crop] = []
    for crop in read_ahead(task.crop, data, ahead=workers, workers=workers):
        crops.append(crop)
        progress("photos", len(crops), len(data))
        if len(crops) % SAVE_EVERY == 0:
            # What an interrupted run has cut is not cut again.
            write_crops(folder, [*crops, *task.not_yet(crops)], options)
    write_crops(folder, crops, options)
    small = [task.small(crop) for crop in crops if crop.accepted]
    judged = reject_outliers(crops, small, options)
    for crop in judged:
        task.move(crop)
    _write_lists(task, judged)
    done = Cropped(folder, tuple(judged), len(task.decoded))
    if not done.accepted:
        raise DataError(
            f"All {len(judged)} photos were rejected; the first, {judged[0].key}: "
            f"{judged[0].found.reason} See {folder / 'rejected.csv'}."
        )
    return done


class _Task:
    """One run over a data set: what is known already, and where files go."""

    def __init__(self, data: DataSet, folder: Path, options: CropOptions):
        self.data, self.folder, self.options = data, folder, options
        self.frame = options.frame
        self.known: dict[str, Crop] = {}
        self.decoded: list[str] = []
        if (folder / SIDE_FILE).exists():
            _, before, self.known = read_crops(folder)
            if before != options:
                self.forget(set(self.known))

    def small(self, crop: Crop) -> NDArray[np.float64]:
        """Grey levels (h, w) of a small version of a cut-out."""
        ratio = min(1.0, SMALL / max(self.frame.width, self.frame.height))
        size = math.ceil(self.frame.width * ratio), math.ceil(self.frame.height * ratio)
        picture = Pillow.fromarray(read_image(self.image_path(crop))).convert("L")
        return np.asarray(picture.resize(size, Pillow.Resampling.BOX), float)

    def not_yet(self, crops: Sequence[Crop]) -> Iterable[Crop]:
        """What is known of photos whose turn has not come."""
        done = {crop.key for crop in crops}
        return [crop for key, crop in self.known.items() if key not in done]

    def image_path(self, crop: Crop) -> Path:
        """Where the cut-out of a photo is, or is to be."""
        return self.folder / (IMAGES if crop.accepted else REJECTED) / crop.file

    def mask_path(self, crop: Crop) -> Path:
        """Where the mask of a cut-out is, or is to be."""
        return self.folder / MASKS / crop.file

    def forget(self, keys: Iterable[str]) -> None:
        """Take away what is there of photos that are gone or cut in another way now."""
        for key in keys:
            self._remove(self.known.pop(key))

    def _remove(self, crop: Crop) -> None:
        self.mask_path(crop).unlink(missing_ok=True)
        for folder in (IMAGES, REJECTED):
            path = self.folder / folder / crop.file
            path.unlink(missing_ok=True)
            path.with_suffix(".jpg").unlink(missing_ok=True)

    def crop(self, record: Record) -> Crop:
        """Cut out one part, unless it was done before."""
        stamp = stamp_of(record)
        known = self.known.get(record.key)
        if known is not None:
            if stamp and known.stamp == stamp and (again := self._again(known)):
                return again
            self._remove(known)
        self.decoded.append(record.key)
        photo_path = str(record.image.absolute()) if isinstance(record.image, Path) else ""
        try:
            photo = self.data.image(record)
        except ImageError as error:
            return Crop(record.key, Found(f"it cannot be read: {error}"), (0, 0), photo_path, stamp)
        shape = (photo.shape[0], photo.shape[1])
        crop = Crop(record.key, locate(photo, self.options), shape, photo_path, stamp)
        return self._write(crop, record, photo)

    def _again(self, known: Crop) -> Crop | None:
        """A photo that was cut before; None where its cut-out is no longer there."""
        rejected = self.folder / REJECTED / known.file
        if rejected.exists():
            # It was unlike the others, which is asked anew: the others may have changed.
            known = known.rejected("")
            _move(rejected, self.image_path(known))
        return None if known.accepted and not self.image_path(known).exists() else known

    def _write(self, crop: Crop, record: Record, photo: Image) -> Crop:
        place = crop.found.place
        if crop.accepted and place is not None and record.mask is not None:
            mask = self.data.mask(record, crop.shape)
            own = None if mask is None else cut_mask(mask, place, self.frame)
            if own is not None and not own.any():
                crop = crop.rejected(
                    "its marked defect lies outside the cut-out; correct the mask, or give the "
                    "cut-out a margin."
                )
            elif own is not None:
                write_png(self.mask_path(crop), own)
        if crop.accepted and place is not None:
            write_png(self.image_path(crop), cut(photo, place, self.frame))
        else:
            small = self.image_path(crop).with_suffix(".jpg")
            write_atomically(small, shrunk_photo(photo, place))
        return crop

    def move(self, crop: Crop) -> None:
        """Take the cut-out of a photo that is unlike the others out of the data set."""
        accepted = self.folder / IMAGES / crop.file
        if not crop.accepted and accepted.exists():
            _move(accepted, self.image_path(crop))


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


def _write_lists(task: _Task, crops: Sequence[Crop]) -> None:
    """Manifest, list of rejections, contact sheets, and the side file with the last word."""
    folder, records = task.folder, {record.key: record for record in task.data}
    rows = []
    for crop in crops:
        record, place = records[crop.key], crop.found.place
        if crop.accepted and place is not None:
            mask = f"{MASKS}/{crop.file}" if task.mask_path(crop).exists() else ""
            scaled = _scaled(record, place.width / task.frame.part[0])
            rows.append(row_of(scaled, f"{IMAGES}/{crop.file}", mask))
    write_manifest(folder / "manifest.csv", rows)
    rejected = [{"photo": c.key, "reason": c.found.reason} for c in crops if not c.accepted]
    write_atomically(folder / "rejected.csv", table(("photo", "reason"), rejected))
    for stem, wanted in (("accepted", True), ("rejected", False)):
        shown = [(c.key, _picture(task, c)) for c in crops if c.accepted == wanted]
        write_sheets(folder / stem, [(key, path) for key, path in shown if path.exists()])
    write_crops(folder, crops, task.options)


def _scaled(record: Record, ratio: float) -> Record:
    """The record with the pixel size of the cut-out."""
    size = record.mm_per_pixel
    return record if size is None else replace(record, mm_per_pixel=round(size * ratio, 6))


def _picture(task: _Task, crop: Crop) -> Path:
    """The cut-out, or the small photo of one that was rejected before it was cut."""
    path = task.image_path(crop)
    return path if path.exists() else path.with_suffix(".jpg")
