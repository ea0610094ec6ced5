"""From photos to a report: `python benchmarks/preparation.py ARM [ARM…]`, one file each.

- `cutout_00` … `cutout_10`: draw every eleventh of 260 photos of 4096×6000 pixels, cut the plates
  out and compare with what was drawn: clutter, ±10°, uneven light, 15 % of them partly covered;
- `chain`: from those photos to a report, timed (draws none: run the arms above before);
- `parts_METHOD_SEED`, such as `parts_patchcore_100`: plates judged as a whole, and by regions;
- `regions_METHOD_SEED`: each region of the same plates judged alone, with labels from the masks and
  with labels inherited from the plate;
- `table`: write the tables of docs/preparation.md from the results files; `picture`: its picture.

Photos stay in $BLEMISH_PARTS (default: a folder for temporary files), 19 GB of them. SMOKE=1 does
the same with two photos and few plates.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import blemish
from blemish import Detector, open_dataset, registry
from blemish.benchmark import Result
from blemish.metrics.ranking import auroc, average_precision
from blemish.preparation.crop_files import read_crops, row_of, write_manifest
from blemish.preparation.locating import CropOptions, locate
from blemish.preparation.placement import Frame, cut, cut_mask, to_photo
from blemish.preparation.regions import THIRDS
from common import RESULTS

SMOKE = bool(os.environ.get("SMOKE"))
PARTS = Path(os.environ.get("BLEMISH_PARTS", Path(tempfile.gettempdir()) / "blemish-photos"))
SHARDS = 11
PHOTO = {"view": "photo", "size": "4096x6000", "covered": 0.15, "seed": 100}
MARGIN = (12, 20)  # the cut-out is then the frame that plates are drawn in
PAGE = Path(__file__).parent.parent / "docs/preparation.md"
RATE = 0.05
PRESET = "tiny" if SMOKE else "small"
CENTRES = {"anode": (120, 200), "glass": (120, 600), "cathode": (120, 1000)}
# The process says its largest memory itself: what its parent sees starts at the parent's own.
VERB = """
import sys
from blemish.benchmark import peak_memory_mb
from blemish.cli.main import main
sys.argv[0], peak = "blemish", sys.argv.pop(1)
try:
    main()
finally:
    with open(peak, "w") as file:
        file.write(str(peak_memory_mb()))
"""


def command(*words):
    """Run `blemish …` in a process of its own: seconds, and its largest memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", VERB, peak, *map(str, words)], check=True)
        return time.perf_counter() - started, float(peak.read_text())


def figure(value, label, **more):
    return {"value": None if value is None else float(value), "label": label, **more}


# ---------------------------------------------------------------------------- cutting out


def cutout(name):
    """One shard of the photos."""
    number = int(name.rpartition("_")[2])
    data = open_dataset("battery_plate", **PHOTO)
    records = data.records[number::SHARDS]
    records = (*records[:1], *records[-1:]) if SMOKE else records
    data = replace(data, records=records)
    photos, crops = PARTS / "photos" / f"{number:02d}", PARTS / "crops" / f"{number:02d}"
    started = time.perf_counter()
    blemish.save_dataset(data, photos, PHOTO)
    drawn = time.perf_counter() - started
    margin = "x".join(map(str, MARGIN))
    seconds, memory = command("prepare", "crop", photos, "-o", crops, "--margin", margin)
    again, _ = command("prepare", "crop", photos, "-o", crops, "--margin", margin)
    figures = compare(data, crops)
    figures["memory"] = figure(memory, "peak memory of `prepare crop`, MB", target="< 1000")
    figures["rate"] = figure(
        len(data) / seconds, "photos per second on one core, start included", target=">= 1"
    )
    figures["again"] = figure(again, "seconds of a second run, which decodes no photo")
    return Result(
        what=name,
        command=f"python benchmarks/preparation.py {name}",
        data={"name": "battery_plate"},
        figures=figures,
        seeds=(PHOTO["seed"],),
        seconds={"draw": drawn, "crop": seconds},
        options={k: str(v) for k, v in PHOTO.items()},
        notes=[
            f"Photos {number}, {number + SHARDS}, … of 260; errors in pixels of the cut-out of "
            "240x1200 pixels.",
            "Processes ran side by side on one machine: times are upper bounds.",
        ],
    )


def compare(data, crops):
    """Errors of every cut-out, and how photos with a covered plate were judged."""
    source = registry.get("datasets", "battery_plate")
    source = source(None, source.Options(**PHOTO))
    frame, _, entries = read_crops(crops)
    by_stem = {key.rpartition(".")[0]: crop for key, crop in entries.items()}
    corners, centres, silent, needless = [], [], 0, 0
    for record in data:
        crop, truth = by_stem[record.key.rpartition(".")[0]], source.truth(record.key)
        if not crop.accepted:
            needless += truth.covered is None
            continue
        place, pose = crop.found.place, truth.pose
        error = np.linalg.norm(place.corners - pose.corners, axis=1) / pose.scale
        silent += truth.covered is not None or error.max() > 4
        if truth.covered is None:
            corners += error.tolist()
            centres += centre_errors(data, record, place, frame, pose)
    covered = sum(source.truth(r.key).covered is not None for r in data)
    return {
        "photos": figure(len(data), "photos"),
        "covered": figure(covered, "photos with a partly covered plate"),
        "silent": figure(silent, "accepted though covered or off by more than 4 px", target="0"),
        "needless": figure(needless, "rejected though nothing is wrong"),
        "corner": figure(
            np.median(corners), "corner error, median, px", target="<= 1", values=rounded(corners)
        ),
        "corner_max": figure(max(corners), "corner error, largest, px", target="<= 4"),
        "centre_max": figure(
            max(centres),
            "centre of a region or defect put back, largest error, px",
            target="<= 2",
            values=rounded(centres),
        ),
    }


def centre_errors(data, record, place, frame, pose):
    """How far from their places the centres of regions and of the defect are put back."""
    own = np.array(list(CENTRES.values()), float)
    true = own @ pose.matrix[:2, :2].T + pose.matrix[:2, 2]
    errors = np.linalg.norm(to_photo(own, place, frame) - true, axis=1) / pose.scale
    if record.mask is None:
        return errors.tolist()
    mask = record.mask()
    found = to_photo(centre(cut_mask(mask, place, frame))[None], place, frame)[0]
    return [*errors.tolist(), float(np.linalg.norm(found - centre(mask)) / pose.scale)]


def centre(mask):
    rows, columns = np.nonzero(mask)
    return np.array((columns.mean() + 0.5, rows.mean() + 0.5))


def rounded(values):
    return [round(float(value), 3) for value in values]


# ---------------------------------------------------------------------------- the whole chain


def chain(name):
    """From the photos that the shards drew to a report."""
    photos, out = PARTS / "photos", PARTS / "chain"
    manifest, count = all_photos(photos)
    crops, model = out / "crops", out / "plate.blemish"
    margin = "x".join(map(str, MARGIN))
    steps = {
        "crop": ("prepare", "crop", manifest, "-o", crops, "--margin", margin, "--workers", 2),
        "split": ("prepare", "split", crops / "manifest.csv", "-o", out / "regions"),
        "fit": ("fit", "by_region", "--data", crops / "manifest.csv", "-o", model),
        "evaluate": ("evaluate", model, "--data", crops / "manifest.csv", "-o", out / "report"),
    }
    seconds, figures = {}, {}
    for step, words in steps.items():
        seconds[step], memory = command(*words)
        if step == "crop":
            figures["memory"] = figure(
                memory, "peak memory of `prepare crop --workers 2`, MB", target="< 1000"
            )
    figures["photos"] = figure(count, "photos of 4096x6000 pixels")
    rejected = (crops / "rejected.csv").read_text("utf-8").count("\n") - 1
    figures["rejected"] = figure(rejected, "photos rejected")
    figures["total"] = figure(sum(seconds.values()), "seconds from the photos to the report")
    measured = json.loads((out / "report" / "metrics.json").read_text("utf-8"))["figures"]
    for key in ("image_auroc", "false_alarm_rate", "miss_rate", "pixel_auroc", "aupro_0.30"):
        figures[key] = figure(measured[key]["value"], measured[key]["label"])
    return Result(
        what=name,
        method="by_region",
        command=f"python benchmarks/preparation.py {name}",
        data={"name": "battery_plate"},
        figures=figures,
        seeds=(PHOTO["seed"],),
        seconds=seconds,
        notes=["By `blemish prepare crop`, `prepare split`, `fit by_region` and `evaluate`."],
    )


def all_photos(folder):
    """One manifest of the photos of all shards."""
    rows = []
    for shard in sorted(p for p in folder.iterdir() if p.is_dir()):
        for record in open_dataset(shard):
            mask = "" if record.mask is None else record.mask.relative_to(folder).as_posix()
            rows.append(row_of(record, record.image.relative_to(folder).as_posix(), mask))
    return write_manifest(folder / "photos.csv", rows), len(rows)


# ---------------------------------------------------------------------------- regions


def parts(name):
    """The part as a whole, and by regions with one decision."""
    _, method, seed = name.split("_")
    data = plates(seed)
    figures, seconds = {}, {}
    detectors = {
        "whole": Detector(method, PRESET, false_alarms=RATE),
        "by_region": Detector(
            "by_region", methods=(method,), inner_preset=PRESET, false_alarms=RATE
        ),
    }
    for what, detector in detectors.items():
        started = time.perf_counter()
        test = data.select("test")
        figures |= as_part(what, *judged(detector.fit(data), data, test), test)
        seconds[what] = time.perf_counter() - started
    return on_plates(name, method, seed, figures, seconds)


def regions(name):
    """Each region alone: three decisions, and the two ways to label a region."""
    _, method, seed = name.split("_")
    data = plates(seed)
    test, figures, seconds, flags = data.select("test"), {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        found = blemish.split_parts(data, folder, blemish.read_regions(THIRDS))
        for region, manifest in found.manifests.items():
            started = time.perf_counter()
            own = open_dataset(manifest)
            detector = Detector(method, PRESET, false_alarms=RATE).fit(own)
            scores, flagged = judged(detector, own, own.select("test"))
            flags.append(flagged)
            figures |= labels(region, scores, own.select("test"), test)
            seconds[region] = time.perf_counter() - started
    # Three detectors, each at the asked rate, as one decision.
    figures |= decisions("separate", np.any(flags, axis=0), test)
    return on_plates(name, method, seed, figures, seconds)


def plates(seed):
    return open_dataset(
        "battery_plate", seed=seed, **({"good": 20, "defective": 9} if SMOKE else {})
    )


def on_plates(name, method, seed, figures, seconds):
    return Result(
        what=name,
        method=method,
        command=f"python benchmarks/preparation.py {name}",
        data={"name": "battery_plate"},
        figures=figures,
        seeds=(int(seed),),
        seconds=seconds,
        options={"preset": PRESET},
        notes=[f"{RATE:.0%} false alarms asked of every detector; drawn plates, seed {seed}."],
    )


def judged(detector, data, test):
    """Scores and decisions of the test images, in the order of their keys."""
    found = list(detector.predict_each(data.image(r) for r in ordered(test)))
    return np.array([p.score for p in found]), np.array([p.defective for p in found])


def ordered(data):
    return sorted(data, key=lambda r: r.key.removeprefix("images/"))


def as_part(what, scores, flagged, test):
    truth = [r.defective for r in ordered(test)]
    return {
        f"{what}_auroc": figure(auroc(scores, truth), f"{what}: image AUROC of the part"),
        f"{what}_ap": figure(average_precision(scores, truth), f"{what}: AP of the part"),
        **decisions(what, flagged, test),
    }


def decisions(what, flagged, test):
    truth = np.array([r.defective for r in ordered(test)])
    return {
        f"{what}_false_alarms": figure(flagged[~truth].mean(), f"{what}: false alarms, parts"),
        f"{what}_misses": figure((~flagged[truth]).mean(), f"{what}: misses, parts"),
    }


def labels(region, scores, own, whole):
    """A region's scores against its own labels, and against those of the whole part."""
    found = {}
    for how, data in (("own", own), ("inherited", whole)):
        truth = [r.defective for r in ordered(data)]
        found |= {
            f"{region}_{how}_auroc": figure(auroc(scores, truth), f"{region}, {how} labels: AUROC"),
            f"{region}_{how}_ap": figure(
                average_precision(scores, truth), f"{region}, {how} labels: AP"
            ),
            f"{region}_{how}_share": figure(
                np.mean(truth), f"{region}, {how} labels: share of defective test images"
            ),
        }
    return found


# ---------------------------------------------------------------------------- picture


def picture():
    """docs/pictures/preparation.jpg: a photo, its cut-out and regions, and a rejected photo."""
    frame = Frame(240, 1200, MARGIN)
    whole, covered = (
        open_dataset("battery_plate", view="photo", size="2048x3000", seed=3, covered=share)
        for share in (0, 1)
    )
    record = whole.select(defective=True).records[0]
    photo = whole.image(record)
    found = locate(photo, CropOptions(margin="x".join(map(str, MARGIN))))
    cut_out = cut(photo, found.place, frame)
    boxes = [region.slices(cut_out.shape[:2]) for region in blemish.read_regions(THIRDS)]
    other = covered.image(covered.records[0])
    rejected = locate(other, CropOptions(margin="x".join(map(str, MARGIN))))
    print(rejected.reason)
    strips = [
        small(outlined(photo, found.place)),
        small(cut_out),
        *(small(cut_out[box], 240) for box in boxes),
        small(outlined(other, rejected.place)),
    ]
    gap = np.full((720, 12, 3), 255, np.uint8)
    row = np.hstack([part for strip in strips for part in (padded(strip), gap)][:-1])
    Image.fromarray(row).save(PAGE.parent / "pictures/preparation.jpg", quality=80)


def outlined(photo, place):
    opened = Image.fromarray(photo)
    corners = [tuple(map(float, corner)) for corner in place.corners]
    ImageDraw.Draw(opened).polygon(corners, outline=(230, 40, 40), width=12)
    return np.asarray(opened)


def small(image, height=720):
    size = (round(image.shape[1] * height / image.shape[0]), height)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def padded(image):
    rest = 720 - len(image)
    return np.pad(image, ((0, rest), (0, 0), (0, 0)), constant_values=255)


# ---------------------------------------------------------------------------- tables

METHODS = ("patchcore", "vae")


def results(pattern):
    found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob(pattern))]
    return [result["figures"] | {"seconds": result["seconds"]} for result in found]


def spread(found, key):
    """Mean and deviation over the seeds; a dash where nothing was measured."""
    values = [f[key]["value"] for f in found if key in f]
    if not values:
        return "–"
    mean = statistics.fmean(values)
    return f"{mean:.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def cutout_table():
    found = results("cutout_*-battery_plate.json")
    head = "| photos | covered | silent failures | needless rejections | corner, median | corner, "
    head += "largest | centre, largest | photos/s | memory, MB |\n" + "|---" * 9 + "|\n"
    if not found:
        return head + "| – " * 9 + "|"
    corners = [v for f in found for v in f["corner"]["values"]]
    total = {k: int(sum(f[k]["value"] for f in found)) for k in ("photos", "covered", "silent")}
    cells = [
        *map(str, total.values()),
        str(int(sum(f["needless"]["value"] for f in found))),
        f"{statistics.median(corners):.2f} px",
        f"{max(corners):.2f} px",
        f"{max(f['centre_max']['value'] for f in found):.2f} px",
        f"{statistics.median(f['rate']['value'] for f in found):.2f}",
        f"{max(f['memory']['value'] for f in found):.0f}",
    ]
    return head + "| " + " | ".join(cells) + " |"


def chain_table():
    found = results("chain-by_region-battery_plate.json")
    steps = ("crop", "split", "fit", "evaluate")
    head = "| photos | rejected | " + ", s | ".join(steps) + ", s | total, s | crop memory, MB |\n"
    head += "|---" * 8 + "|\n"
    if not found:
        return head + "| – " * 8 + "|"
    (f,) = found
    cells = [f"{f[k]['value']:.0f}" for k in ("photos", "rejected")]
    cells += [f"{f['seconds'][step]:.0f}" for step in steps]
    cells += [f"{f[k]['value']:.0f}" for k in ("total", "memory")]
    return head + "| " + " | ".join(cells) + " |"


def part_table():
    lines = ["| method | judged | seeds | AUROC | AP | false alarms (5 % asked) | misses |"]
    lines.append("|---" * 7 + "|")
    for method in METHODS:
        for what, arm in (("whole", "parts"), ("by_region", "parts"), ("separate", "regions")):
            found = results(f"{arm}_{method}_*-battery_plate.json")
            keys = [f"{what}_{k}" for k in ("auroc", "ap", "false_alarms", "misses")]
            cells = [spread(found, k) for k in keys]
            lines.append(f"| {method} | {what} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def label_table():
    lines = ["| method | region | labels | defective | AUROC | AP |", "|---" * 6 + "|"]
    for method in METHODS:
        found = results(f"regions_{method}_*-battery_plate.json")
        for region in CENTRES:
            for how in ("own", "inherited"):
                cells = [spread(found, f"{region}_{how}_{k}") for k in ("share", "auroc", "ap")]
                lines.append(f"| {method} | {region} | {how} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_tables():
    text = PAGE.read_text("utf-8")
    tables = {"cutout": cutout_table, "chain": chain_table, "parts": part_table}
    for name, table in {**tables, "labels": label_table}.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{table()}\n{end}{rest.split(end)[1]}"
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    for arm in sys.argv[1:]:
        if arm in ("table", "picture"):
            {"table": write_tables, "picture": picture}[arm]()
            continue
        run = {"cutout": cutout, "chain": chain, "parts": parts, "regions": regions}[
            arm.partition("_")[0]
        ]
        print(run(arm).write(RESULTS), flush=True)
