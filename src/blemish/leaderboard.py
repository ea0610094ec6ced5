"""Methods side by side on the same data: figures with intervals, and what they cost.

Methods that learned from marked defects are never ranked in one table with those that saw good
parts only. Nothing is chosen here: every cell of a grid is a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish import registry
from blemish.files import write_atomically
from blemish.grid_table import Cell
from blemish.reporting.heat_map import HeatMap
from blemish.reporting.leaderboard_page import Table, write_leaderboard_page
from blemish.reporting.words import NONE, number

# Heading to figure and digits; d1 is the smallest quarter of the defects.
COLUMNS = {
    "image AUROC": ("image_auroc", 3),
    "pixel AUROC": ("pixel_auroc", 3),
    "AUPRO": ("aupro_0.30", 3),
    "smallest ¼": ("aupro_0.30_d1", 3),
    "2nd ¼": ("aupro_0.30_d2", 3),
    "3rd ¼": ("aupro_0.30_d3", 3),
    "largest ¼": ("aupro_0.30_d4", 3),
    "false alarms": ("false_alarm_rate", 3),
    "misses": ("miss_rate", 3),
    "CPU, ms": ("per_image_ms", 0),
    "memory, MB": ("peak_memory_mb", 0),
    "fit, s": ("fit_seconds", 0),
    "fit and test, Wh": ("energy_wh", 2),
}
DRAWN = ("image_auroc", "aupro_0.30", "per_image_ms")  # figures that get a chart
LEARNS = {
    "normal": "Learned from good parts only",
    "masks": "Learned from good parts and marked defects",
    "labels": "Learned from good parts and labelled defects",
}
NOTES = (
    "AUPRO to a false-positive rate of 0.3; its quarters are by area of the defects. False alarms "
    "and misses at 5 % asked. ± is the deviation over seeds, brackets are a 95 % interval over "
    "parts. CPU: median of one image after the other, with reading; memory: peak of the process "
    "that fitted; energy is estimated by codecarbon from the load, no meter was read.",
)


@dataclass(frozen=True)
class Wanted:
    """A row that should be there, and the command that makes it."""

    method: str
    data: str
    command: str


def tables(cells: Sequence[Cell], wanted: Sequence[Wanted] = ()) -> list[Table]:
    """One table per data set and supervision, the largest image AUROC first.

    Args:
        cells: What was measured.
        wanted: Rows that are shown empty, with their command, where no cell has them.
    """
    there = {(cell.method, cell.data) for cell in cells}
    missing = [w for w in wanted if (w.method, w.data) not in there]
    found = []
    for data in dict.fromkeys([*(w.data for w in wanted), *(c.data for c in cells)]):
        for supervision, title in LEARNS.items():
            own = [c for c in cells if c.data == data and _learns(c.method) == supervision]
            lacking = [w for w in missing if w.data == data and _learns(w.method) == supervision]
            if own or lacking:
                rows = [_row(cell) for cell in sorted(own, key=_rank)]
                rows += [_empty(w) for w in lacking]
                found.append(Table(f"{data}: {title}", ("method", "runs", *COLUMNS), rows))
    return found


def markdown(found: Sequence[Table]) -> str:
    """The tables as Markdown."""
    lines: list[str] = []
    for table in found:
        lines += [f"## {table.title}", "", _line(table.columns), "|---" * len(table.columns) + "|"]
        lines += [*map(_line, table.rows), ""]
    return "\n".join(lines)


def write_leaderboard(
    cells: Sequence[Cell], folder: Path, *, notes: Sequence[str] = (), command: str = ""
) -> None:
    """Write ``leaderboard.html`` with charts, and ``leaderboard.md``.

    Args:
        cells: What was measured.
        folder: Where both go.
        notes: Further sentences that a reader must know.
        command: The command that measures it again.
    """
    found, said = tables(cells), (*NOTES, *notes)
    page = folder / "leaderboard.html"
    write_leaderboard_page(found, charts(cells), page, notes=said, command=command)
    text = "\n\n".join(("# Leaderboard", *said, markdown(found)))
    write_atomically(folder / "leaderboard.md", text + "\n")


def charts(cells: Sequence[Cell]) -> list[HeatMap]:
    """Heat maps of methods by data, of the first cell of each."""
    methods = tuple(dict.fromkeys(c.method for c in cells))
    data = tuple(dict.fromkeys(c.data for c in cells))
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        first.setdefault((cell.method, cell.data), cell)
    found = []
    for name, (key, digits) in COLUMNS.items():
        grid = [[_figure(first.get((m, d)), key) for d in data] for m in methods]
        if key in DRAWN and any(figure for row in grid for figure in row):
            values = [[None if f is None else f["value"] for f in row] for row in grid]
            texts = [[_written(f, digits) for f in row] for row in grid]
            found.append(HeatMap(name, ("method", methods), ("data", data), values, texts))
    return found


def _learns(method: str) -> str:
    return str(registry.get("methods", method).supervision)


def _rank(cell: Cell) -> tuple[float, str]:
    figure = _figure(cell, "image_auroc")
    return (-figure["value"] if figure else 1.0, cell.method)


def _figure(cell: Cell | None, key: str) -> Mapping[str, Any] | None:
    found = cell.figures.get(key) if cell is not None else None
    return None if found is None or found.get("value") is None else found


def _row(cell: Cell) -> tuple[str, ...]:
    options = " ".join(f"{k}={v}" for k, v in cell.options.items())
    figures = (_written(_figure(cell, key), digits) for key, digits in COLUMNS.values())
    return (f"{cell.method} {options}".strip(), str(cell.runs), *figures)


def _empty(wanted: Wanted) -> tuple[str, ...]:
    return (f"{wanted.method}: `{wanted.command}`", "0", *[NONE] * len(COLUMNS))


def _written(figure: Mapping[str, Any] | None, digits: int) -> str:
    if figure is None:
        return NONE
    if digits < 3:
        return f"{figure['value']:.{digits}f}"
    text = number(figure["value"])
    if figure.get("deviation", 0) > 0:
        text += f" ± {figure['deviation']:.3f}"
    if "low" in figure and "high" in figure:
        text += f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
