"""The verbs before learning: draw photos, cut parts out, split them, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blemish
from blemish.cli import output
from blemish.cli.progress import progress_bar

prepare = typer.Typer(
    name="prepare",
    help="From photos to the images that a method learns from.",
    no_args_is_help=True,
)

Where = Annotated[str, typer.Argument(help="A folder, a manifest, or NAME[:PATH].")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")]
DataSet = Annotated[
    list[str] | None, typer.Option("--data-set", help="Option of the data set, key=value.")
]


def draw(
    name: Annotated[str, typer.Argument(help="A drawn data set, such as battery_plate.")],
    out: Out,
    data_set: DataSet = None,
    count: Annotated[
        int | None, typer.Option(min=3, help="Images in all, a fifth of them defective.")
    ] = None,
    format: Annotated[str, typer.Option(help="bmp, png or tiff.")] = "bmp",
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
) -> None:
    """Draw a data set into files: images, and masks that are exact."""
    given = output.assignments(data_set)
    given |= output.counts(count, given)
    data = blemish.open_dataset(name, **given)
    with progress_bar() as progress:
        blemish.save_dataset(data, out, given, format=format, workers=workers, progress=progress)
    print(f"Wrote {len(data)} images, {len(data.select(defective=True))} defective, to {out}.")


@prepare.command("crop")
def crop(
    photos: Where,
    out: Out,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the cut-outs.")] = "240x1200",
    margin: Annotated[str, typer.Option(help="WIDTHxHEIGHT of a border around the part.")] = "0x0",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="max_angle, aspect, area, filled or seen, key=value."),
    ] = None,
    data_set: DataSet = None,
    workers: Annotated[int, typer.Option(min=1, help="Photos at a time, 300 MB each.")] = 1,
) -> None:
    """Cut the part out of every photo, upright and of one size; list the photos it cannot."""
    data = blemish.open_dataset(photos, **output.assignments(data_set))
    options = blemish.read_crop_options(size=size, margin=margin, **output.assignments(settings))
    with progress_bar() as progress:
        done = blemish.crop_parts(data, out, options, workers=workers, progress=progress)
    output.print_cropped(done)


@prepare.command("split")
def split(
    data: Where,
    out: Out,
    regions: Annotated[
        str, typer.Option(help="name=top:bottom or name=left:top:right:bottom in shares, ….")
    ] = ",".join(blemish.THIRDS),
    gaps: Annotated[
        bool, typer.Option("--gaps", help="Allow that regions leave some out.")
    ] = False,
    data_set: DataSet = None,
) -> None:
    """Split parts into regions, one data set each, with labels from the masks."""
    opened = blemish.open_dataset(data, **output.assignments(data_set))
    boxes = blemish.read_regions(regions.split(","), gaps=gaps)
    with progress_bar() as progress:
        done = blemish.split_parts(opened, out, boxes, progress=progress)
    for name, path in done.manifests.items():
        print(f"{name}: {done.images} images, {done.defective[name]} defective: {path}")


@prepare.command("back")
def back(
    crops: Annotated[Path, typer.Argument(help="Folder that `prepare crop` wrote.")],
    maps: Annotated[Path, typer.Argument(help="Folder of maps: `evaluate --maps` wrote it.")],
    out: Out,
) -> None:
    """Bring the maps of cut-outs back into the frames of their photos, as float32 TIFF."""
    with progress_bar() as progress:
        count = blemish.maps_to_photos(crops, maps, out, progress=progress)
    print(f"Wrote {count} maps to {out}.")
