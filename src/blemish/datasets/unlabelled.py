"""Images of which nothing is known: for learning what photos look like, before any part is judged.

Every image counts as a good training photo of a part of its own, which is what a pre-training that
asks for no labels makes of it anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from blemish.datasets.base import DataSet, Record
from blemish.datasets.listing import image_files, require_folder
from blemish.errors import DataError


def unlabelled_images(folders: Iterable[str | Path], *, max_pixels: int, bit_depth: int) -> DataSet:
    """List all images in folders and below.

    Args:
        folders: Of one product or of several.
        max_pixels: Images with more pixels than this are refused.
        bit_depth: Bits used in 16-bit images.

    Raises:
        DataError: A folder is missing, or there are fewer than two images in all of them.
    """
    records: list[Record] = []
    warnings: list[str] = []
    for folder in folders:
        found, unread = image_files(require_folder(Path(folder), "folder"))
        warnings += unread
        for path in found:
            key = path.as_posix()
            records.append(Record(key, path, False, "good", key, "train"))
    if len(records) < 2:
        named = ", ".join(map(str, folders))
        raise DataError(f"{named}: {len(records)} images are too few to learn from; 2 are needed.")
    return DataSet(
        "unlabelled", tuple(records), tuple(warnings), max_pixels=max_pixels, bit_depth=bit_depth
    )
