"""Synthetic images: marked in their files, listed in a manifest that cannot be edited unseen.

A folder of them holds ``synthetic.json``: who made them, of which photos (digests), and per image
its file, the digest of its pixels and what it was made of. The manifest ends with a checksum of all
this. Beside it, each PNG file carries a mark of its own, so that one that was copied elsewhere is
still known for what it is. Synthetic images are for learning only: they never calibrate and never
test, and neither do the photos that they were made from.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from blemish.datasets.base import DataSet, Record, image_digest
from blemish.errors import DataError, OverlapError
from blemish.files import write_atomically
from blemish.images import read_image, to_png_bytes
from blemish.options import digest_text, option
from blemish.types import Image

FILE = "synthetic.json"
SCHEMA = "blemish.synthetic/1"
_TEXT = b"tEXtblemish\x00synthetic"  # a text chunk of PNG: keyword, zero, text
_HEAD = 33  # bytes of a PNG file before its second chunk


@dataclass(frozen=True)
class Made:
    """One synthetic image of a manifest.

    Attributes:
        file: Its name, relative to the manifest.
        digest: Of its pixels.
        of: What it was made of: number of the drawing, scores, parts. Plain JSON values.
    """

    file: str
    digest: str
    of: Mapping[str, Any]


@dataclass(frozen=True)
class SyntheticManifest:
    """What is known of a folder of synthetic images.

    Attributes:
        maker: What made them: method, options, seed. Plain JSON values.
        origins: Digests of the photos that they were made from.
        images: The images.
    """

    maker: Mapping[str, Any]
    origins: tuple[str, ...]
    images: tuple[Made, ...]

    def write(self, folder: Path) -> Path:
        """Write ``synthetic.json``, with its checksum."""
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "maker": dict(self.maker),
            "origins": list(self.origins),
            "images": [{"file": i.file, "digest": i.digest, "of": dict(i.of)} for i in self.images],
        }
        content["checksum"] = _checksum(content)
        return write_atomically(folder / FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> SyntheticManifest:
        """Read a manifest, given as file or as its folder.

        Raises:
            DataError: There is none, or it was changed after it was written.
        """
        path = path / FILE if path.is_dir() else path
        try:
            content = json.loads(path.read_text("utf-8"))
            expected = content.pop("checksum")
            if content["schema"] != SCHEMA:
                raise DataError(
                    f"{path} is of the schema {content['schema']!r}, not {SCHEMA!r}; make the "
                    "images again with this version."
                )
            images = tuple(Made(i["file"], i["digest"], i["of"]) for i in content["images"])
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error}); give a folder that `blemish synthesize` wrote."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                f"{path} is no manifest of synthetic images; give a folder that `blemish "
                "synthesize` wrote."
            ) from None
        if expected != _checksum(content):
            raise DataError(
                f"{path} was changed after it was written: its checksum does not fit. What its "
                "images were made from can no longer be trusted; run `blemish synthesize` again."
            )
        return cls(content["maker"], tuple(content["origins"]), images)


class Synthetic:
    """Synthetic images that ``blemish synthesize`` or ``blemish compose`` wrote, all for training.

    Args:
        root: The folder, or its ``synthetic.json``.
        options: See :class:`Synthetic.Options`.

    Raises:
        DataError: No such folder was given.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of the data set ``synthetic``."""

        most: int = option(0, "use only so many, in order; 0 = all", low=0)

    def __init__(self, root: Path | None, options: Options):
        if root is None:
            raise DataError("Name the folder of the synthetic images: synthetic:FOLDER.")
        self.root = root.parent if root.is_file() else root
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """A folder is one category."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the images.

        Raises:
            DataError: The manifest is missing or was changed, or an image of it is missing.
        """
        manifest = SyntheticManifest.read(self.root)
        images = manifest.images[: self.options.most or None]
        return tuple(self._record(made, manifest.origins) for made in images), ()

    def _record(self, made: Made, origins: tuple[str, ...]) -> Record:
        path = self.root / made.file
        if not path.is_file():
            raise DataError(
                f"{FILE} of {self.root} names {made.file}, which is not there; put it back, or run "
                "`blemish synthesize` again."
            )
        key = f"synthetic/{self.root.name}/{made.file}"
        return Record(
            key=key,
            image=partial(_read_checked, path, made.digest),
            defective=False,
            defect_type="good",
            group=key,
            split="train",
            synthetic=True,
            origins=origins,
        )


def add_synthetic(data: DataSet, folders: Sequence[str], most: int = 0) -> DataSet:
    """Add synthetic images to the training images of a data set.

    Args:
        data: Real images.
        folders: Folders that ``blemish synthesize`` wrote.
        most: Use only so many of each; 0 = all.

    Raises:
        DataError: As for :class:`Synthetic`.
    """
    records = list(data.records)
    for folder in folders:
        records += Synthetic(Path(folder), Synthetic.Options(most)).records(None)[0]
    return replace(data, records=tuple(records))


def check_synthetic(data: DataSet) -> None:
    """Refuse synthetic images that are taken for photos, or that are to test.

    Raises:
        OverlapError: A synthetic image is in the test set, or its origin is not known.
    """
    for record in data:
        if record.synthetic and record.split == "test":
            raise OverlapError(
                f"{data.name}: the test image {record.key} is synthetic, and figures on images "
                "that were never taken say nothing. Move it to training."
            )
        if not record.synthetic and isinstance(record.image, Path) and is_marked(record.image):
            raise OverlapError(
                f"{data.name}: {record.key} is a synthetic image among photos, so what it was made "
                "from is not known. Take it out, and add its folder with --data-set "
                "synthetic=FOLDER."
            )


def write_marked(path: Path, image: Image) -> Path:
    """Write a synthetic image as a PNG file that says so."""
    plain = to_png_bytes(image)
    length = struct.pack(">I", len(_TEXT) - 4)
    chunk = length + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))
    return write_atomically(path, plain[:_HEAD] + chunk + plain[_HEAD:])


def is_marked(path: Path) -> bool:
    """Whether a file is a PNG that :func:`write_marked` wrote."""
    if path.suffix.lower() != ".png" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _TEXT in file.read(_HEAD + 64)


def _read_checked(path: Path, digest: str) -> Image:
    image = read_image(path)
    if image_digest(image) != digest:
        raise DataError(
            f"{path} is not the image that {FILE} beside it describes: its pixels were changed. "
            "Run `blemish synthesize` again."
        )
    return image


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(digest_text(content).encode()).hexdigest()
