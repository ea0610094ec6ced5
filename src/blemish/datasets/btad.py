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
from pathlib import Path

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import Place, TreeOptions, public_root, tree_records, visible_folders
from blemish.errors import DataError

ADDRESS = "https://github.com/pankajmishra000/VT-ADL"
_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
_TYPES = {"ok": "good", "ko": "defect"}


class BTAD:
    """BTAD: a folder of categories (``01``, ``02``, ``03``), or one category.

    Args:
        root: The folder; None looks in ``$BLEMISH_DATA/btad``.
        options: See :class:`BTAD.Options`.

    Raises:
        DataError: There is no such folder.
    """

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``btad``."""

    def __init__(self, root: Path | None, options: Options):
        self.root = public_root(root, "btad", ADDRESS)
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """Names of the categories; none where the root is itself one."""
        if _is_category(self.root):
            return ()
        return tuple(f.name for f in visible_folders(self.root) if _is_category(f))

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List one category; keys are relative to its folder.

        Raises:
            DataError: No ``train/ok``, a folder that is neither ``ok`` nor ``ko``, defective
                images in ``train/``, or an orphan mask.
        """
        root = self.root / category if category else self.root
        if not _is_category(root):
            raise DataError(
                f"{root} has no folder train/ok, so it is no category of BTAD; give the folder "
                "above it or the reader `folder`."
            )
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


def _is_category(folder: Path) -> bool:
    return (folder / "train" / "ok").is_dir()
