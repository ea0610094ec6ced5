"""The verb `benchmark`: how good the methods are on data, and how fast they are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import blemish
from blemish.cli import output
from blemish.cli.progress import progress_bar


def benchmark(
    speed: Annotated[bool, typer.Option("--speed", help="Measure speed, memory and size.")] = False,
    method: Annotated[
        list[str] | None, typer.Option(help="--speed: only this method; may be given again.")
    ] = None,
    methods: Annotated[str, typer.Option(help="Methods to run, comma-separated.")] = "",
    data: Annotated[
        list[str] | None, typer.Option("--data", help="As for fit; may be given again.")
    ] = None,
    data_set: Annotated[
        list[str] | None, typer.Option("--data-set", help="Option of the data sets, key=value.")
    ] = None,
    category: Annotated[str | None, typer.Option(help="Category of the data sets.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of every run, key=value.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Named option values.")] = None,
    grid: Annotated[
        str, typer.Option(help="Option values to combine: latent=32,64:image_size=64,128.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each cell.")] = 1,
    folds: Annotated[
        int, typer.Option(min=0, help="Splits over the good images; 0 = the data set's own.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the results files.")
    ] = None,
    energy: Annotated[bool, typer.Option("--energy", help="Also estimate the energy.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray: runs side by side.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster: ray://HOST:PORT.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Runs at a time, with Ray.")] = None,
) -> None:
    """Measure methods: on data (--methods, --data), or their speed on this machine (--speed).

    A grid that was stopped goes on in the same folder; grid.html there shows it as heat maps,
    leaderboard.html and leaderboard.md as tables.
    """
    if speed:
        measure_speed(out or Path("blemish-speed"), method or [])
    elif methods and data:
        sources = [blemish.GridData(d, category, output.assignments(data_set)) for d in data]
        axes, options = blemish.parse_grid(grid), output.assignments(settings)
        names = [name.strip() for name in methods.split(",") if name.strip()]
        how: dict[str, Any] = {"seeds": seeds, "folds": folds, "preset": preset, "options": options}
        where: dict[str, Any] = {"perform": partial(blemish.perform, energy=energy)}
        if output.is_ray(engine):
            where["engine"] = blemish.RayEngine(address, workers)
        planned = blemish.plan_runs(names, sources, axes, **how)
        run_grid(planned, axes, out or Path("blemish-grid"), where)
    else:
        raise blemish.OptionError("Say what to measure: --methods and --data, or --speed.")


def measure_speed(out: Path, methods: list[str]) -> None:
    """Measure every exportable method in every way it can run, one thread."""
    with progress_bar() as progress:
        print(blemish.measure_speed(out, methods, progress))
    print(f"\nResults files: {out.resolve()}")


def run_grid(
    runs: list[blemish.GridRun],
    axes: dict[str, tuple[str, ...]],
    out: Path,
    where: dict[str, Any],
) -> None:
    """Run what is missing, write the pages, print a line per cell; exit with 2 if a run failed."""
    failures: list[str] = []
    with progress_bar() as progress:
        results = blemish.run_grid(runs, out, progress=progress, say=failures.append, **where)
    page, command = out / "grid.html", output.command_line()
    cells = blemish.write_grid(results, axes, page, notes=failures, command=command)
    blemish.write_leaderboard(cells, out, notes=failures, command=command)
    for cell in cells:
        print(output.cell_line(cell))
    print(*failures, f"Results files, heat maps, tables: {page.parent.resolve()}", sep="\n")
    raise typer.Exit(2 if failures else 0)
