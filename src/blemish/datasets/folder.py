"""Folders of images: the plain way to bring one's own photos.

Three layouts are understood; names of folders count in any case:

- ``good/`` and one folder per kind of defect. Defective images are for testing, and a share of
  the good parts with them;
- ``train/``, ``val/`` or ``test/`` with such folders inside; ``train/`` may also hold good images
  directly;
- images only, right in the folder: all good, all for training.

Masks lie in ``ground_truth/``, ``masks/`` or ``mask/``, at the root or inside a split's folder, as
``<type>/<stem of the image>.<any suffix>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import (
    Place,
    TreeOptions,
    image_files,
    require_folder,
    tree_records,
    visible_folders,
)
from blemish.datasets.splits import split_off_test
from blemish.errors import DataError
from blemish.options import option

MASK_FOLDERS = {"ground_truth", "masks", "mask"}
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
}


class Folder:
    """A folder of images that a user brings.

    Args:
        root: The folder.
        options: See :class:`Folder.Options`.

    Raises:
        DataError: The folder does not exist.
    """

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``folder``."""

        good_names: tuple[str, ...] = option(
            ("good", "ok", "normal"), "names of folders of good images, in any case"
        )
        mask_suffix: str = option("", "what follows an image's stem in the name of its mask")
        test_share: float = option(
            0.3,
            "share of the good parts that is kept for testing where there are defect folders but "
            "no test folder",
            low=0,
            high=0.95,
        )
        split_seed: int = option(0, "another seed keeps other good parts for testing")

    def __init__(self, root: Path | None, options: Options):
        self.root = require_folder(root, "folder")
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """A folder is one category."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List the images; see the module for the layouts and :func:`tree_records` for errors."""
        folders = visible_folders(self.root)
        masks: list[tuple[Path, Split | None]] = [(f, None) for f in folders if _is_mask(f)]
        folders = [f for f in folders if not _is_mask(f)]
        splits = [f for f in folders if f.name.lower() in SPLIT_FOLDERS]
        others = [f for f in folders if f not in splits]
        goods = [f for f in others if self._is_good(f)]
        if splits:
            if goods:
                raise DataError(
                    f"{self.root} holds both {goods[0].name}/ and {splits[0].name}/; move "
                    f"{goods[0].name}/ into train/."
                )
            for folder in splits:
                split = SPLIT_FOLDERS[folder.name.lower()]
                masks += [(f, split) for f in visible_folders(folder) if _is_mask(f)]
            return self._read(list(self._split_places(splits)), masks, _left_out(others))
        if goods:
            return self._read_flat([*goods, *(f for f in others if f not in goods)], masks)
        if image_files(self.root, shallow=True)[0]:
            bare = [Place(self.root, "train", "good", shallow=True)]
            return self._read(bare, masks, _left_out(others))
        if others:
            raise DataError(
                f"{self.root} has no folder of good images: none of "
                f"{', '.join(f.name for f in others[:5])} is called "
                f"{' or '.join(self.options.good_names)}. Rename one, or name it in good_names."
            )
        return [], []

    def _read(
        self, places: list[Place], masks: list[tuple[Path, Split | None]], notes: list[str]
    ) -> tuple[Sequence[Record], Sequence[str]]:
        suffix = self.options.mask_suffix
        records, warnings = tree_records(self.root, places, masks, suffix, self.options)
        return records, [*notes, *warnings]

    def _read_flat(
        self, folders: list[Path], masks: list[tuple[Path, Split | None]]
    ) -> tuple[Sequence[Record], Sequence[str]]:
        loose = image_files(self.root, shallow=True)[0]
        notes = [
            f"{len(loose)} images beside the folders are left out (first: {path.name}); move them "
            "into one."
            for path in loose[:1]
        ]
        places = [Place(folder, "train", self._type_of(folder)) for folder in folders]
        records, warnings = self._read(places, masks, notes)
        share, seed = self.options.test_share, self.options.split_seed
        return split_off_test(records, share, seed), warnings

    def _split_places(self, splits: list[Path]) -> Iterator[Place]:
        """Type folders inside split folders, and good images right inside ``train/``."""
        for folder in splits:
            split = SPLIT_FOLDERS[folder.name.lower()]
            if loose := image_files(folder, shallow=True)[0]:
                if split != "train":
                    raise DataError(
                        f"{folder} holds images without a label (first: {loose[0].name}); move "
                        f"them into {folder.name}/good/ or a folder per kind of defect."
                    )
                yield Place(folder, split, "good", shallow=True)
            for inner in visible_folders(folder):
                if not _is_mask(inner):
                    yield Place(inner, split, self._type_of(inner))

    def _is_good(self, folder: Path) -> bool:
        return folder.name.lower() in {name.lower() for name in self.options.good_names}

    def _type_of(self, folder: Path) -> str:
        return "good" if self._is_good(folder) else folder.name


def _is_mask(folder: Path) -> bool:
    return folder.name.lower() in MASK_FOLDERS


def _left_out(folders: list[Path]) -> list[str]:
    """One warning for folders beside the ones that are understood."""
    filled = [f.name for f in folders if image_files(f)[0]]
    if not filled:
        return []
    return [f"The images in {', '.join(filled)} are left out: not a folder of this layout."]
