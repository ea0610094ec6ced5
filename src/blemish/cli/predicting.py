"""`blemish predict`: which files, what is printed, where results go."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blemish
from blemish.cli import output
from blemish.cli.progress import progress_bar

READERS = 2  # threads that read ahead unless another number is asked for


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    model: Path
    images: tuple[str, ...]
    forms: tuple[str, ...]
    out: str | None
    overlay: Path | None
    watch: Path | None
    workers: int | None

    @property
    def form(self) -> str:
        """``"text"``, ``"json"``, ``"csv"`` or ``"parquet"``."""
        if len(self.forms) > 1:
            raise blemish.OptionError("Give one of --json, --csv and --parquet.")
        if self.forms == ("parquet",) and self.out is None:
            raise blemish.OptionError("A parquet file needs a name: --out FILE.")
        if self.out is not None and not self.forms:
            raise blemish.OptionError("--out needs one of --json, --csv and --parquet.")
        return self.forms[0] if self.forms else "text"


@dataclass(frozen=True)
class Bulk:
    """What the command line asked for beyond this machine."""

    engine: str
    address: str | None
    thumbnails: int


def judge(request: Request, bulk: Bulk, false_alarms: str | None) -> blemish.Tally:
    """Judge images with the engine that was asked for."""
    if output.is_ray(bulk.engine):
        return _judge_in_bulk(request, bulk, false_alarms)
    if bulk.address is not None or bulk.thumbnails:
        raise blemish.OptionError("--address and --thumbnails need --engine ray.")
    return _judge_here(output.load(request.model, false_alarms), request)


def _judge_in_bulk(request: Request, bulk: Bulk, false_alarms: str | None) -> blemish.Tally:
    """Judge one source on all machines of a cluster."""
    if request.forms or request.overlay or request.watch:
        raise blemish.OptionError(
            "--engine ray writes a folder of Parquet files; it takes no --json, --csv, --parquet, "
            "--overlay or --watch."
        )
    if len(request.images) != 1 or request.out is None:
        raise blemish.OptionError(
            "--engine ray takes one source (a folder, a list of files, Parquet) and --out FOLDER."
        )
    options = blemish.Bulk(
        bulk.address,
        request.workers,
        false_alarms=None if false_alarms is None else output.rate(false_alarms),
        thumbnails=bulk.thumbnails,
    )
    with progress_bar() as progress:
        tally = blemish.inspect_in_bulk(
            request.model, request.images[0], request.out, options, progress
        )
    print(tally.text(), file=sys.stderr)
    return tally


def _judge_here(detector: blemish.Detector, request: Request) -> blemish.Tally:
    """Judge files and folders, or all that comes into a folder until it is stopped."""
    if bool(request.images) == (request.watch is not None):
        raise blemish.OptionError("Give images or folders, or --watch FOLDER.")
    form, images = request.form, tuple(map(Path, request.images))
    watched = (request.watch,) if request.watch is not None else ()
    names = _Names((*images, *watched))
    inspection = blemish.Inspection(
        detector,
        out=None if request.out is None else Path(request.out),
        form="json" if form == "text" else form,
        live=request.watch is not None,
        workers=request.workers or READERS,
        write=_Pictures(request.overlay, names, detector),
        row_done=_Printer(form, request.out is not None),
        model={"model": hashlib.sha256(request.model.read_bytes()).hexdigest()[:32]},
    )
    if request.watch is not None:
        return _watch(inspection, request.watch)
    with progress_bar() as progress:
        tally = inspection.run(output.expand(images), progress)
    if not (tally.judged + tally.errors + tally.before):
        raise blemish.DataError(
            f"There is no image in {', '.join(request.images)}; check the path."
        )
    inspection.finish()
    if tally.judged + tally.errors > 1 or tally.before:
        print(tally.text(), file=sys.stderr)
    return tally


def _watch(inspection: blemish.Inspection, path: Path) -> blemish.Tally:
    if not path.is_dir():
        raise blemish.OptionError(f"{path} is not a folder that could be watched.")
    seen: set[Any] = set()

    def is_done(found: Any) -> bool:
        return found in seen or inspection.is_done(found)

    folder = blemish.HotFolder(path, say=lambda text: print(text, file=sys.stderr))
    try:
        for ready in blemish.watch(folder, is_done):
            seen |= {blemish.identity(p) for p in ready}
            inspection.run(ready)
    except KeyboardInterrupt:
        print(inspection.tally.text(), file=sys.stderr)
    return inspection.tally


class _Names:
    """Where the picture of an image goes: below a given folder as the image is."""

    def __init__(self, given: Iterable[Path]):
        self.folders = [p for p in given if p.is_dir()]

    def __call__(self, path: Path) -> Path:
        for folder in self.folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).with_suffix(".png")
        return Path(f"{path.stem}.png")


class _Pictures:
    """Writes the map over each image."""

    def __init__(self, folder: Path | None, names: _Names, detector: blemish.Detector):
        self.folder, self.names, self.depth = folder, names, detector.settings.bit_depth

    def __call__(self, path: Path, prediction: blemish.Prediction) -> None:
        if self.folder is None:
            return
        image = blemish.read_image(path, bit_depth=self.depth)
        target = self.folder / self.names(path)
        blemish.write_png(target, blemish.overlay(image, prediction))


class _Printer:
    """One line per image, unless it goes into a file."""

    def __init__(self, form: str, into_file: bool):
        self.form, self.into_file = form, into_file
        if form == "csv" and not into_file:
            csv.writer(sys.stdout, lineterminator="\n").writerow(blemish.RESULT_COLUMNS)

    def __call__(self, row: Any, prediction: blemish.Prediction | None) -> None:
        if prediction is None:
            print(f"blemish: {row['error']}", file=sys.stderr)
        if self.into_file:
            return
        if self.form == "json":
            print(json.dumps(row), flush=True)
        elif self.form == "csv":
            print(blemish.line_of(row, "csv"), end="", flush=True)
        elif prediction is not None:
            output.print_prediction(prediction)
