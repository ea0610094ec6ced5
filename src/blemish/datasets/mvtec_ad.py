"""MVTec AD and data sets laid out like it.

The official tree, per category: ``train/good``, ``test/good``, ``test/<type>`` and
``ground_truth/<type>/<stem>_mask.png``. Read where it lies, never downloaded.

[1] P. Bergmann, M. Fauser, D. Sattlegger, C. Steger, "MVTec AD: A comprehensive real-world dataset
for unsupervised anomaly detection", CVPR 2019. CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish.datasets.base import Record
from blemish.datasets.listing import Place, TreeOptions, public_root, tree_records, visible_folders
from blemish.errors import DataError

ADDRESS = "https://www.mvtec.com/company/research/datasets/mvtec-ad"


class MVTecAD:
    """MVTec AD: a folder of categories, or one category.

    Args:
        root: The folder; None looks in ``$BLEMISH_DATA/mvtec_ad``.
        options: See :class:`MVTecAD.Options`.

    Raises:
        DataError: There is no such folder.
    """

    @dataclass(frozen=True)
    class Options(TreeOptions):
        """Options of the data set ``mvtec_ad``."""

    def __init__(self, root: Path | None, options: Options):
        self.root = public_root(root, "mvtec_ad", ADDRESS)
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """Names of the categories; none where the root is itself one."""
        if _is_category(self.root):
            return ()
        return tuple(f.name for f in visible_folders(self.root) if _is_category(f))

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """List one category; keys are relative to its folder.

        Raises:
            DataError: No ``train/good``, another folder in ``train/``, or an orphan mask.
        """
        root = self.root / category if category else self.root
        if not _is_category(root):
            raise DataError(
                f"{root} has no folder train/good, so it is no category of MVTec AD; give the "
                "folder above it or the reader `folder`."
            )
        others = [f.name for f in visible_folders(root / "train") if f.name != "good"]
        if others:
            raise DataError(
                f"{root} has train/{others[0]}, which the official tree does not know; read it "
                "with folder:PATH --data-set mask_suffix=_mask."
            )
        test = visible_folders(root / "test") if (root / "test").is_dir() else []
        places = [Place(root / "train/good", "train", "good")]
        places += [Place(folder, "test", folder.name) for folder in test]
        masks = root / "ground_truth"
        return tree_records(root, places, [(masks, "test")], "_mask", self.options)


def _is_category(folder: Path) -> bool:
    return (folder / "train" / "good").is_dir()
