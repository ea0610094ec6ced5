"""What the readers of folder trees share: listing images, pairing masks, naming groups.

Hidden files and what operating systems leave behind are passed over; other files are passed over
too, with a warning where they are pictures of a kind that is not read. Order is by key.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blemish.datasets.base import Record, Split
from blemish.errors import DataError, OptionError
from blemish.images import UNREAD_SUFFIXES, is_image_name
from blemish.options import option

_LEFT_BEHIND = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"}


@dataclass(frozen=True)
class TreeOptions:
    """Options of every data set that is a tree of folders."""

    group_pattern: str | None = option(
        None,
        "regular expression searched in the path of an image; its first group names the part that "
        "was photographed (default: every image is a part of its own)",
    )
    mm_per_pixel: float | None = option(None, "size of a pixel in millimetres", low=1e-9)


@dataclass(frozen=True)
class Place:
    """A folder whose images share a label and a split.

    Attributes:
        folder: Searched with all folders below it, unless `shallow`.
        split: Of all images in it.
        defect_type: ``"good"``, or the kind of defect.
        shallow: True where folders below it mean something else.
    """

    folder: Path
    split: Split
    defect_type: str
    shallow: bool = False


def visible_folders(folder: Path) -> list[Path]:
    """Folders right below `folder` that are not hidden, by name."""
    return sorted((p for p in folder.iterdir() if p.is_dir() and _visible(p.name)), key=_name)


def image_files(folder: Path, *, shallow: bool = False) -> tuple[list[Path], list[str]]:
    """List the images in a folder and below, by path, with one warning per kind left out."""
    found: list[Path] = []
    unread: Counter[str] = Counter()
    for place, folders, names in os.walk(folder):
        folders[:] = [] if shallow else [name for name in folders if _visible(name)]
        for path in (Path(place, name) for name in names if _visible(name)):
            if is_image_name(path):
                found.append(path)
            elif path.suffix.lower() in UNREAD_SUFFIXES:
                unread[path.suffix.lower()] += 1
    warnings = [
        f"{folder.name}/: {count} files of the kind {suffix} are left out; convert them to PNG."
        for suffix, count in sorted(unread.items())
    ]
    return sorted(found, key=lambda p: key_of(p, folder)), warnings


def key_of(path: Path, root: Path) -> str:
    """Path relative to `root`, with forward slashes on every system."""
    return path.relative_to(root).as_posix()


def tree_records(
    root: Path,
    places: Iterable[Place],
    mask_folders: Sequence[tuple[Path, Split | None]],
    mask_suffix: str,
    options: TreeOptions,
) -> tuple[list[Record], list[str]]:
    """Turn a tree into records.

    Args:
        root: Keys are relative to it.
        places: Where the images are.
        mask_folders: Where masks are, each with the split that its masks belong to, or None for
            any. Inside, a mask is at ``<type>/<stem>``, ``<split>/<type>/<stem>`` or, for a
            defective image with a stem of its own, ``<stem>``.
        mask_suffix: What follows the stem of the image in the name of its mask.
        options: Of the data set.

    Returns:
        Records by key, and one warning per problem.

    Raises:
        DataError: A mask without image, several images for a mask or masks for an image, or an
            image in which `group_pattern` finds no part.
    """
    records: list[Record] = []
    warnings: list[str] = []
    candidates: dict[tuple[str, Split], list[str]] = defaultdict(list)
    for place in places:
        images, unread = image_files(place.folder, shallow=place.shallow)
        warnings += unread
        for path in images:
            record = _record(path, root, place, options)
            records.append(record)
            for stem in _mask_stems(path, place):
                candidates[stem, place.split].append(record.key)
    masks = _pair_masks(root, mask_folders, mask_suffix, candidates)
    records = [replace(r, mask=masks.get(r.key)) for r in records]
    return sorted(records, key=lambda r: r.key), warnings + unmarked(records)


def group_of(key: str, pattern: str | None) -> str:
    """Name the part that an image shows.

    Args:
        key: Of the image.
        pattern: Regular expression whose first group names the part, or None: the key itself.

    Raises:
        OptionError: The pattern is no regular expression with a group.
        DataError: The pattern finds nothing in this key.
    """
    if pattern is None:
        return key
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise OptionError(f"group_pattern={pattern!r} is no regular expression: {error}.") from None
    if not expression.groups:
        raise OptionError(
            f"group_pattern={pattern!r} has no group; put the part's name in parentheses, such as "
            r"'part(\d+)_'."
        )
    found = expression.search(key)
    if not found or found[1] is None:
        raise DataError(
            f"group_pattern={pattern!r} finds no part in {key!r}; change it so that it fits every "
            "image, or the photos of one part could be separated."
        )
    return found[1]


def unmarked(records: Sequence[Record]) -> list[str]:
    """One warning where defective images have no mask."""
    defective = [r for r in records if r.defective]
    bare = [r.key for r in defective if r.mask is None]
    if not bare:
        return []
    return [
        f"{len(bare)} of {len(defective)} defective images have no mask (first: {bare[0]}); they "
        "count for the decision, not for where the defect is."
    ]


def require_folder(root: Path | None, reader: str) -> Path:
    """Refuse a root that is missing or no folder.

    Raises:
        DataError: With what to give instead.
    """
    if root is None:
        raise DataError(f"The data set {reader} needs a path: {reader}:PATH.")
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The data folder {root} {what}; check the path.")
    return root


def public_root(root: Path | None, reader: str, address: str) -> Path:
    """Find a public data set: where it was said to be, or in ``$BLEMISH_DATA/<reader>``.

    Raises:
        DataError: In one sentence, how to get it.
    """
    if root is not None:
        return require_folder(root, reader)
    folder = os.environ.get("BLEMISH_DATA")
    place = Path(folder) / reader if folder else None
    if place is None or not place.is_dir():
        raise DataError(
            f"The public data set {reader} is not {f'at {place}' if place else 'known here'}, and "
            f"nothing is downloaded: get it from {address}, then give {reader}:PATH or set "
            f"BLEMISH_DATA to the folder that holds it as {reader}."
        )
    return place


def _visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND


def _name(path: Path) -> str:
    return path.name


def _record(path: Path, root: Path, place: Place, options: TreeOptions) -> Record:
    key = key_of(path, root)
    return Record(
        key=key,
        image=path,
        defective=place.defect_type != "good",
        defect_type=place.defect_type,
        group=group_of(key, options.group_pattern),
        split=place.split,
        mm_per_pixel=options.mm_per_pixel,
    )


def _mask_stems(path: Path, place: Place) -> list[str]:
    """Where the mask of an image may be, relative to a mask folder and without suffixes."""
    inner = path.relative_to(place.folder).with_suffix("").as_posix()
    typed = f"{place.folder.name}/{inner}"
    stems = [typed, f"{place.split}/{typed}"]
    return stems if place.defect_type == "good" else [*stems, inner]


def _pair_masks(
    root: Path,
    mask_folders: Sequence[tuple[Path, Split | None]],
    mask_suffix: str,
    candidates: Mapping[tuple[str, Split], list[str]],
) -> dict[str, Path]:
    """Give each mask to the one image that it belongs to."""
    paired: dict[str, Path] = {}
    orphans: list[str] = []
    for folder, split in mask_folders:
        for mask in image_files(folder)[0]:
            stem = mask.relative_to(folder).with_suffix("").as_posix()
            splits: tuple[Split, ...] = (split,) if split else ("train", "val", "test")
            own = stem.endswith(mask_suffix)
            stem = stem.removesuffix(mask_suffix)
            keys = [key for s in splits for key in candidates.get((stem, s), []) if own]
            name = key_of(mask, root)
            if len(keys) > 1:
                raise DataError(
                    f"The mask {name} fits {len(keys)} images ({keys[0]}, {keys[1]}, …); give the "
                    "images different stems or put the mask below the name of its folder."
                )
            if not keys:
                orphans.append(name)
            elif keys[0] in paired:
                raise DataError(
                    f"{keys[0]} has two masks, {key_of(paired[keys[0]], root)} and {name}; delete "
                    "one of them."
                )
            else:
                paired[keys[0]] = mask
    if orphans:
        raise DataError(
            f"{len(orphans)} masks have no image (first: {orphans[0]}); a mask has the stem of its "
            f"image followed by {mask_suffix!r}, in a folder named like the image's. Rename or "
            "delete them, or set mask_suffix where the data set has that option."
        )
    return paired
