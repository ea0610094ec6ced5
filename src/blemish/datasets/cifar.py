"""CIFAR-10 as ten one-class problems: one class is normal, the others are anomalies.

The category names the normal class: its 5,000 training images are learned from, all 10,000 test
images are tested. With ``anomalies=true`` as many training images of CIFAR-100, whose classes are
others, are defective training images, for methods that learn from labels.

Read are the binary versions (``cifar-10-batches-bin`` and ``cifar-100-binary``), or image trees
``train/<class>`` and ``test/<class>``, with CIFAR-100 below ``cifar100/``. The Python versions are
pickles, which could run anything, and are never opened. Nothing is downloaded.

[1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report,
University of Toronto, 2009.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import image_files, key_of, public_root, unmarked, visible_folders
from blemish.errors import DataError
from blemish.options import option
from blemish.types import Image

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar.html (the binary versions)"
TEN, HUNDRED = "cifar-10-batches-bin", "cifar-100-binary"
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SIDE = 32
PIXELS = 3 * SIDE * SIDE
_FILES: dict[Split, list[str]] = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "val": [],
    "test": ["test_batch.bin"],
}


@dataclass(frozen=True)
class _Entry:
    """One image: its key, its class and where it is."""

    key: str
    name: str
    path: Path
    offset: int | None = None  # into a binary file

    def record(self, split: Split, kind: str) -> Record:
        image = self.path if self.offset is None else partial(_draw, self.path, self.offset)
        return Record(self.key, image, kind != "good", kind, self.key, split)


class CIFAR:
    """CIFAR-10, one class normal.

    Args:
        root: The folder that holds the binary versions or the trees, or the folder
            ``cifar-10-batches-bin``; None looks in ``$BLEMISH_DATA/cifar``.
        options: See :class:`CIFAR.Options`.

    Raises:
        DataError: There is no such folder, or only the pickled version.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of the data set ``cifar``."""

        anomalies: bool = option(
            False, "Add as many images of CIFAR-100 as defective training images."
        )

    def __init__(self, root: Path | None, options: Options):
        root = public_root(root, "cifar", ADDRESS)
        self.root = root.parent if root.name == TEN else root
        self.options = options
        if self._binary or (self.root / "train").is_dir():
            return
        if any(self.root.glob("cifar-*-python*")) or any(self.root.glob("data_batch_1")):
            raise DataError(
                f"{self.root} holds the Python version of CIFAR, which is a pickle and could run "
                f"anything; get the binary version from {ADDRESS}."
            )
        raise DataError(f"{self.root} has neither a folder {TEN} nor train/<class>; see {ADDRESS}.")

    @property
    def _binary(self) -> bool:
        return (self.root / TEN).is_dir()

    def categories(self) -> tuple[str, ...]:
        """The ten classes, one of which is normal."""
        if self._binary:
            return CLASSES
        return tuple(folder.name for folder in visible_folders(self.root / "train"))

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the training images of the normal class and all test images.

        Raises:
            DataError: No category, or a file that is missing or cut off.
        """
        if category is None:
            raise DataError("Name the normal class as category, such as category=airplane.")
        train = [e for e in self._ten("train") if e.name == category]
        records = [entry.record("train", "good") for entry in train]
        if self.options.anomalies:
            # Spread over the file, so that every class of CIFAR-100 has its share.
            others = list(self._hundred())
            chosen = np.linspace(0, len(others) - 1, min(len(train), len(others))).astype(int)
            records += [others[i].record("train", others[i].name) for i in np.unique(chosen)]
        for entry in self._ten("test"):
            kind = "good" if entry.name == category else entry.name
            records.append(entry.record("test", kind))
        return records, unmarked(records)

    def _ten(self, split: Split) -> Iterator[_Entry]:
        if not self._binary:
            yield from _tree(self.root, split)
            return
        for file in _FILES[split]:
            yield from _binary_entries(self.root / TEN / file, CLASSES, before=1)

    def _hundred(self) -> Iterator[_Entry]:
        if (self.root / "cifar100" / "train").is_dir():
            yield from _tree(self.root, "train", "cifar100/")
            return
        names = self.root / HUNDRED / "fine_label_names.txt"
        if not names.is_file():
            raise DataError(
                f"anomalies=true needs CIFAR-100 at {names.parent} or in {self.root / 'cifar100'}; "
                f"get it from {ADDRESS}."
            )
        classes = tuple(names.read_text(encoding="utf-8").split())
        # The fine label is the last byte before the pixels, after the coarse one.
        yield from _binary_entries(names.parent / "train.bin", classes, before=2)


def _tree(root: Path, split: Split, below: str = "") -> Iterator[_Entry]:
    folder = root / f"{below}{split}"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; an image tree has train/<class> and test/<class>.")
    for place in visible_folders(folder):
        for path in image_files(place)[0]:
            yield _Entry(key_of(path, root), place.name, path)


def _binary_entries(path: Path, classes: Sequence[str], before: int) -> Iterator[_Entry]:
    """List a binary file: per image `before` label bytes, then the planes red, green, blue."""
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the binary version of CIFAR again.")
    length = before + PIXELS
    rows, rest = divmod(path.stat().st_size, length)
    if rest:
        raise DataError(f"{path} is cut off; unpack the binary version of CIFAR again.")
    content = np.memmap(path, np.uint8, "r", shape=(rows, length)) if rows else np.empty((0, 2))
    labels = [int(label) for label in content[:, before - 1]]
    del content  # Windows could not replace the file while it is mapped
    for i, label in enumerate(labels):
        if label >= len(classes):
            raise DataError(f"{path}: image {i} has the class {label} of {len(classes)}.")
        key = f"{path.parent.name}/{path.stem}/{i:05d}"
        yield _Entry(key, classes[label], path, i * length + before)


def _draw(path: Path, offset: int) -> Image:
    """Read the (32, 32, 3) image that begins at `offset`."""
    planes = np.fromfile(path, np.uint8, PIXELS, offset=offset).reshape(3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
