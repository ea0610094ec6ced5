"""Rows of predictions as JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from blemish.errors import MissingExtraError

FORMATS = ("json", "csv", "parquet")
RESULT_COLUMNS = {
    "image": str,
    "defective": bool,
    "p_value": float,
    "score": float,
    "threshold": float,
    "pixel_threshold": float,
    "false_alarms": float,
    "width": int,
    "height": int,
    "regions": int,
    "largest_region": str,
    "error": str,
}
Row = Mapping[str, Any]
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
_FORMULA = set("=+-@\t\r\n＝＋－＠")


def safe_text(text: str) -> str:
    """Write a text so that a spreadsheet shows it and never runs it.

    What begins like a formula (``= + - @``, tab, line break, and the wide forms of these, also
    after spaces) gets an apostrophe in front.
    """
    return "'" + text if text.lstrip(" ")[:1] in _FORMULA and text.strip(" ") else text


def flat(row: Row) -> dict[str, Any]:
    """One value per column: regions as their number and the box of the first."""
    regions = row.get("regions", [])
    first = " ".join(map(str, regions[0]["box"])) if regions else None
    values = {**row, "regions": len(regions) if "score" in row else None, "largest_region": first}
    return {name: values.get(name) for name in RESULT_COLUMNS}


def header_line(form: str) -> str:
    """The first line of a file that grows."""
    return _csv_line(list(RESULT_COLUMNS)) if form == "csv" else ""


def line_of(row: Row, form: str) -> str:
    """One line of a file that grows."""
    if form == "csv":
        return _csv_line(list(flat(row).values()))
    return json.dumps(dict(row)) + "\n"


def whole_file(rows: Sequence[Row], form: str) -> bytes | str:
    """A whole results file.

    Raises:
        MissingExtraError: Parquet without the extra [tables].
    """
    if form == "parquet":
        return _parquet([flat(row) for row in rows])
    return header_line(form) + "".join(line_of(row, form) for row in rows)


def _csv_line(values: Sequence[Any]) -> str:
    buffer = io.StringIO()
    cells = [safe_text(v) if isinstance(v, str) else v for v in values]  # None becomes empty
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("A parquet file", "tables") from error
    kinds = {
        str: pyarrow.string(),
        bool: pyarrow.bool_(),
        float: pyarrow.float64(),
        int: pyarrow.int64(),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in RESULT_COLUMNS.items()])
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([dict(r) for r in rows], schema), buffer)
    return buffer.getvalue()
