"""VisA: twelve kinds of object, some with many pieces in one photo.

The official tree, per category: ``Data/Images/Normal``, ``Data/Images/Anomaly`` and
``Data/Masks/Anomaly/<stem>.png``, whose small values name kinds of defect: any that is not zero is
defect. ``split_csv/1cls.csv`` beside the categories says which images are for training; without it
a tenth of the normal images is for testing. Read where it lies, never downloaded.

[1] Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer, "SPot-the-Difference Self-Supervised
Pre-training for Anomaly Detection and Segmentation", ECCV 2022, arXiv 2207.14315. CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import Place, TreeOptions, tree_records, visible_folders
from blemish.datasets.public import CategoryTree
from blemish.datasets.splits import split_off_test
from blemish.errors import DataError

TEST_SHARE = 0.1  # of the normal images, where no split file says otherwise; as in the official one
_TYPES = {"Normal": "good", "Anomaly": "anomaly"}


class VisA(CategoryTree):
    """VisA: a folder of categories, or one category."""

    title, folder = "VisA", "visa"
    address = "https://github.com/amazon-science/spot-diff"
    marker = "Data/Images/Normal"

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``visa``."""

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List one category; keys are relative to its folder.

        Raises:
            DataError: No ``Data/Images/Normal``, an orphan mask, or a split file that does not fit.
        """
        root = self.category_root(category)
        folders = visible_folders(root / "Data" / "Images")
        unknown = [f for f in folders if f.name not in _TYPES]
        if unknown:
            raise DataError(
                f"{unknown[0]} is neither Normal nor Anomaly; read it with the reader `folder`."
            )
        # Called test only so that masks pair; the true split follows.
        places = [Place(folder, "test", _TYPES[folder.name]) for folder in folders]
        masks = root / "Data" / "Masks"
        records, warnings = tree_records(root, places, [(masks, None)], "", self.options)
        table = root.parent / "split_csv" / "1cls.csv"
        if not table.is_file():
            return split_off_test(records, TEST_SHARE, 0), warnings
        splits = _read_splits(table, root.name)
        missing = [r.key for r in records if r.key not in splits]
        if missing:
            raise DataError(
                f"{table} has no split for {len(missing)} images of {root.name} (first: "
                f"{missing[0]}); complete it, or delete it to split by chance."
            )
        return [replace(r, split=splits[r.key]) for r in records], warnings


def _read_splits(path: Path, category: str) -> dict[str, Split]:
    """Map the keys of one category to their split."""
    prefix, splits = f"{category}/", dict[str, Split]()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                key = row["image"].replace("\\", "/")
                if key.startswith(prefix):
                    splits[key.removeprefix(prefix)] = _split(row["split"])
    except (KeyError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} is not a CSV file with the columns image and split (train or test)."
        ) from error
    return splits


def _split(text: str) -> Split:
    if text == "train":
        return "train"
    if text == "test":
        return "test"
    raise ValueError(text)
