"""Write a data set to files: for drawn ones, that other programs and whole chains can read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image as Pillow

from blemish.datasets.base import DataSet, Record
from blemish.errors import OptionError
from blemish.files import write_atomically
from blemish.images import write_png
from blemish.run import Progress, silent

FORMATS = ("bmp", "png", "tiff")
NOTE = "drawn.json"  # what was asked for: another run goes on only with the same


def save_dataset(
    data: DataSet,
    folder: str | Path,
    options: Mapping[str, Any],
    *,
    format: str = "bmp",
    workers: int = 1,
    progress: Progress = silent,
) -> Path:
    """Write images and masks, laid out so that the reader ``folder`` reads them back.

    Images lie below their split and kind of defect, masks in ``ground_truth/<kind>``. Files that
    are there already are left: an interrupted run goes on.

    Args:
        data: Any data set.
        folder: Where it goes.
        options: What it was opened with, plain JSON values.
        format: ``"bmp"``, ``"png"`` or ``"tiff"``, of the images; masks are PNG.
        workers: Processes that draw.
        progress: Called after every image.

    Raises:
        OptionError: Another format, or the folder holds another drawn data set.
    """
    if format not in FORMATS:
        raise OptionError(f"format={format!r} is not one of {', '.join(FORMATS)}.")
    folder = Path(folder)
    note = json.dumps({"name": data.name, "format": format, "options": dict(options)}, indent=1)
    before = folder / NOTE
    if before.exists() and before.read_text("utf-8") != note + "\n":
        raise OptionError(f"{folder} holds a data set that was drawn otherwise; give a new folder.")
    write_atomically(before, note + "\n")
    save = partial(_save, replace(data, records=()), folder, format)
    for done, _ in enumerate(_each(save, data, workers), start=1):
        progress("draw", done, len(data))
    return folder


def _each(save: partial[None], data: DataSet, workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(save, data)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(save, data)


def _save(data: DataSet, folder: Path, format: str, record: Record) -> None:
    """Write one image, and its mask first: an image that is there is complete."""
    key = PurePosixPath(record.key)
    path = folder / key.with_suffix(f".{format}")
    if path.exists():
        return
    image = data.image(record)
    mask = data.mask(record, (image.shape[0], image.shape[1]))
    if record.defective and mask is not None:
        within = PurePosixPath(*key.parts[1:]).with_suffix(".png")
        write_png(folder / "ground_truth" / within, mask)
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, format)
    write_atomically(path, file.getvalue())
