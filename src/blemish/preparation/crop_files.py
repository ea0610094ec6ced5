"""What is kept beside cut-outs: where each part lay in its photo, and why photos were rejected.

``corners.json`` holds one entry for every photo. It is the way back into the photo, and what a
second run reads so that no photo is decoded twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from blemish.datasets.base import Record
from blemish.errors import DataError
from blemish.files import write_atomically
from blemish.preparation.locating import CropOptions, Found
from blemish.preparation.placement import Frame, Rectangle

SIDE_FILE = "corners.json"
SCHEMA = "blemish.corners/1"
COLUMNS = ("image", "label", "defect_type", "mask", "group", "split", "mm_per_pixel")


@dataclass(frozen=True)
class Crop:
    """One photo and its cut-out.

    Attributes:
        key: Key of the photo in its data set; of the cut-out with the suffix ``.png``.
        found: Where the part lies, or why the photo was rejected.
        shape: (H, W) of the photo; (0, 0) where it could not be read.
        photo: Path of the photo; empty for a drawn one.
        stamp: Size in bytes and time of the last change of the photo's file, and of its mask's.
    """

    key: str
    found: Found
    shape: tuple[int, int]
    photo: str = ""
    stamp: tuple[int, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the cut-out may be learned from."""
        return not self.found.reason

    @property
    def file(self) -> str:
        """Path of the cut-out below ``images``."""
        return file_of(self.key)

    def rejected(self, reason: str) -> Crop:
        """The same photo, rejected."""
        return replace(self, found=replace(self.found, reason=reason))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the corners for whoever reads the file by other means."""
        corners = None if self.found.place is None else self.found.place.corners.round(3).tolist()
        return {**asdict(self), "corners": corners}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Crop:
        """Read back what :meth:`to_json` gave."""
        found = dict(values["found"])
        place = None if found["place"] is None else Rectangle(**found["place"])
        height, width = values["shape"]
        return cls(
            values["key"],
            Found(**{**found, "place": place, "seen": tuple(found["seen"])}),
            (height, width),
            values["photo"],
            tuple(values["stamp"]),
        )


def file_of(key: str) -> str:
    """Relative path of the cut-out of the photo with this key; never outside its folder."""
    parts = [part for part in PurePosixPath(key).parts if part not in ("..", "/")]
    return str(PurePosixPath(*parts).with_suffix(".png"))


def stamp_of(record: Record) -> tuple[int, ...]:
    """What changes when the files of a record do; empty for drawn images."""
    paths = [p for p in (record.image, record.mask) if isinstance(p, Path)]
    if not isinstance(record.image, Path):
        return ()
    stats = [path.stat() for path in paths if path.exists()]
    return tuple(n for stat in stats for n in (stat.st_size, stat.st_mtime_ns))


def write_crops(folder: Path, crops: Sequence[Crop], options: CropOptions) -> Path:
    """Write ``corners.json``."""
    content = {
        "schema": SCHEMA,
        "frame": asdict(options.frame),
        "options": asdict(options),
        "photos": [crop.to_json() for crop in crops],
    }
    return write_atomically(folder / SIDE_FILE, json.dumps(content, indent=1) + "\n")


def read_crops(folder: str | Path) -> tuple[Frame, CropOptions, dict[str, Crop]]:
    """Read ``corners.json`` of a folder of cut-outs.

    Returns:
        Size and margin of the cut-outs, the options that they were made with, and key to entry.

    Raises:
        DataError: No such file, or one that was changed by hand.
    """
    path = Path(folder) / SIDE_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        frame = content["frame"]
        return (
            Frame(frame["width"], frame["height"], tuple(frame["margin"])),
            CropOptions(**content["options"]),
            {entry["key"]: Crop.from_json(entry) for entry in content["photos"]},
        )
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist; give a folder that `blemish prepare crop` wrote."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not what `blemish prepare crop` writes ({error!r}); delete it and cut the "
            "parts out again."
        ) from error


def write_manifest(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a manifest that :func:`blemish.open_dataset` reads."""
    return write_atomically(path, table(COLUMNS, rows))


def row_of(
    record: Record, image: str, mask: str = "", *, defective: bool | None = None
) -> dict[str, Any]:
    """A manifest's row for an image that was made from that of a record.

    Args:
        record: Gives kind, group and split.
        image: Path relative to the manifest.
        mask: Path relative to the manifest; empty for none.
        defective: Its own label; None = that of the record.
    """
    is_defective = record.defective if defective is None else defective
    return {
        "image": image,
        "label": "defective" if is_defective else "good",
        "defect_type": record.defect_type if is_defective else "good",
        "mask": mask,
        "group": record.group,
        "split": record.split,
        "mm_per_pixel": record.mm_per_pixel or "",
    }


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV text; other keys of a row are left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
