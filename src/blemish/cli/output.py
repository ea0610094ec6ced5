"""What the verbs share: reading options, printing results, writing files."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import blemish
from blemish.errors import UnknownNameError

HEADLINE = (
    "image_auroc",
    "image_ap",
    "false_alarm_rate",
    "miss_rate",
    "pixel_auroc",
    "aupro_0.30",
    "aupro_0.05",
    "pixel_f1",
    "pixel_iou",
    "image_f1_max",
    "pixel_f1_max",
    "pixel_iou_max",
)

ENGINES = ("local", "ray")


def assignments(texts: list[str] | None) -> dict[str, Any]:
    """``key=value`` texts as a dictionary."""
    return dict(blemish.parse_assignments(texts or []))


def counts(count: int | None, given: Mapping[str, Any]) -> dict[str, int]:
    """So many drawn images in all, in the proportion of the set that they stand in for."""
    if count is None:
        return {}
    if twice := {"good", "defective"} & set(given):
        raise blemish.OptionError(f"--count and {min(twice)}= are both given; leave one out.")
    defective = max(1, round(count * 53 / 260))
    return {"good": count - defective, "defective": defective}


def rate(text: str) -> float:
    """Read a rate: ``0.01`` or ``1%``."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise blemish.OptionError(f"{text!r} is not a rate; write 1% or 0.01.") from None


def load(model: Path, false_alarms: str | None) -> blemish.Detector:
    """Load a detector and ask for another false-alarm rate where one is given."""
    detector = blemish.Detector.load(model)
    if false_alarms is not None:
        detector.set_false_alarms(rate(false_alarms))
    return detector


def load_start(init: Path | None) -> blemish.Detector | blemish.Pretrained | None:
    """Load what a fit goes on from: a detector, or what `blemish pretrain` wrote."""
    if init is None:
        return None
    made = blemish.Pretrained if blemish.is_encoder_file(init) else blemish.Detector
    return made.load(init)


def size(text: str) -> tuple[int, int]:
    """(height, width) of ``WIDTHxHEIGHT``."""
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise blemish.OptionError(f"{text!r} is not WIDTHxHEIGHT, such as 1280x960.")
    return int(height), int(width)


def open_optional(
    data: str | None, category: str | None, data_set: list[str] | None
) -> blemish.DataSet | None:
    """Open a data set where one is named."""
    if data is None:
        return None
    return blemish.open_dataset(data, category=category, **assignments(data_set))


def print_export(done: blemish.Export) -> None:
    """Say what was compared and how far the answers are apart."""
    print(
        f"{done.parity.table()}\nCompared on {done.images}, one by one and in a batch.\n"
        f"Wrote {done.path} ({done.path.stat().st_size / 1e6:.1f} MB)."
    )


def each_category(
    data: str, category: str | None, model: Path, options: Mapping[str, Any]
) -> Iterator[tuple[str | None, Path]]:
    """The categories asked for, each with its model file: ``part.blemish`` → ``part-NAME…``."""
    if category != "all":
        yield category, model
        return
    for name in blemish.list_categories(data, **options):
        yield name, model.with_name(f"{model.stem}-{name}{model.suffix}")


def is_ray(engine: str) -> bool:
    """Whether work is to be done on a Ray cluster.

    Raises:
        UnknownNameError: There is no such engine.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    return engine == "ray"


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Images as given, and the images of folders in order of name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if blemish.is_image_name(p))
        else:
            yield path


def command_line() -> str:
    """The command that was typed, for the report."""
    return "blemish " + shlex.join(sys.argv[1:])


def print_fitted(detector: blemish.Detector, path: Path) -> None:
    """Say what was learned and what is promised."""
    low, high = detector.calibration.rate_interval(detector.false_alarms)
    counts = detector.card()["data"]
    print(
        f"Learned from {counts['learned']} images, calibrated on {counts['calibration']} "
        f"good ones ({detector.calibration.group_count} parts). "
        f"Flagged above {detector.threshold:.4g}: "
        f"{detector.false_alarms:.3g} of good parts asked for, true rate {low:.3g} to {high:.3g} "
        f"(95 %).\nWrote {path} ({path.stat().st_size / 1e6:.1f} MB)."
    )


def print_cropped(done: blemish.Cropped) -> None:
    """Say how many photos were cut, and why others were not."""
    print(
        f"Cut {len(done.accepted)} of {len(done.crops)} photos, {done.decoded} of them read now.\n"
        f"Data set: {done.folder / 'manifest.csv'}; corners: {done.folder / 'corners.json'}"
    )
    for crop in done.rejected[:10]:
        print(f"Rejected {crop.key}: {crop.found.reason}")
    if done.rejected:
        print(f"{len(done.rejected)} rejected in all: {done.folder / 'rejected.csv'}")


def print_prediction(prediction: blemish.Prediction) -> None:
    """One line per image."""
    verdict = "DEFECTIVE" if prediction.defective else "good"
    where = ", ".join(
        f"{r.box[2] - r.box[0]}×{r.box[3] - r.box[1]} px at {r.box[0]},{r.box[1]} ({r.share:.0%})"
        for r in prediction.regions[:3]
    )
    odd = f"p = {prediction.p_value:.3g}"
    print(
        f"{verdict:9} {odd:11} score {prediction.score:.4g}  {prediction.key}  {where}".rstrip(),
        flush=True,
    )


class MapWriter:
    """Saves maps and overlays while the evaluation runs."""

    def __init__(self, data: blemish.DataSet, folder: Path, maps: bool, overlays: bool):
        self.data, self.folder, self.maps, self.overlays = data, folder, maps, overlays

    def __call__(self, record: blemish.Record, prediction: blemish.Prediction) -> None:
        """Write the files of one test image."""
        name = Path(*(part for part in Path(record.key).parts if part not in ("..", "/")))
        if self.maps:
            path = self.folder / "maps" / name.with_suffix(".tiff")
            blemish.write_tiff(path, prediction.anomaly_map)
        if self.overlays:
            picture = blemish.overlay(self.data.image(record), prediction)
            blemish.write_png(self.folder / "overlays" / name.with_suffix(".png"), picture)


def write_evaluation(evaluation: blemish.Evaluation, folder: Path, command: str) -> None:
    """Write the results files and the report; print the table and where the report is."""
    blemish.write_results(evaluation, folder)
    report = blemish.write_report(evaluation, folder / "report.html", command=command)
    for name in HEADLINE:
        figure = evaluation.figures.get(name)
        if figure is not None:
            print(_line(figure))
    print(f"\nReport: {report.resolve()}")


def write_categories(found: Mapping[str, Mapping[str, blemish.Figure]], folder: Path) -> None:
    """Write the table of all categories and print where it is."""
    print(f"All categories and their mean: {blemish.write_categories(found, folder).resolve()}")


def write_comparison(comparison: blemish.Comparison, folder: Path) -> None:
    """Write ``comparison.json`` and the page; print the differences."""
    text = json.dumps(comparison.to_json(), indent=1) + "\n"
    blemish.write_atomically(folder / "comparison.json", text)
    page = folder / "comparison.html"
    blemish.write_comparison(comparison, page, command=command_line())
    for label, found in comparison.differences.items():
        won = comparison.shares_won.get(label)
        share = "" if won is None else f"  first better on {won:.0%} of the images"
        print(f"{label:32} {found.value:+.3f}  [{found.low:+.3f}, {found.high:+.3f}]{share}")
    for note in comparison.notes:
        print(note)
    print(f"\nComparison: {page.resolve()}")


def _line(figure: blemish.Figure) -> str:
    oracle = "  (oracle: chosen on the test set)" if figure.oracle else ""
    if figure.value is None:
        return f"{figure.label:24} –       {figure.reason}"
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"  [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.label:24} {figure.value:.3f}{interval}{oracle}"


def cell_line(cell: blemish.Cell) -> str:
    """Method, data, options, and image AUROC and AP with deviation and interval."""
    words = [f"{k}={v}" for k, v in cell.options.items()]
    texts = []
    for name in ("image_auroc", "image_ap", "prevalence"):
        figure = cell.figures.get(name, {})
        if figure.get("value") is None:
            continue
        spread = f" ± {figure['deviation']:.3f}" if "deviation" in figure else ""
        ends = f" [{figure['low']:.3f}, {figure['high']:.3f}]" if "low" in figure else ""
        texts.append(f"{name} {figure['value']:.3f}{spread}{ends}")
    return "  ".join([cell.method, cell.data, *words, f"({cell.runs} runs)", *texts])


def listing_text(listing: Mapping[str, Any]) -> str:
    """The listing for people."""
    lines = []
    for kind, entries in listing.items():
        lines += ["", kind.upper()]
        for name, entry in entries.items():
            lines += ["", f"{name}: {entry['summary']}"]
            if entry.get("presets"):
                lines.append(f"  presets: {', '.join(entry['presets'])}")
            lines += [
                f"  {o['name']}={o['default']}  {o['help']}"
                + (f" [{', '.join(map(str, o['choices']))}]" if o["choices"] else "")
                for o in entry["options"]
            ]
    return "\n".join(lines).strip()
