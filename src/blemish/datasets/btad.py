"""BTAD: three industrial products of beanTech.

The official tree, per category: ``train/ok``, ``test/ok``, ``test/ko`` and
``ground_truth/ko/<stem>``, images and masks as .bmp or .png. Outlines of the masks are soft and
their values irregular: any pixel that is not zero is defect. Read where it lies, never downloaded.

[1] P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti, "VT-ADL: A Vision Transformer
Network for Image Anomaly Detection and Localization", ISIE 2021, arXiv 2104.10036. CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import Place, TreeOptions, tree_records, visible_folders
from blemish.datasets.public import CategoryTree
from blemish.errors import DataError

_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
_TYPES = {"ok": "good", "ko": "defect"}


class BTAD(CategoryTree):
    """BTAD: a folder of categories (``01``, ``02``, ``03``), or one category."""

    title, folder = "BTAD", "btad"
    address = "https://github.com/pankajmishra000/VT-ADL"
    marker = "train/ok"

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``btad``."""

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List one category; keys are relative to its folder.

        Raises:
            DataError: No ``train/ok``, a folder that is neither ``ok`` nor ``ko``, defective
                images in ``train/``, or an orphan mask.
        """
        root = self.category_root(category)
        places = []
        for name, split in _SPLITS.items():
            folders = visible_folders(root / name) if (root / name).is_dir() else []
            for folder in folders:
                if folder.name not in _TYPES or (split == "train" and folder.name == "ko"):
                    raise DataError(
                        f"{folder} is not part of the official tree, which has train/ok, test/ok "
                        "and test/ko; read it with the reader `folder`."
                    )
                places.append(Place(folder, split, _TYPES[folder.name]))
        masks = root / "ground_truth"
        return tree_records(root, places, [(masks, "test")], "", self.options)
