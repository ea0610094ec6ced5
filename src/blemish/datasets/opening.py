"""Open a data set by name, folder or manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish import options as opts
from blemish import registry
from blemish.datasets.base import DataSet, Source
from blemish.datasets.splits import few_defects
from blemish.datasets.synthetic import FILE as SYNTHETIC
from blemish.datasets.synthetic import add_synthetic
from blemish.errors import DataError, UnknownNameError
from blemish.images import DEFAULT_MAX_PIXELS, is_image_name

MANIFEST_SUFFIXES = {".csv", ".jsonl"}


@dataclass(frozen=True)
class CommonOptions:
    """Options of every data set."""

    max_pixels: int = opts.option(
        DEFAULT_MAX_PIXELS, "images with more pixels than this are refused", low=1
    )
    bit_depth: int = opts.option(16, "bits that are used in 16-bit images", low=8, high=16)
    few_defects: int = opts.option(
        0, "marked defects of each type that move from test to training; 0 = none", low=0
    )
    draw: int = opts.option(0, "which few defects: one split for each number", low=0)
    synthetic: tuple[str, ...] = opts.option(
        (), "folders of synthetic images that are added to training"
    )
    most_synthetic: int = opts.option(0, "use only so many of each; 0 = all", low=0)
    unseen: tuple[str, ...] = opts.option(
        (), "types of which few_defects moves nothing, to test on defects never seen"
    )


def open_dataset(where: str | Path, *, category: str | None = None, **options: Any) -> DataSet:
    """Open a data set; no pixels are read yet.

    Args:
        where: ``NAME`` or ``NAME:PATH`` with a registered name (write ``./NAME`` for a folder of
            that name), a folder, or a ``.csv`` or ``.jsonl`` manifest. A folder laid out like MVTec
            AD is read as such, any other by the reader ``folder``; ``DataSet.reader`` says which.
        category: One of :func:`list_categories`, where there are any.
        **options: Options of the reader, and :class:`CommonOptions`; text is converted.
            ``few_defects=3, draw=0`` moves marked defects to training, for methods that learn from
            masks; give `fit` and `evaluate` the same.

    Raises:
        UnknownNameError: No such data set, category or option; the nearest name is offered.
        DataError: Nothing there, fewer than two images, or what the reader refuses.
        OptionError: A value that an option cannot take.
    """
    reader, root, source, common = _source(where, options)
    known = source.categories()
    if category is None and known:
        raise DataError(
            f"{where} holds {len(known)} categories; choose one of {', '.join(known)}, or `all`."
        )
    if category is not None and category not in known:
        if not known:
            raise DataError(f"{where} has no categories; leave the category {category!r} out.")
        raise UnknownNameError(f"category of {where}", category, known)
    records, warnings = source.records(category)
    if len(records) < 2:
        found = "one image only" if records else "no images"
        raise DataError(
            f"{where} (read as {reader}) holds {found}; give a folder of photos of good parts, "
            "one folder `good` with one folder per kind of defect, or a manifest."
        )
    opened = DataSet(
        name=_name(reader, root, category),
        records=tuple(records),
        warnings=tuple(warnings),
        reader=reader,
        max_pixels=common.max_pixels,
        bit_depth=common.bit_depth,
    )
    if common.synthetic:
        opened = add_synthetic(opened, common.synthetic, common.most_synthetic)
    if not common.few_defects:
        return opened
    return few_defects(opened, common.few_defects, common.draw, common.unseen)


def list_categories(where: str | Path, **options: Any) -> tuple[str, ...]:
    """List the categories of a data set; empty where there are none.

    Args:
        where: As for :func:`open_dataset`.
        **options: As for :func:`open_dataset`.

    Raises:
        BlemishError: As for :func:`open_dataset`.
    """
    return _source(where, options)[2].categories()


def _name(reader: str, root: Path | None, category: str | None) -> str:
    """``mvtec_ad/screw``, ``battery_plate``; own photos go by the name of their folder."""
    last = category or (root.resolve().name if root else reader)
    if reader == "manifest":
        return Path(last).stem
    if reader == "folder":
        return last
    return reader if last == reader else f"{reader}/{last}"


def _source(
    where: str | Path, options: Mapping[str, Any]
) -> tuple[str, Path | None, Source, CommonOptions]:
    """Find the reader and give it its share of the options."""
    reader, root = _resolve(where)
    cls = registry.get("datasets", reader)
    own, common = opts.names(cls.Options), opts.names(CommonOptions)
    for name in options:
        if name not in {*own, *common}:
            raise UnknownNameError(f"option of data set {reader}", name, [*own, *common])
    owner = f"data set {reader}"
    shared = opts.build(CommonOptions, {n: v for n, v in options.items() if n in common}, owner)
    values = opts.build(cls.Options, {n: v for n, v in options.items() if n in own}, owner)
    return reader, root, cls(root, values), shared


def _resolve(where: str | Path) -> tuple[str, Path | None]:
    """Tell a name from a path: only a registered name counts, so ``C:/photos`` is a folder."""
    known = registry.names("datasets")
    if isinstance(where, str):
        name, colon, rest = where.partition(":")
        if name in known:
            if colon and not rest:
                raise DataError(f"{where!r} has no path after the colon; give {name}:PATH.")
            return name, Path(rest) if colon else None
    path = Path(where)
    if path.is_dir():
        return _reader_of(path), path
    if path.is_file():
        if path.name == SYNTHETIC:
            return "synthetic", path
        if path.suffix.lower() in MANIFEST_SUFFIXES:
            return "manifest", path
        hint = "give the folder that holds it" if is_image_name(path) else "give a folder"
        raise DataError(f"{path} is a file but no .csv or .jsonl manifest; {hint}.")
    # A bare word is more likely a misspelt name than a missing folder.
    if len(path.parts) == 1 and not path.suffix:
        raise UnknownNameError("data set or folder", str(where), known)
    raise DataError(
        f"{where} does not exist; check the path, or give one of the data sets {', '.join(known)}."
    )


def _reader_of(root: Path) -> str:
    """Choose the reader of a folder by its tree."""
    if (root / SYNTHETIC).is_file():
        return "synthetic"
    # Read as mvtec_ad, the groups would be lost and near copies counted as parts of their own.
    if (root / "train" / "good").is_dir() and (root / "groups.csv").is_file():
        return "magnetic_tile"
    # The root may be one category or hold several.
    trees = [root, *(p for p in root.iterdir() if p.is_dir())]
    return "mvtec_ad" if any(_is_mvtec(tree) for tree in trees) else "folder"


def _is_mvtec(root: Path) -> bool:
    """Like a category of MVTec AD: good images for training, and masks called ``_mask``."""
    masks = (root / "ground_truth").glob("*/*_mask.*")
    return (root / "train" / "good").is_dir() and any(True for _ in masks)
