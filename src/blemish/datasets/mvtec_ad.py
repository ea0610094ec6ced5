"""MVTec AD and data sets laid out like it.

The official tree, per category: ``train/good``, ``test/good``, ``test/<type>`` and
``ground_truth/<type>/<stem>_mask.png``; its successors also have ``validation/good``. Read where it
lies, never downloaded.

[1] P. Bergmann, M. Fauser, D. Sattlegger, C. Steger, "MVTec AD: A comprehensive real-world dataset
for unsupervised anomaly detection", CVPR 2019. CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blemish.datasets.base import Record, Split
from blemish.datasets.listing import Place, TreeOptions, tree_records, visible_folders
from blemish.datasets.public import CategoryTree
from blemish.errors import DataError

_SPLITS: dict[str, Split] = {"train": "train", "validation": "val", "test": "test"}


class MVTecAD(CategoryTree):
    """MVTec AD: a folder of categories, or one category."""

    title, folder = "MVTec AD", "mvtec_ad"
    address = "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    marker = "train/good"

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``mvtec_ad``."""

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List one category; keys are relative to its folder.

        Raises:
            DataError: No ``train/good``, another folder in ``train/``, or an orphan mask.
        """
        root = self.category_root(category)
        places = []
        for name, split in _SPLITS.items():
            folders = visible_folders(root / name) if (root / name).is_dir() else []
            places += [Place(folder, split, folder.name) for folder in folders]
        # Dropping defects from training without a word would hide that they are there.
        others = [p.folder for p in places if p.split != "test" and p.defect_type != "good"]
        if others:
            raise DataError(
                f"{others[0]} holds defective images outside of test/, which the official tree "
                "does not know; read it with folder:PATH and mask_suffix=_mask."
            )
        masks = root / "ground_truth"
        return tree_records(root, places, [(masks, "test")], "_mask", self.options)
