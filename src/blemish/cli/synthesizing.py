"""The verbs that make images that were never taken."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import blemish
from blemish.cli import output
from blemish.cli.app import TRACKERS, Category, Data, DataSet, app
from blemish.cli.progress import progress_bar

PART = "{part}"


@app.command("synthesize")
def synthesize(
    gan: Annotated[str, typer.Argument(help="dcgan or wgan_gp.")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the images.")],
    data_set: DataSet = None,
    category: Category = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Once per sub-part: {part} in --data, --data-set is replaced by it."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the GAN, key=value.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="thesis, small or tiny.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Images that are fit for use.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="As that of the detectors.")] = 0,
    detector: Annotated[
        Path | None, typer.Option(help="Model file; what it finds odd is left out.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="Features that tell copies.")] = "filter_bank",
    weights: Annotated[str | None, typer.Option(help="Weights of a timm backbone.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that learn together.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that learn together.")] = 1,
    track: Annotated[str, typer.Option(help=f"Also write curves to: {TRACKERS}.")] = "none",
    label: Annotated[str, typer.Option(help="What the tracker calls this run.")] = "",
) -> None:
    """Draw new images of good parts: learn, draw, leave out what is not fit for use.

    The state of the training is kept in OUT/training: the same command goes on after a stop.
    """
    for name in part or [""]:
        opened = blemish.open_dataset(
            data.replace(PART, name),
            category=category,
            **output.assignments([text.replace(PART, name) for text in data_set or []]),
        )
        folder = out / name
        run = blemish.Run(seed=seed, device=device, track=track, say=print)
        run.devices, run.nodes = devices, nodes
        run.label, run.checkpoint = label or f"{gan}-{name or opened.name}", folder / "training"
        learner = blemish.make_gan(gan, preset, **output.assignments(settings))
        more = {"count": count, "backbone": backbone, "weights": weights}
        _produce(learner, opened, folder, run, detector, more)


def _produce(
    gan: Any,
    data: blemish.DataSet,
    folder: Path,
    run: blemish.Run,
    detector: Path | None,
    options: dict[str, Any],
) -> None:
    score = None
    if detector is not None:
        judge = blemish.Detector.load(detector)
        score = lambda image: judge.predict(image).score  # noqa: E731
    with progress_bar() as run.progress:
        made = blemish.synthesize(gan, data, folder, score=score, run=run, **options)
    page = blemish.write_synthesis(made, folder, command=output.command_line())
    print(f"{made.acceptance:.0%} of {sum(made.tally.values())} drawn images are fit for use.")
    print(f"Wrote {made.manifest or 'no image'} and {page}.")


@app.command("compose")
def compose(
    folders: Annotated[list[Path], typer.Argument(help="Synthetic sub-parts, topmost first.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the whole parts.")],
    count: Annotated[int, typer.Option(min=0, help="How many; 0 = as many as go.")] = 0,
    seed: Annotated[int, typer.Option(help="Which go together.")] = 0,
) -> None:
    """Put synthetic sub-parts together into whole parts, with matched light at the seams."""
    print(f"Wrote {blemish.compose(folders, out, count, seed)}.")
