"""Magnetic tile defects, with the exposures of one tile kept together.

The tree is like that of MVTec AD (``train/good``, ``test/<type>``,
``ground_truth/<type>/<stem>_mask.png``) plus ``groups.csv`` with the columns image, group and
exposure: a tile was photographed at up to six exposures, which are near copies of each other. Some
``uneven`` images have an empty mask: defective without a region.

[1] Y. Huang, C. Qiu, K. Yuan, "Surface defect saliency of magnetic tile", The Visual Computer 2018.
Free for research with citation.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blemish.datasets.base import Record
from blemish.datasets.listing import (
    Place,
    TreeOptions,
    public_root,
    require_folder,
    tree_records,
    visible_folders,
)
from blemish.errors import DataError
from blemish.options import option

ADDRESS = "https://github.com/abin24/Magnetic-tile-defect-datasets."


class MagneticTile:
    """The magnetic tile data set.

    Args:
        root: The folder; None looks in ``$BLEMISH_DATA/magnetic_tile``.
        options: See :class:`MagneticTile.Options`.

    Raises:
        DataError: There is no such folder.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of the data set ``magnetic_tile``."""

        mm_per_pixel: float | None = option(None, "size of a pixel in millimetres", low=1e-9)

    def __init__(self, root: Path | None, options: Options):
        self.root = public_root(root, "magnetic_tile", ADDRESS)
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """One category only."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the images with the groups of ``groups.csv``.

        Raises:
            DataError: A part of the tree or of ``groups.csv`` is missing, or an orphan mask.
        """
        groups = _read_groups(self.root / "groups.csv")
        tests = visible_folders(require_folder(self.root / "test", "magnetic_tile"))
        train = require_folder(self.root / "train" / "good", "magnetic_tile")
        places = [Place(train, "train", "good")]
        places += [Place(folder, "test", folder.name) for folder in tests]
        masks = self.root / "ground_truth"
        tree = TreeOptions(mm_per_pixel=self.options.mm_per_pixel)
        records, warnings = tree_records(self.root, places, [(masks, "test")], "_mask", tree)
        missing = [r.key for r in records if r.key not in groups]
        if missing:
            raise DataError(
                f"groups.csv names no group for {len(missing)} images (first: {missing[0]}); add "
                "them, or photos of one tile could be separated."
            )
        return [replace(r, group=groups[r.key]) for r in records], warnings


def _read_groups(path: Path) -> dict[str, str]:
    """Map keys to groups."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {row["image"]: row["group"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: it says which photos show the same tile (columns image, group). "
            "Without it near copies would be in train and test; read the rest with mvtec_ad:PATH."
        ) from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file with the columns image and group.") from error
