"""What fitting leaves behind, and how it goes into a model file and comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blemish.calibration import Calibration, CalibrationBuilder
from blemish.datasets.base import DataSet, Record, image_digest
from blemish.maps import Post
from blemish.methods.base import Method, Run
from blemish.model_file import ModelFile, part
from blemish.pipeline import Pipeline
from blemish.preprocess import Geometry
from blemish.types import Image

Paths = tuple[tuple[str, str], ...]
RECORDED = 16  # calibration images whose places are remembered


@dataclass(frozen=True)
class Fitted:
    """A fitted method with all that its decisions rest on.

    Attributes:
        pipeline: Geometry, method and post steps.
        calibration: Scores of the held-out good images.
        learned: Digests of the images that the method learned from.
        calibrated: Digests of the calibration images.
        data: Name of the data set and counts; plain JSON values.
        history: Curves of the training, name to values.
        paths: Where some calibration images lay, and their digests: what an export is compared on.
        before: Digests of the images that a pre-trained part had learned from.
    """

    pipeline: Pipeline
    calibration: Calibration
    learned: tuple[str, ...]
    calibrated: tuple[str, ...]
    data: Mapping[str, Any]
    history: Mapping[str, list[float]]
    paths: Paths = ()
    before: tuple[str, ...] = ()

    def to_file(self, card: Mapping[str, Any]) -> ModelFile:
        """Everything as header and arrays; `card` becomes part of the header."""
        state, arrays = self.pipeline.method.state()
        header = {
            **card,
            "state": state,
            "learned": list(self.learned),
            "calibrated": list(self.calibrated),
            "before": list(self.before),
            "paths": [list(pair) for pair in self.paths],
            "history": {name: list(values) for name, values in self.history.items()},
        }
        stored = {f"method.{name}": array for name, array in arrays.items()}
        stored |= {f"calibration.{k}": v for k, v in self.calibration.arrays().items()}
        if self.pipeline.geometry.roi is not None:
            stored["roi"] = self.pipeline.geometry.roi
        return ModelFile(header, stored)

    @classmethod
    def from_file(cls, content: ModelFile, method: Method, batch_size: int) -> Fitted:
        """Read back what :meth:`to_file` gave into a fresh method object."""
        header, roi = content.header, content.arrays.get("roi")
        method.restore(header["state"], part(content.arrays, "method."))
        geometry = Geometry.from_json(
            header["geometry"], None if roi is None else np.asarray(roi, bool)
        )
        return cls(
            Pipeline(geometry, method, Post.from_json(header["post"]), batch_size),
            Calibration(**part(content.arrays, "calibration.")),
            tuple(header["learned"]),
            tuple(header["calibrated"]),
            header["data"],
            header["history"],
            tuple((str(path), str(digest)) for path, digest in header.get("paths", ())),
            tuple(header.get("before", ())),
        )


def collect(builder: CalibrationBuilder, pipeline: Pipeline, data: DataSet, run: Run) -> list[str]:
    """Add the scores of good images that `pipeline` did not learn from; returns their digests."""
    digests: dict[str, str] = {}

    def read(record: Record) -> tuple[str, Image]:
        image = data.image(record)
        digests[record.key] = image_digest(image)
        return record.key, image

    analyses = pipeline.analyse(data, read)
    for done, (record, found) in enumerate(zip(data, analyses, strict=True), start=1):
        builder.add(found.score, record.group, found.anomaly_map, found.valid)
        run.progress("calibration", done, len(data))
    return [digests[record.key] for record in data]


def recorded_paths(folds: Sequence[DataSet], digests: Sequence[str]) -> Paths:
    """Path and digest of some calibration images, evenly spread; drawn images have no path."""
    records = [record for fold in folds for record in fold]
    known = [
        (str(record.image.absolute()), digest)
        for record, digest in zip(records, digests, strict=True)
        if isinstance(record.image, Path)
    ]
    count = min(RECORDED, len(known))
    return tuple(known[i * len(known) // count] for i in range(count))
