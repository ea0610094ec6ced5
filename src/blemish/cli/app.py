"""The verbs. Each parses, calls public names, prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import blemish
from blemish.cli import benchmarking, output, predicting, preparing
from blemish.cli.progress import progress_bar

app = typer.Typer(
    name="blemish",
    help="Learn what good parts look like; find what is wrong with new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("draw")(preparing.draw)
app.add_typer(preparing.prepare)

Data = Annotated[
    str, typer.Option("--data", help="A folder, a manifest, or NAME[:PATH] of a known data set.")
]
DataSet = Annotated[
    list[str] | None, typer.Option("--data-set", help="Option of the data set, key=value.")
]
Category = Annotated[
    str | None, typer.Option(help="Category of the data set; all = each in turn (fit, evaluate).")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Option of the method or detector, key=value.")
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Folder that training is kept in, and gone on with from there.")
]
FeatureCache = Annotated[
    Path | None, typer.Option(help="Folder that features of frozen backbones are kept in.")
]
TRACKERS = ", ".join(blemish.TRACKERS)
FalseAlarms = Annotated[
    str | None, typer.Option(help="Accepted share of good parts that are flagged, such as 1%.")
]
Model = Annotated[Path, typer.Argument(help="Model file that `blemish fit` wrote.")]


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(blemish.__version__)
        raise typer.Exit


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("blemish-demo"),
    seed: Annotated[int, typer.Option(help="Seed of the drawn data set.")] = 0,
) -> None:
    """Draw battery plates, learn from the good ones, and report on the others."""
    data = blemish.open_dataset("battery_plate", seed=seed)
    with progress_bar() as progress:
        run = blemish.Run(progress=progress, say=print)
        detector = blemish.Detector("patchcore").fit(data, run)
        evaluation = blemish.evaluate(detector, data, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    detector.save(out / "plate.blemish")
    output.write_evaluation(evaluation, out, f"blemish demo --seed {seed}")


@app.command("check-data")
def check_data(
    data: Annotated[str, typer.Argument(help="A folder, a manifest, or NAME[:PATH].")],
    data_set: DataSet = None,
    category: Category = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what was understood of a data set, and everything that is wrong with it."""
    opened = blemish.open_dataset(data, category=category, **output.assignments(data_set))
    with progress_bar() as progress:
        report = blemish.check_dataset(
            opened, lambda done, total, what: progress("check", done, total)
        )
    print(json.dumps(report.to_json(), indent=2) if as_json else report.text())
    raise typer.Exit(0 if report.usable else 2)


@app.command("fit")
def fit(
    method: Annotated[str, typer.Argument(help="Name of a method; `blemish list` shows all.")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Model file to write.")],
    data_set: DataSet = None,
    category: Category = None,
    settings: Settings = None,
    preset: Annotated[str | None, typer.Option(help="Named option values.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="Model or encoder file to go on from, where that works.")
    ] = None,
    checkpoint: Checkpoint = None,
    feature_cache: FeatureCache = None,
    feature_cache_mb: Annotated[float, typer.Option(help="Largest size of that folder.")] = 20_000,
    devices: Annotated[int, typer.Option(min=1, help="Processes that learn together.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that learn together.")] = 1,
    track: Annotated[str, typer.Option(help=f"Also write curves to: {TRACKERS}.")] = "none",
    label: Annotated[str, typer.Option(help="What the tracker calls this run.")] = "",
) -> None:
    """Learn from the good training images and calibrate on held-out ones."""
    given = output.assignments(data_set)
    for name, path in output.each_category(data, category, out, given):
        opened = blemish.open_dataset(data, category=name, **given)
        detector = blemish.Detector(method, preset, **output.assignments(settings))
        run = blemish.Run(devices=devices, nodes=nodes, track=track, say=print)
        run.label = label or path.stem
        run.checkpoint = checkpoint / name if checkpoint and name else checkpoint
        run.feature_cache, run.feature_cache_mb = feature_cache, feature_cache_mb
        with progress_bar() as run.progress:
            detector.fit(opened, run, output.load_start(init))
        output.print_fitted(detector, detector.save(path))


@app.command("update")
def update(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Model file to write.")],
    data_set: DataSet = None,
    category: Category = None,
) -> None:
    """Add the new good images of a data set to a model, forget the missing ones, recalibrate."""
    opened = blemish.open_dataset(data, category=category, **output.assignments(data_set))
    detector = blemish.Detector.load(model)
    with progress_bar() as progress:
        detector.update(opened, blemish.Run(progress=progress, say=print))
    output.print_fitted(detector, detector.save(out))


@app.command("predict")
def predict(
    model: Model,
    images: Annotated[
        list[str] | None, typer.Argument(help="Images, or folders of images; one source with Ray.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line per image.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV line per image.")] = False,
    as_parquet: Annotated[bool, typer.Option("--parquet", help="A Parquet file.")] = False,
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="File for these; the same command goes on.")
    ] = None,
    overlay: Annotated[Path | None, typer.Option(help="Folder for pictures of the map.")] = None,
    watch: Annotated[Path | None, typer.Option(help="Judge what comes into this folder.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read ahead; processes of Ray.")
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit with 1 if a defect was found.")
    ] = False,
    false_alarms: FalseAlarms = None,
    engine: Annotated[str, typer.Option(help="local, or ray: in bulk, to the folder --out.")] = (
        "local"
    ),
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster: ray://HOST:PORT.")] = None,
    thumbnails: Annotated[int, typer.Option(help="With Ray: maps of this many pixels.")] = 0,
) -> None:
    """Judge images: is this part defective, where, and how sure."""
    asked = {"json": as_json, "csv": as_csv, "parquet": as_parquet}
    forms = tuple(name for name, wanted in asked.items() if wanted)
    request = predicting.Request(model, tuple(images or ()), forms, out, overlay, watch, workers)
    bulk = predicting.Bulk(engine, address, thumbnails)
    tally = predicting.judge(request, bulk, false_alarms)
    raise typer.Exit(2 if tally.errors else int(fail and tally.defective > 0))


@app.command("explain")
def explain(
    model: Model,
    image: Annotated[Path, typer.Argument(help="One image.")],
    rule: Annotated[
        str, typer.Option(help="Threshold: calibrated, local, image or class.")
    ] = "calibrated",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which regions of an image carry which share of what was found."""
    detector = blemish.Detector.load(model)
    prediction = detector.predict(image)
    found = blemish.explain(detector, prediction, rule)
    if as_json:
        print(json.dumps({**prediction.to_json(), "explanation": found.to_json()}))
        return
    output.print_prediction(prediction)
    print(found.text())


@app.command("evaluate")
def evaluate(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    data_set: DataSet = None,
    category: Category = None,
    maps: Annotated[bool, typer.Option("--maps", help="Save raw maps as float32 TIFF.")] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Save pictures of maps.")] = False,
    per_image: Annotated[
        bool, typer.Option("--per-image", help="Also how well each map explains its image.")
    ] = False,
    false_alarms: FalseAlarms = None,
) -> None:
    """Score the test images of a data set: metrics.json, metrics.csv, report.html.

    With --category all: one folder of these per category, by the model files that
    `fit --category all` wrote, and categories.csv with their mean.
    """
    given = output.assignments(data_set)
    figures = {}
    for name, path in output.each_category(data, category, model, given):
        opened = blemish.open_dataset(data, category=name, **given)
        detector = output.load(path, false_alarms)
        folder = out / name if category == "all" and name else out
        save = output.MapWriter(opened, folder, maps, overlays)
        with progress_bar() as progress:
            evaluation = blemish.evaluate(
                detector, opened, progress=progress, on_prediction=save, per_image=per_image
            )
        output.write_evaluation(evaluation, folder, output.command_line())
        figures[name or ""] = evaluation.figures
    if category == "all":
        output.write_categories(figures, out)


@app.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(help="Model file A.")],
    second: Annotated[Path, typer.Argument(help="Model file B.")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    data_set: DataSet = None,
    category: Category = None,
) -> None:
    """Compare two models on the same test images: paired differences, both maps side by side."""
    opened = blemish.open_dataset(data, category=category, **output.assignments(data_set))
    one, two = blemish.Detector.load(first), blemish.Detector.load(second)
    with progress_bar() as progress:
        comparison = blemish.compare(one, two, opened, progress=progress)
    output.write_comparison(comparison, out)


@app.command("export")
def export(
    model: Model,
    out: Annotated[Path, typer.Argument(help="ONNX file to write, named *.onnx.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Compare on these images, not on recorded ones.")
    ] = None,
    data_set: DataSet = None,
    category: Category = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 (stored) or int8 (network).")] = "fp32",
    standalone: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT: fold everything in for images of this size.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Of fp16 and int8: share of the range they may be apart.")
    ] = None,
) -> None:
    """Write a model as ONNX, unless the file gives other answers than the model."""
    opened = output.open_optional(data, category, data_set)
    size = None if standalone is None else output.size(standalone)
    detector = blemish.Detector.load(model)
    with progress_bar() as progress:
        run = blemish.Run(progress=progress)
        done = blemish.export_onnx(
            detector,
            out,
            data=opened,
            precision=precision,
            image_size=size,
            tolerance=tolerance,
            run=run,
        )
    output.print_export(done)


@app.command("threshold")
def threshold(
    model: Model,
    false_alarms: Annotated[str, typer.Option(help="Accepted share of good parts, such as 1%.")],
    pixel_false_alarms: Annotated[str | None, typer.Option(help="The same for pixels.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write here instead.")] = None,
) -> None:
    """Change the false-alarm rate of a model file; nothing is learned again."""
    detector = blemish.Detector.load(model)
    pixel = None if pixel_false_alarms is None else output.rate(pixel_false_alarms)
    detector.set_false_alarms(output.rate(false_alarms), pixel)
    output.print_fitted(detector, detector.save(out or model))


StationFolder = Annotated[Path, typer.Option(help="Data folder of the station.")]
Database = Annotated[
    str | None, typer.Option(help="PostgreSQL URL instead of SQLite in the data folder.")
]
STATION = Path("blemish-station")


@app.command("station")
def station(
    folder: StationFolder = STATION,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8420,
    token: Annotated[
        str | None,
        typer.Option(envvar="BLEMISH_STATION_TOKEN", help="Secret; needed beyond loopback."),
    ] = None,
    database: Database = None,
    keep_days: Annotated[
        float | None, typer.Option(help="Delete unreviewed images of this age.", min=0)
    ] = None,
    keep_gb: Annotated[
        float | None, typer.Option(help="Delete the oldest unreviewed images above this.", min=0)
    ] = None,
) -> None:
    """Serve the inspection station: inspect, review and relearn in a browser."""
    run = blemish.run_station  # says what to install where the extra is missing
    print(f"The station is at http://{host}:{port} (stop it with Ctrl+C).", flush=True)
    limits = {"keep_days": keep_days, "keep_gb": keep_gb}
    run(folder, host=host, port=port, token=token, database=database, **limits)


@app.command("station-backup")
def station_backup(
    out: Annotated[Path, typer.Argument(help="ZIP file to write.")],
    folder: StationFolder = STATION,
    database: Database = None,
) -> None:
    """Write everything that a station holds into one file; it may run meanwhile."""
    print(f"Wrote {blemish.back_up_station(folder, out, database=database)}.")


@app.command("station-restore")
def station_restore(
    backup: Annotated[Path, typer.Argument(help="ZIP file that station-backup wrote.")],
    folder: StationFolder = STATION,
    database: Database = None,
) -> None:
    """Make a station from a backup, in a new folder."""
    print(f"Restored {blemish.restore_station(backup, folder, database=database)}.")


@app.command("list")
def list_everything(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List methods, data sets and backbones with their options and defaults."""
    listing: dict[str, Any] = blemish.describe_everything()
    print(json.dumps(listing, indent=2, default=str) if as_json else output.listing_text(listing))


@app.command("doctor")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is installed, what this machine can do, and what is missing."""
    found = blemish.examine()
    print(json.dumps(found, indent=2) if as_json else blemish.examination_text(found))


app.command("benchmark")(benchmarking.benchmark)
