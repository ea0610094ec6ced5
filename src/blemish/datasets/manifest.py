"""Manifests: a table that names the images, for data that lie anywhere.

CSV (comma, semicolon or tab) or JSONL (one object per line), UTF-8, with the columns

- ``image``: path, relative to the manifest;
- ``label``: ``good`` or ``defective``; may be left out where there is a ``defect_type``;
- ``defect_type``: kind of defect (``good`` for good images);
- ``mask``: path, relative to the manifest; empty where the defect was not marked;
- ``group``: the part that was photographed; by default every image is a part of its own;
- ``split``: ``train``, ``val`` or ``test``; without it, defective images and a share of the good
  parts are for testing;
- ``mm_per_pixel``: size of a pixel in millimetres;
- ``synthetic``: ``yes`` for an image that was never a photo: it is for training only.

Every bad row is reported with its line.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.datasets.base import SPLITS, Record
from blemish.datasets.listing import unmarked
from blemish.datasets.splits import split_off_test
from blemish.errors import DataError
from blemish.options import option

COLUMNS = (
    "image", "label", "mask", "group", "split", "mm_per_pixel", "defect_type", "synthetic",
)  # fmt: skip
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_LABELS = dict.fromkeys(("good", "ok", "normal"), False) | dict.fromkeys(
    ("defective", "bad", "nok", "ng", "anomaly", "anomalous"), True
)
_SHOWN = 5  # bad rows in one message


class Manifest:
    """Images that a CSV or JSONL file names.

    Args:
        root: The file.
        options: See :class:`Manifest.Options`.

    Raises:
        DataError: There is no such file.
    """

    @dataclass(frozen=True)
    class Options:
        """Options of the data set ``manifest``."""

        ignore_columns: tuple[str, ...] = option((), "other columns that the table may have")
        test_share: float = option(
            0.3,
            "share of the good parts that is kept for testing where there are defective images but "
            "no column split",
            low=0,
            high=0.95,
        )
        split_seed: int = option(0, "another seed keeps other good parts for testing")

    def __init__(self, root: Path | None, options: Options):
        if root is None or not root.is_file():
            raise DataError(f"The manifest {root or ''} is no file; give manifest:PATH.csv.")
        self.root = root
        self.options = options

    def categories(self) -> tuple[str, ...]:
        """A manifest is one category."""
        return ()

    def records(self, category: str | None) -> tuple[Sequence[Record], Sequence[str]]:
        """Read the table.

        Raises:
            DataError: An unknown column, or bad rows: the first five with line and reason.
        """
        # All rows are read before anything is raised, so that one run shows all mistakes.
        records: dict[str, Record] = {}
        lines: dict[str, int] = {}
        splits: list[str] = []
        problems: list[str] = []
        for line, row in self._rows():
            try:
                record = self._record(row)
                if record.key in records:
                    raise ValueError(f"{record.key!r} is in line {lines[record.key]} already")
                records[record.key], lines[record.key] = record, line
                splits.append(row.get("split", ""))
            except ValueError as error:
                problems.append(f"line {line}: {error}")
        # Half a column of splits would send the other half to training without a word.
        given = [split for split in splits if split]
        if given and len(given) < len(splits):
            problems.append(f"{len(splits) - len(given)} rows have no split but others have one")
        if problems:
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise DataError(
                f"{self.root.name} has {len(problems)} bad rows: {'; '.join(problems[:_SHOWN])}"
                f"{more}. Correct or delete them."
            )
        found = [records[key] for key in sorted(records)]
        if not given:
            found = split_off_test(found, self.options.test_share, self.options.split_seed)
        return found, unmarked(found)

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number and non-empty cells of each row."""
        try:
            # utf-8-sig drops the mark that Excel puts in front.
            text = self.root.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.root.name} is not UTF-8 ({error}); save it as UTF-8.") from None
        rows = _json_lines(text) if self.root.suffix.lower() == ".jsonl" else _csv_rows(text)
        for line, row in rows:
            if isinstance(row, str):
                raise DataError(f"{self.root.name}, line {line}: {row}.")
            self._check_columns(line, row)
            cells = {name: str(value).strip() for name, value in row.items() if value is not None}
            yield line, {name: value for name, value in cells.items() if value}

    def _check_columns(self, line: int, row: Mapping[str, Any]) -> None:
        for name in row:
            if name not in COLUMNS and name not in self.options.ignore_columns:
                nearest = difflib.get_close_matches(name, COLUMNS, n=1)
                hint = f"did you mean {nearest[0]!r}?" if nearest else "remove it, or"
                raise DataError(
                    f"{self.root.name}, line {line}: unknown column {name!r}; {hint} name it in "
                    f"the option ignore_columns. Known: {', '.join(COLUMNS)}."
                )

    def _record(self, row: Mapping[str, str]) -> Record:
        """Turn one row into a record; a ValueError says what is wrong with it."""
        if "image" not in row:
            raise ValueError("no image")
        key, image = self._file(row["image"])
        defective = _is_defective(row)
        split = row.get("split", "train").lower()
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is not train, val or test")
        synthetic = _YES.get(row.get("synthetic", "no").lower())
        if synthetic is None:
            raise ValueError(f"synthetic {row['synthetic']!r} is not yes or no")
        if synthetic and split != "train":
            raise ValueError(f"a synthetic image cannot be in {split}, only in train")
        return Record(
            key=key,
            image=image,
            defective=defective,
            defect_type=row.get("defect_type", "defective") if defective else "good",
            group=row.get("group", key),
            split=split,
            mask=self._file(row["mask"])[1] if "mask" in row else None,
            mm_per_pixel=_size(row["mm_per_pixel"]) if "mm_per_pixel" in row else None,
            synthetic=synthetic,
        )

    def _file(self, text: str) -> tuple[str, Path]:
        """Key and path of a file named in the table, which may come from another system."""
        key = text.replace("\\", "/").removeprefix("./")
        path = self.root.parent / key
        if not path.is_file():
            raise ValueError(f"there is no file {key!r} beside the manifest")
        return key, path


def _is_defective(row: Mapping[str, str]) -> bool:
    kind = row.get("defect_type")
    label = row.get("label", "").lower()
    if not label and kind is None:
        raise ValueError("neither label nor defect_type")
    if label and label not in _LABELS:
        raise ValueError(
            f"label {row['label']!r} is not good or defective (a kind goes to defect_type)"
        )
    by_kind = None if kind is None else _LABELS.get(kind.lower(), True)
    defective = _LABELS[label] if label else bool(by_kind)
    if by_kind is not None and by_kind != defective:
        raise ValueError(f"label {label!r} and defect_type {kind!r} contradict each other")
    return defective


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise ValueError(f"mm_per_pixel {text!r} is not a positive number with a decimal point")
    return size


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a CSV text; a string in place of a row says what is wrong with the line."""
    # Spreadsheets write semicolons where the comma is the decimal sign.
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
            yield 1, "a column is named twice"
        for row in reader:
            # DictReader puts surplus cells under the key None, and None in place of missing ones.
            cells: dict[Any, Any] = row
            if None in cells or None in cells.values():
                yield reader.line_num, f"not as many cells as the header has ({header.strip()})"
            yield reader.line_num, row
    except csv.Error as error:
        yield reader.line_num, f"not CSV ({error})"


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Rows of a JSONL text; a string in place of a row says what is wrong with the line."""
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except ValueError as error:
            yield line, f"not JSON ({error})"
        else:
            yield line, row if isinstance(row, dict) else "not an object in braces"
