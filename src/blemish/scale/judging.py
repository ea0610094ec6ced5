"""What a worker does: read the images of a chunk, judge them, write one file of results."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import blemish
from blemish.errors import CalibrationWarning, ImageError
from blemish.scale.results import ResultFolder
from blemish.scale.sources import Chunk, Item, read_items
from blemish.scale.storage import find_place

READERS = 4  # threads that fetch and decode ahead of the one that judges


@dataclass(frozen=True)
class Task:
    """What all workers of a run are given.

    Attributes:
        model: The model file, whole.
        name: Its name; the ending says what it is.
        false_alarms: Rate in (0, 1) to decide at; None = the one of the file.
        thumbnails: Longest side in pixels of the pictures of maps; 0 = none.
    """

    model: bytes
    name: str
    false_alarms: float | None = None
    thumbnails: int = 0

    def open(self) -> blemish.Detector:
        """The detector, ready to judge."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # Said once, where the run was started.
            warnings.simplefilter("ignore", CalibrationWarning)
            path = Path(folder) / Path(self.name).name
            path.write_bytes(self.model)
            detector = blemish.Detector.load(path)
            if self.false_alarms is not None:
                detector.set_false_alarms(self.false_alarms)
        return detector


class Judge:
    """A worker: holds one detector and judges chunk after chunk.

    Args:
        task: What to judge with.
        folder: Where results go.
    """

    def __init__(self, task: Task, folder: ResultFolder):
        self._task, self._folder = task, folder
        self._detector = task.open()

    def judge(self, chunk: Chunk) -> dict[str, float]:
        """Judge one chunk and write its results.

        Returns:
            ``images``, ``defective``, ``errors``, and ``seconds`` of wall time.
        """
        started = time.perf_counter()
        rows = self._rows(read_items(chunk))
        self._folder.write(chunk.number, rows)
        return {
            "images": len(rows),
            "defective": sum(bool(row.get("defective")) for row in rows),
            "errors": sum("error" in row for row in rows),
            "seconds": time.perf_counter() - started,
        }

    def _rows(self, items: list[Item]) -> list[dict[str, Any]]:
        settings, hashes = self._detector.settings, dict[str, str]()
        errors: dict[int, str] = {}

        def read(number: int) -> tuple[str, NDArray[np.uint8]]:
            image = blemish.read_image(
                _content(items[number]),
                max_pixels=settings.max_pixels,
                bit_depth=settings.bit_depth,
            )
            hashes[str(number)] = blemish.image_digest(image)
            return str(number), image

        def failed(number: int, error: ImageError) -> None:
            errors[number] = str(error)

        found = self._detector.pipeline.analyse(
            range(len(items)), read, workers=READERS, on_error=failed
        )
        rows: dict[int, dict[str, Any]] = {}
        for analysis in found:
            prediction = self._detector.decide(analysis)
            row = {**prediction.to_json(), "hash": hashes.pop(prediction.key)}
            row["image"] = items[int(prediction.key)].name
            if self._task.thumbnails:
                row["map"] = thumbnail(prediction, self._task.thumbnails)
            rows[int(prediction.key)] = row
        for number, text in errors.items():
            rows[number] = {"image": items[number].name, "error": text}
        return [rows[number] for number in range(len(items))]


def _content(item: Item) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: There is no such file. Storage that does not answer is another matter.
    """
    if item.content is not None:
        return item.content
    try:
        return find_place(item.name).read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ImageError(f"{item.name} does not exist; check the path.") from None


def thumbnail(prediction: blemish.Prediction, side: int) -> bytes:
    """The anomaly map as a small PNG file, in the colours of :func:`blemish.heat_layer`.

    A pixel has the largest value of those that it stands for, so that no small defect is averaged
    away.

    Args:
        prediction: What the detector said; its map is (H, W).
        side: Longest side of the picture in pixels, at most.
    """
    step = -(-max(prediction.anomaly_map.shape) // side)
    small = prediction.anomaly_map
    for axis in (0, 1):
        small = np.maximum.reduceat(small, range(0, small.shape[axis], step), axis=axis)
    return blemish.heat_layer(replace(prediction, anomaly_map=small))
