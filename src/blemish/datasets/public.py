"""What the readers of public data sets share: a root that holds categories, or is one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from blemish.datasets.listing import TreeOptions, public_root, visible_folders
from blemish.errors import DataError


class CategoryTree:
    """A folder of categories, or one category.

    Attributes:
        title: What people call the data set.
        folder: Its folder in ``$BLEMISH_DATA``.
        address: Where it is described and can be had.
        marker: The folder that every category has, with forward slashes.

    Args:
        root: The folder; None looks in ``$BLEMISH_DATA``.
        options: See ``Options`` of the reader.

    Raises:
        DataError: There is no such folder.
    """

    title: ClassVar[str]
    folder: ClassVar[str]
    address: ClassVar[str]
    marker: ClassVar[str]

    def __init__(self, root: Path | None, options: TreeOptions):
        self.root = public_root(root, self.folder, self.address)
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """Names of the categories; none where the root is itself one."""
        if self._is_category(self.root):
            return ()
        return tuple(f.name for f in visible_folders(self.root) if self._is_category(f))

    def category_root(self, category: str | None) -> Path:
        """The folder of a category; the root where it is itself one.

        Raises:
            DataError: It is no category of this data set.
        """
        root = self.root / category if category else self.root
        if not self._is_category(root):
            raise DataError(
                f"{root} has no folder {self.marker}, so it is no category of {self.title}; give "
                "the folder above it or the reader `folder`."
            )
        return root

    def _is_category(self, folder: Path) -> bool:
        return (folder / self.marker).is_dir()
