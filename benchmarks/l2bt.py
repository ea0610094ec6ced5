"""The figures of docs/methods/l2bt.md: `python benchmarks/l2bt.py TARGET`, one file each.

Targets: screw, magnetic_tile (accuracy with the CNN stand-in, next to PatchCore), teacher (MVTec AD
and VisA with DINOv2 weights, on a machine that has them: $BLEMISH_DATA, and
$BLEMISH_WEIGHTS/vit_base_patch14_reg4_dinov2.safetensors). Times: benchmarks/l2bt_speed.py.

What is compared was written down before any of it was run: PatchCore's setting (256 px, strides 8
and 16) and 1,024 updates of 1,024 patches at a learning rate of 1e-3. Nothing is chosen by the
figures; every arm is in the file.
"""

import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from blemish import Detector, Run
from blemish.benchmark import Result
from blemish.datasets.opening import list_categories, open_dataset
from blemish.evaluation import evaluate
from common import RESULTS, main, mobilenet, published

FIGURES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro_0.30": "AUPRO@0.30",
    "aupro_0.05": "AUPRO@0.05",
    "aupro_0.30_q1": "AUPRO@0.30, Q1",
    "aupro_0.30_q2": "AUPRO@0.30, Q2",
    "aupro_0.30_q3": "AUPRO@0.30, Q3",
    "aupro_0.30_q4": "AUPRO@0.30, Q4",
    "aupro_0.05_q1": "AUPRO@0.05, Q1",
    "aupro_0.05_q4": "AUPRO@0.05, Q4",
}


def stand_in(**options):
    own = {key: value for key, value in mobilenet().items() if key != "coreset"}
    return {**own, "train_patches": 1024, "epochs": 4, "learning_rate": 1e-3, **options}


# Epochs: as many patches are seen in every arm; finer grids have more of them.
ARMS = {
    "256 px, strides 8 and 16": ("l2bt", {}),
    "512 px, strides 8 and 16": ("l2bt", {"image_size": "512", "epochs": 1}),
    "PatchCore, 256 px": ("patchcore", {}),
    "256 px, learning rate 1e-4": ("l2bt", {"learning_rate": 1e-4}),
    # The bank is as large as at 256 px.
    "PatchCore, 512 px": ("patchcore", {"image_size": "512", "coreset": "0.0025"}),
    "256 px, channels standardised": ("l2bt", {"standardise": "true"}),
    "256 px, strides 4 and 8": ("l2bt", {"strides": "4,8", "epochs": 1}),
    "256 px, 3x3 neighbourhood": ("l2bt", {"neighbourhood": 3}),
    "256 px, strides 4 and 16": ("l2bt", {"strides": "4,16", "epochs": 1}),
    "512 px, channels standardised": (
        "l2bt",
        {"image_size": "512", "epochs": 1, "standardise": "true"},
    ),
}
DIRECTIONS = ("product", "forward", "backward")


def screw():
    return accuracy("screw", open_dataset("mvtec_ad", category="screw"), ARMS)


def screw_quarter():
    """The next arm that is missing, from a quarter of the good images: a few minutes in all."""
    data = open_dataset("mvtec_ad", category="screw")
    train = [r.key for r in data.select("train")][::4]
    few = data.select(keys=[*train, *(r.key for r in data.select("test"))])
    return accuracy("screw_quarter", few, ARMS, at_most=1)


def magnetic_tile():
    # It has twice as many images.
    arms = {
        "256 px, strides 8 and 16": ("l2bt", {"epochs": 2}),
        "256 px, channels standardised": ("l2bt", {"epochs": 2, "standardise": "true"}),
        "PatchCore, 256 px": ("patchcore", {}),
    }
    return accuracy("magnetic_tile", open_dataset("magnetic_tile"), arms)


def accuracy(what, data, arms, at_most=99):
    """Run every arm that the file does not have yet; the file is written after each."""
    result = Result(
        what=what,
        method="l2bt",
        options=published(stand_in()),
        command=f"python benchmarks/l2bt.py {what}",
        seeds=(0,),
        data={"name": data.name},
        figures={},
        notes=[
            "The stand-in: a CNN's two feature maps in place of a transformer's two blocks.",
            "Forward and backward are the maps of one student of the fit of the same name.",
        ],
    )
    result.seconds = {}
    path = RESULTS / f"{what}-l2bt-{data.name.replace('/', '_')}.json"
    if path.is_file():
        known = json.loads(path.read_text("utf-8"))
        result.figures, result.seconds = known["figures"], known["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        for name, (method, options) in arms.items():
            if f"{name}: image_auroc" in result.figures:
                continue
            run_arm(result, data, name, method, options, folder)
            result.write(RESULTS)
            at_most -= 1
            if not at_most:
                break
    return result


def run_arm(result, data, name, method, options, folder):
    run = Run(feature_cache=Path(folder) / "features" if method == "l2bt" else None, say=print)
    setting = stand_in(**options) if method == "l2bt" else {**mobilenet(), **options}
    started = time.perf_counter()
    detector = Detector(method, **setting).fit(data, run)
    result.seconds[f"{name}: fit"] = time.perf_counter() - started
    directions = DIRECTIONS if name == "256 px, strides 8 and 16" else ("product",)
    for direction in directions if method == "l2bt" else ("",):
        if direction:
            learned = detector.pipeline.method
            learned.options = replace(learned.options, direction=direction)
        evaluation = evaluate(detector, data)
        label = name if direction in {"", "product"} else f"{name}, {direction} only"
        for key, words in FIGURES.items():
            figure = evaluation.figures[key].to_json()
            result.figures[f"{label}: {key}"] = {**figure, "label": f"{label}: {words}"}
        result.seconds[f"{name}: per image"] = evaluation.seconds["predict_per_image"]
        print(label, {k: round(evaluation.figures[k].value, 3) for k in FIGURES}, flush=True)
    result.data = {**result.data, "fingerprint": evaluation.data["test_fingerprint"]}


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
    return Result(
        what="teacher",
        method="l2bt",
        command="python benchmarks/l2bt.py teacher",
        seeds=(0,),
        data={"name": "mvtec_ad_visa"},
        figures=figures,
    )


if __name__ == "__main__":
    main(globals())
