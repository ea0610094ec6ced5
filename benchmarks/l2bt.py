"""The figures of docs/methods/l2bt.md: `python benchmarks/l2bt.py ARM [ARM…]`, one file per arm.

A CNN's two feature maps stand in for a transformer's two blocks, on screw and magnetic tile, next
to PatchCore; `teacher` is MVTec AD and VisA with DINOv2 weights, on a machine that has them:
$BLEMISH_DATA, and $BLEMISH_WEIGHTS/vit_base_patch14_reg4_dinov2.safetensors. `list` prints all
arms, `table` writes the tables of the page. Times: benchmarks/l2bt_speed.py.

What is compared was written down before any of it was run: PatchCore's setting (256 px, strides 8
and 16) and the published schedule, 50 epochs of steps of four images' patches at a learning rate
of 1e-4; on magnetic tile, with twice as many images, 20 epochs. Nothing is chosen by the figures;
every arm is in the tables.
"""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from blemish import Detector, Run
from blemish.benchmark import Result
from blemish.datasets.opening import list_categories, open_dataset
from blemish.evaluation import evaluate
from common import (
    FEATURES_MB,
    RESULTS,
    SETS,
    cell,
    fill,
    markdown,
    mobilenet,
    published,
    remembering,
    results_of,
    run_arms,
)

FIGURES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro_0.30": "AUPRO@0.30",
    "aupro_0.05": "AUPRO@0.05",
    **{f"aupro_0.30_q{q}": f"Q{q}" for q in (1, 2, 3, 4)},
    "aupro_0.05_q1": "AUPRO@0.05, Q1",
}


@dataclass(frozen=True)
class Arm:
    """One row of a table."""

    words: str
    table: str = "screw"
    options: dict = field(default_factory=dict)
    method: str = "l2bt"
    # The maps of one student of the same fit, in rows of their own.
    directions: tuple = ()


EPOCHS = {"screw": 50, "short": 8, "tile": 20}
BOTH = ("forward", "backward")
RATE = {"learning_rate": 1e-3}
# A table may have a data set of another.
PLACES = {**SETS, "short": SETS["screw"]}
# Equal updates: 8 epochs of 1,024 patches an image, 2 of four times as many.
SHORT = {"epochs": 8, "train_patches": 1024, **RATE}
FINE = {**SHORT, "epochs": 2}
UNFOLDED = {"neighbourhood": 3, "unfold": 512}
ARMS = {
    "screw": Arm("256 px, strides 8 and 16", directions=BOTH),
    "screw_rate": Arm("learning rate 1e-3", options=RATE, directions=BOTH),
    "screw_512": Arm("512 px", options={"image_size": "512"}),
    # The bank is as large as at 256 px.
    "screw_512_patchcore": Arm(
        "PatchCore, 512 px",
        options={"image_size": "512", "coreset": "0.0025"},
        method="patchcore",
    ),
    "tile": Arm("256 px, strides 8 and 16", "tile", directions=BOTH),
    "tile_rate": Arm("learning rate 1e-3", "tile", RATE),
    "short": Arm("strides 8 and 16", "short", SHORT),
    "short_standardised": Arm("channels standardised", "short", {**SHORT, "standardise": "true"}),
    "short_neighbourhood": Arm("mean of 3 × 3 patches", "short", {**SHORT, "neighbourhood": 3}),
    "short_unfolded": Arm("3 × 3 patches unfolded", "short", {**SHORT, **UNFOLDED}),
    "short_4_8": Arm("strides 4 and 8", "short", {**FINE, "strides": "4,8"}),
    "short_4_16": Arm("strides 4 and 16", "short", {**FINE, "strides": "4,16"}),
    "short_512": Arm("512 px", "short", {**FINE, "image_size": "512"}),
    # Not in any table: does it run?
    "smoke": Arm("smoke", options={"image_size": "64", "epochs": 1}, directions=BOTH),
}


def options_of(arm):
    base = mobilenet()
    if arm.method == "l2bt":
        del base["coreset"]
        # Vectors of a few arms need more than usual; machines that run them all have it.
        base |= {
            "epochs": EPOCHS[arm.table],
            "train_batch": 4,
            "learning_rate": 1e-4,
            "memory_mb": 4000,
        }
    return {**base, **arm.options, "calibration": "split"}


def run(name, folder):
    """Fit an arm, judge it by both students and by each that is asked for."""
    arm = ARMS[name]
    where, category = PLACES[arm.table]
    data = open_dataset(where, category=category)
    given = Run(feature_cache=folder, feature_cache_mb=FEATURES_MB, say=print)
    started = time.perf_counter()
    detector = Detector(arm.method, **options_of(arm)).fit(data, given)
    fit = time.perf_counter() - started
    method = detector.pipeline.method
    for direction in ("", *arm.directions):
        if direction:
            method.options = replace(method.options, direction=direction)
        with remembering(detector, folder):
            found = evaluate(detector, data)
        result = Result(
            what="_".join(filter(None, (name, direction))),
            method=arm.method,
            options=published(options_of(arm)),
            command=f"python benchmarks/l2bt.py {name}",
            seeds=(0,),
            data={
                "name": "/".join(filter(None, PLACES[arm.table])),
                "fingerprint": found.data["test_fingerprint"],
            },
            figures={key: found.figures[key].to_json() for key in FIGURES},
            seconds={"fit": fit, "per_image": found.seconds["predict_per_image"]},
            notes=[
                "A CNN's two feature maps in place of a transformer's two blocks."
                if arm.method == "l2bt"
                else "From the same images as L2BT.",
                *([f"The map of the {direction} student alone."] if direction else []),
                "Seconds: features may have been computed for another arm already.",
            ],
        )
        result.write(RESULTS)
        said = {k: round(found.figures[k].value, 3) for k in FIGURES}
        print(result.what, said, {k: round(v, 2) for k, v in result.seconds.items()}, flush=True)


def teacher():
    """Every category of MVTec AD and VisA with the published teacher at 224 px."""
    weights = Path(os.environ["BLEMISH_WEIGHTS"]) / "vit_base_patch14_reg4_dinov2.safetensors"
    figures = {}
    for name in ("mvtec_ad", "visa"):
        for category in list_categories(name):
            data = open_dataset(name, category=category)
            detector = Detector("l2bt", weights=str(weights), image_size="224").fit(data)
            evaluation = evaluate(detector, data)
            for key, words in FIGURES.items():
                figure = evaluation.figures[key].to_json()
                figures[f"{name} {category}: {key}"] = {
                    **figure,
                    "label": f"{name} {category}: {words}",
                }
    result = Result(
        what="teacher",
        method="l2bt",
        command="python benchmarks/l2bt.py teacher",
        seeds=(0,),
        data={"name": "mvtec_ad_visa"},
        figures=figures,
    )
    print(result.write(RESULTS))


# By another implementation (anomalib) at 224 px: mean, then the categories in alphabetical order.
PUBLISHED = {
    "mvtec_ad": {
        "image_auroc": ".977 1.000 .958 .934 1.000 .999 1.000 1.000 1.000 .969 .864 1.000 .969 "
        ".974 .990 .996",
        "pixel_auroc": ".973 .987 .955 .983 .991 .986 .994 .988 .974 .975 .971 .948 .988 .945 "
        ".933 .973",
    },
    "visa": {
        "image_auroc": ".911 .932 .891 .955 .987 .946 .890 .772 .917 .863 .825 .959 .994",
        "pixel_auroc": ".977 .991 .973 .995 .991 .969 .930 .964 .996 .970 .970 .980 .991",
    },
}
CATEGORIES = {
    "mvtec_ad": "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile "
    "toothbrush transistor wood zipper",
    "visa": "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 "
    "pipe_fryum",
}


def by_category(name):
    """Published and ours, category by category; ours is empty until `teacher` has been run."""
    categories, found = CATEGORIES[name].split(), results_of("teacher", "l2bt")
    rows = []
    for key, values in PUBLISHED[name].items():
        rows.append([f"{FIGURES[key]}, anomalib", *values.split()])
        own = [cell(found, f"{name} {category}: {key}") for category in categories]
        mean = "–" if "–" in own else f"{sum(map(float, own)) / len(own):.3f}"
        rows.append([f"{FIGURES[key]}, ours", mean, *own])
    return markdown(("224 px", "mean", *(c.replace("_", " ") for c in categories)), rows)


# What PatchCore finds with the same backbone at 256 px; benchmarks/run.py measured it.
PATCHCORE = {"screw": "screw", "short": "screw", "tile": "magnetic_tile"}


def rows(data):
    for name, arm in ARMS.items():
        if arm.table != data or name == "smoke":
            continue
        yield row(arm.words, name, results_of(name, arm.method))
        for direction in arm.directions:
            found = results_of(f"{name}_{direction}", arm.method)
            yield row(f"{arm.words}, {direction} student only", name, found)
    yield row("PatchCore, 256 px", "", results_of(PATCHCORE[data], "patchcore"))


def row(words, arm, found):
    return [words, f"`{arm}`" if arm else "", *(cell(found, key) for key in FIGURES)]


def table():
    header = ("", "arm", *FIGURES.values())
    tables = {data: markdown(header, rows(data)) for data in PATCHCORE}
    tables |= {name: by_category(name) for name in PUBLISHED}
    tables["gpu"] = markdown(("on a GPU", "figure"), gpu_rows())
    fill("l2bt.md", tables)


def gpu_rows():
    for what in ("l2bt_training_gpu", "l2bt_inference_gpu"):
        found = results_of(what, "l2bt")
        for figure in [f for r in found for f in r["figures"].values()]:
            yield figure["label"], f"{figure['value']:.4g}"
        if not found:
            yield f"`{what}`", "–"


if __name__ == "__main__":
    run_arms(ARMS, run, table, teacher=teacher)
