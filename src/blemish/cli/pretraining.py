"""The verb of what is learned before any part is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blemish
from blemish.cli import output
from blemish.cli.app import Category, Checkpoint, DataSet, Settings, app
from blemish.cli.progress import progress_bar


@app.command("pretrain")
def pretrain(
    method: Annotated[str, typer.Argument(help="masked_autoencoder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Encoder file, *.safetensors.")],
    images: Annotated[
        list[Path] | None, typer.Option(help="Folder of any images; may be given again.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set; what tests and calibrates is left out.")
    ] = None,
    data_set: DataSet = None,
    category: Category = None,
    settings: Settings = None,
    preset: Annotated[str | None, typer.Option(help="Named option values.")] = None,
    checkpoint: Checkpoint = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that learn together.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that learn together.")] = 1,
) -> None:
    """Learn what photos look like, for `fit --init` and for backbone=pretrained_encoder."""
    opened = output.open_optional(data, category, data_set)
    values = output.assignments(settings)
    with progress_bar() as progress:
        run = blemish.Run(checkpoint=checkpoint, say=print, progress=progress)
        run.devices, run.nodes = devices, nodes
        made = blemish.pretrain(
            method, opened, images=images or (), preset=preset, run=run, **values
        )
    path = made.save(out)
    print(f"Learned from {made.data['learned']} images.\nWrote {path}.")
