"""The results of a grid put together: a cell per method, data and options, and heat maps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blemish.benchmark import pool_figures
from blemish.metrics.repeated import RepeatedRuns, Statistic
from blemish.options import digest_text
from blemish.reporting.grid_page import write_grid_page
from blemish.reporting.heat_map import HeatMap
from blemish.reporting.words import NONE, number

# Figures that get a heat map, where all runs of a cell have them, and what a reader must know.
SHOWN = {
    "image_auroc": "",
    "image_ap": "A guess has the share of defective test images, {prevalence}.",
    "pixel_auroc": "",
    "aupro_0.30": "",
    "fit_seconds": "On this machine, whatever else it did.",
    "numbers": "Weights, and all else that the model file keeps.",
}
Axis = tuple[str, Sequence[str]]
Axes = Mapping[str, Sequence[str]]
NO_AXIS: Axis = ("", ("",))
INTERVALS: dict[str, Statistic] = {"image_auroc": "auroc", "image_ap": "average_precision"}


@dataclass(frozen=True)
class Cell:
    """All runs of one method on one data set with the same options, put together.

    Attributes:
        method: Registered name.
        data: Name of the data set, with the options of its reader.
        options: Options of the runs.
        runs: How many there are.
        figures: Name to plain JSON figure: mean, deviation and values over the runs, and for image
            AUROC and AP the interval over parts.
        test_runs: Scores of every test image of every run.
    """

    method: str
    data: str
    options: Mapping[str, Any]
    runs: int
    figures: Mapping[str, Mapping[str, Any]]
    test_runs: Sequence[Mapping[str, Any]] = field(repr=False, default=())


def pool_cells(results: Iterable[Mapping[str, Any]], intervals: bool = True) -> list[Cell]:
    """Put the results files of the same method, data and options together, in order of first run.

    Args:
        results: Contents of the results files of :func:`blemish.grid.run_grid`.
        intervals: Also compute 95 % intervals over parts, which takes a second per cell.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        words = {"method": result["method"], "data": _data(result), "options": result["options"]}
        groups.setdefault(digest_text(words), []).append(result)
    return [_cell(group, intervals) for group in groups.values()]


def heat_maps(cells: Sequence[Cell], axes: Axes) -> list[HeatMap]:
    """Heat maps of the cells of one method and data set: the first axis down, the second across.

    Args:
        cells: Cells of the same method and data.
        axes: Options of the grid and their values; of further axes each value has maps of its own.
    """
    rows, columns, *others = [*axes.items(), *[NO_AXIS] * 2][: max(2, len(axes))]
    found = []
    for rest in itertools.product(*(values for _, values in others)):
        chosen = dict(zip((name for name, _ in others), rest, strict=True))
        own = [c for c in cells if all(_value(c, a) == v for a, v in chosen.items())]
        where = "".join(f", {a}={v}" for a, v in chosen.items())
        for name in SHOWN:
            if own and all(c.figures.get(name, {}).get("value") is not None for c in own):
                found.append(_heat_map(own, name, rows, columns, where))
    return found


def write_grid(
    results: Sequence[Mapping[str, Any]],
    axes: Axes,
    path: Path,
    *,
    notes: Sequence[str] = (),
    command: str = "",
) -> list[Cell]:
    """Write the page of a grid and give its cells.

    Args:
        results: Contents of its results files.
        axes: Options of the grid and their values.
        path: The HTML file.
        notes: Sentences that a reader must know.
        command: The command that made it.
    """
    cells = pool_cells(results)
    sections: dict[str, list[Cell]] = {}
    for cell in cells:
        sections.setdefault(f"{cell.method} on {cell.data}", []).append(cell)
    maps = {title: heat_maps(own, axes) for title, own in sections.items()}
    write_grid_page(maps, path, notes=notes, command=command)
    return cells


def _data(result: Mapping[str, Any]) -> str:
    options = result["data"].get("options", {})
    return " ".join([result["data"]["name"], *(f"{k}={v}" for k, v in options.items())])


def _cell(results: Sequence[Mapping[str, Any]], intervals: bool) -> Cell:
    figures = pool_figures([{**r["figures"], **_costs(r)} for r in results])
    tested = [run for r in results for run in r.get("runs", [])]
    if intervals and len(tested) == len(results) > 1:
        repeated = RepeatedRuns.of(tested)
        for name, statistic in INTERVALS.items():
            low, high = repeated.interval(statistic)
            if low is not None and high is not None:
                figures[name] = {**figures[name], "low": low, "high": high}
    first = results[0]
    return Cell(first["method"], _data(first), first["options"], len(results), figures, tested)


def _costs(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    seconds = result["seconds"]
    each = None if "per_image" not in seconds else 1000 * seconds["per_image"]
    return {
        "fit_seconds": {"value": seconds.get("fit"), "label": "Fit, seconds"},
        "per_image_ms": {"value": each, "label": "One image, milliseconds"},
        "peak_memory_mb": {"value": result.get("peak_memory_mb"), "label": "Peak memory, MB"},
    }


def _value(cell: Cell, axis: str) -> str:
    return str(cell.options.get(axis, ""))


def _heat_map(cells: Sequence[Cell], name: str, rows: Axis, columns: Axis, where: str) -> HeatMap:
    figures = {(_value(c, rows[0]), _value(c, columns[0])): c.figures[name] for c in cells}
    places = [[figures.get((row, column)) for column in columns[1]] for row in rows[1]]
    guess = number(cells[0].figures.get("prevalence", {}).get("value"))
    return HeatMap(
        title=f"{cells[0].figures[name]['label']}{where}",
        rows=rows,
        columns=columns,
        values=[[None if figure is None else figure["value"] for figure in row] for row in places],
        texts=[[_written(figure) for figure in row] for row in places],
        note=SHOWN[name].format(prevalence=guess),
    )


def _written(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return NONE
    spread = f" ± {figure['deviation']:.3f}" if figure.get("deviation", 0) > 0 else ""
    return number(figure["value"]) + (spread if figure["value"] <= 1 else "")
