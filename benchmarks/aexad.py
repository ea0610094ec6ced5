"""AE-XAD on screw and magnetic tile: `python benchmarks/aexad.py ARM[:DRAW] [ARM[:DRAW]…]`.

Few-defect splits at 224 px as in Angiulli et al. 2025 (images antialiased, masks by nearest
neighbour; figures at that size), a frozen MobileNet v1 at stride 8 and a short schedule, the same
for all arms of a data set. Every arm and draw is one results file and needs no other, but arms
that are named together share features ($BLEMISH_FEATURES keeps them for other runs too).

`python benchmarks/aexad.py list` prints all arms, `table` writes docs/methods/aexad.md. Arms whose
encoder needs weights that are not there are commands for a machine that has them: WEIGHTS_RESNET50
and WEIGHTS_VIT name the files.
"""

import os
import time
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from blemish import Run, explain
from blemish.benchmark import Result
from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from common import (
    FEATURES_MB,
    RESULTS,
    SCREW_TYPES,
    SETS,
    WEIGHTS,
    ByType,
    cell,
    fill,
    markdown,
    published,
    remembering,
    results_of,
    run_draws,
)

# Passes over the good images, and what is left of the learning rate after the last.
EPOCHS = {"screw": 40, "tile": 20}
LEFT = 0.05
# What a core can carry in minutes: the same for all arms that begin with `short`.
SHORT = {"epochs": 12, "train_batch": 8, "decay": round(LEFT ** (1 / 12), 4)}
KEPT = (
    "image_auroc",
    "image_ap",
    "false_alarm_rate",
    "miss_rate",
    "pixel_auroc",
    "aupro_0.30",
    "pixel_f1",
    "pixel_iou",
    "x_auc",
    "x_f1",
    "x_iou",
    "x_f1_class",
    "x_iou_class",
    "x_f1_max",
    "x_iou_max",
    "mass_inside",
    "contrast",
    "components",
)
FILTERS = {name: {"radius": name} for name in ("none", "boxes", "least_run")}


@dataclass(frozen=True)
class Arm:
    """One row of a table: what is trained, on which draws."""

    data: str = "screw"
    options: dict = field(default_factory=dict)
    per_type: int = 3
    draws: tuple = (0, 1, 2)
    unseen: tuple = ()
    size: int = 224  # pixels
    # The same model judged in other ways: name to options.
    judged: dict = field(default_factory=dict)
    note: str = ""


def vit(regime, weights="random", name="vit_tiny_patch16_224", **more):
    return {"encoder": "vit", "backbone": name, "weights": weights, "regime": regime, **more}


PAPER = {"reduction": "three", "epochs": 200, "decay": 0.985}
RESNET = {"backbone": "resnet50", "weights": os.environ.get("WEIGHTS_RESNET50", ""), "strides": "8"}
BASE = partial(vit, weights=os.environ.get("WEIGHTS_VIT", ""), name="vit_base_patch16_224")
RANDOM = "The encoder's weights are random: no pre-trained vision transformer was to be had."
ARMS = {
    "screw": Arm(judged=FILTERS),
    "tile": Arm("tile", judged={"none": FILTERS["none"]}),
    **{f"screw_k{k}": Arm(per_type=k) for k in (1, 2, 5)},
    "screw_no_paste": Arm(options={"pastes": 0}),
    "screw_sigmoid": Arm(options={"head": "sigmoid"}),
    "screw_near": Arm(options={"placement": "near"}),
    "screw_three": Arm(options={"reduction": "three"}),
    "screw_paper_schedule": Arm(options=PAPER),
    **{f"screw_unseen_{kind}": Arm(draws=(0,), unseen=(kind,)) for kind in SCREW_TYPES},
    "screw_cnn_norm_only": Arm(options={"regime": "norm_only"}),
    "screw_cnn_finetune": Arm(options={"regime": "finetune"}),
    "screw_cnn_scratch": Arm(options={"regime": "scratch"}),
    "screw_vit_random": Arm(options=vit("frozen"), note=RANDOM),
    "screw_vit_scratch": Arm(options=vit("scratch"), note=RANDOM),
    "screw_resnet50": Arm(options={**RESNET, **PAPER}),
    "screw_vit_frozen": Arm(options=BASE("frozen")),
    "screw_vit_norm_only": Arm(options=BASE("norm_only")),
    "screw_vit_finetune": Arm(options=BASE("finetune")),
}
COMPARED = (
    *("k1", "k2", "k5", "no_paste", "sigmoid", "near", "three"),
    *("cnn_norm_only", "cnn_finetune", "cnn_scratch", "vit_random", "vit_scratch"),
)
ARMS |= {
    f"short{end}": replace(
        ARMS[f"screw{end}"],
        options={**ARMS[f"screw{end}"].options, **SHORT},
        draws=(0,),
        judged={} if end else {"none": FILTERS["none"]},
    )
    for end in ("", *(f"_{name}" for name in COMPARED))
}
ARMS |= {
    # Not in any table: do they run?
    "smoke": Arm(options={"epochs": 2, "pastes": 1}, draws=(0,), judged={"none": FILTERS["none"]}),
    "smoke_vit": Arm(options=vit("scratch", epochs=1, pastes=1), size=64, draws=(0,)),
}


def options_of(arm):
    epochs = EPOCHS[arm.data]
    return {
        "backbone": "mobilenetv1_100",
        "weights": str(Path(os.environ["BLEMISH_WEIGHTS"]) / WEIGHTS),
        "reduction": "single",
        "epochs": epochs,
        "decay": round(LEFT ** (1 / epochs), 4),
        "image_size": str(arm.size),
        "fit": "stretch",
        **arm.options,
    }


@cache
def opened(name):
    where, category = SETS[name]
    return open_dataset(where, category=category)


@cache
def shrunk(name, key, size):
    """Image and mask of a record at the size of an arm; read once for all draws."""
    data = opened(name)
    record = next(r for r in data if r.key == key)
    full = data.image(record)
    marked = data.mask(record, full.shape[:2])
    marked = np.zeros(full.shape[:2], bool) if marked is None else marked
    side = (size, size)
    image = np.asarray(Image.fromarray(full).resize(side, Image.BILINEAR))
    return image, np.asarray(Image.fromarray(marked).resize(side, Image.NEAREST))


def open_small(arm, draw) -> DataSet:
    """The few-defect split with images and masks at the size of the arm."""
    where, category = SETS[arm.data]
    data = open_dataset(
        where, category=category, few_defects=arm.per_type, draw=draw, unseen=arm.unseen
    )

    def small(record):
        def part(which):
            return shrunk(arm.data, record.key, arm.size)[which]

        mask = None if record.mask is None else partial(part, 1)
        return replace(record, image=partial(part, 0), mask=mask)

    return replace(data, records=tuple(map(small, data)))


class Cuts:
    """F1 and IoU of each defect at the detector's own thresholds: one for all places, or local."""

    def __init__(self, detector, data):
        self.detector, self.data = detector, data
        self.found = {"calibrated": [], "local": []}

    def __call__(self, record, prediction):
        truth = self.data.mask(record, prediction.anomaly_map.shape)
        if not record.defective or truth is None:
            return
        for rule, values in self.found.items():
            mask = explain(self.detector, prediction, rule).mask
            both, either = (mask & truth).sum(), (mask | truth).sum()
            values.append((2 * both / (both + either), both / either))

    def figures(self):
        words = {"calibrated": "the calibrated threshold", "local": "local thresholds"}
        means = {rule: np.mean(values, axis=0) for rule, values in self.found.items()}
        return {
            f"{key}_{rule}": {"value": float(pair[i]), "label": f"{name} at {words[rule]}, mean"}
            for rule, pair in means.items()
            for i, (key, name) in enumerate((("f1", "F1"), ("iou", "IoU")))
        }


def run(name, draw, folder):
    """Fit one draw of an arm, judge it in all ways, and write a results file for each."""
    arm, data = ARMS[name], open_small(ARMS[name], draw)
    options = {**options_of(arm), "calibration": "split"}
    started = time.perf_counter()
    given = Run(feature_cache=folder, feature_cache_mb=FEATURES_MB, say=print)
    detector = Detector("aexad", **options).fit(data, given)
    seconds = {"fit": time.perf_counter() - started}
    seconds["fit_per_epoch"] = seconds["fit"] / int(options["epochs"])
    method = detector.pipeline.method
    own = method.options
    judge(name, name, draw, detector, data, folder, seconds)
    for way, changed in arm.judged.items():
        # The threshold is that of the filter it was calibrated with: only maps are compared.
        method.options = replace(own, **changed)
        judge(name, f"{name}_{way}", draw, detector, data, folder, seconds)


def judge(name, what, draw, detector, data, folder, seconds):
    by_type, cuts = ByType(data), Cuts(detector, data)

    def look(record, prediction):
        by_type(record, prediction)
        cuts(record, prediction)

    started = time.perf_counter()
    if hasattr(detector.pipeline.method, "backbone_"):
        with remembering(detector, folder):
            found = evaluate(detector, data, per_image=True, on_prediction=look)
    else:
        found = evaluate(detector, data, per_image=True, on_prediction=look)
    seconds = {**seconds, "evaluate": time.perf_counter() - started}
    figures = {k: found.figures[k].to_json() for k in KEPT if k in found.figures}
    arm = ARMS[name]
    notes = [
        f"{arm.per_type} masks per defect type; one thread on a shared machine.",
        "Supervised: never to be ranked beside methods that saw no defect.",
        "x_f1, x_iou: threshold mean + deviation of each map; _class: of all test maps (oracle).",
        *([f"The model of {name}, judged in another way."] if what != name else []),
        *(f"No {kind} was seen in training." for kind in arm.unseen),
        *([arm.note] if arm.note else []),
    ]
    result = Result(
        what=f"{what}_draw{draw}",
        method="aexad",
        options=published(options_of(arm)),
        command=f"python benchmarks/aexad.py {name}:{draw}",
        seeds=(0,),
        data={
            "name": "/".join(filter(None, SETS[arm.data])),
            "fingerprint": found.data["test_fingerprint"],
        },
        figures=figures | by_type.figures(found.images) | cuts.figures(),
        seconds=seconds,
        notes=notes,
    )
    result.write(RESULTS)
    said = {k: round(figures[k]["value"], 3) for k in COLUMNS[:4]}
    print(result.what, said, {k: round(v, 2) for k, v in seconds.items()}, flush=True)


COLUMNS = ("x_auc", "x_f1", "x_iou", "image_auroc", "mass_inside", "contrast", "components")
HEADER = ("X-AUC", "F1", "IoU", "detection", "mass inside", "contrast", "components")
STUDIES = {
    "main": ("screw", "tile"),
    "masks": ("screw_k1", "screw_k2", "screw", "screw_k5"),
    "ablation": (
        *("screw", "screw_none", "screw_boxes", "screw_least_run", "screw_no_paste"),
        *("screw_sigmoid", "screw_near", "screw_three", "screw_paper_schedule", "tile_none"),
    ),
    "short": ("short", "short_none", *(f"short_{name}" for name in COMPARED)),
    "encoders": (
        *("screw", "screw_cnn_norm_only", "screw_cnn_finetune", "screw_cnn_scratch"),
        *("screw_vit_random", "screw_vit_scratch"),
        *("screw_resnet50", "screw_vit_frozen", "screw_vit_norm_only", "screw_vit_finetune"),
    ),
}


def row(name):
    found = results_of(name, "aexad")
    return [f"`{name}`", len(found) or "", *(cell(found, key) for key in COLUMNS)]


def threshold_row(name):
    found = results_of(name, "aexad")
    keys = ("x_f1", "f1_calibrated", "f1_local", "x_iou", "iou_calibrated", "iou_local")
    return [f"`{name}`", *(cell(found, key) for key in keys)]


def unseen_row(kind):
    seen = [r for r in results_of("screw", "aexad") if r["command"].endswith(":0")]
    unseen = results_of(f"screw_unseen_{kind}", "aexad")
    keys = [f"{key}_{kind}" for key in ("x_auc", "x_iou", "image_auroc")]
    return [kind, *(cell(some, key) for key in keys for some in (seen, unseen))]


def speed_rows():
    found = [results_of(what, "aexad") for what in ("speed", "speed_gpu")]
    words = {
        **{
            f"step_{network}_{reduction}": f"step, s: {network}, `reduction={reduction}`"
            for network in ("mobilenetv1_100", "resnet50")
            for reduction in ("single", "three")
        },
        "inference_mobilenetv1_100": "MobileNet v1: all / encoder and decoder",
        "inference_resnet50": "ResNet-50: all / encoder and decoder",
        "radius_ms": "k̂ of a 512 × 512 map, ms",
    }
    return [[text, *(cell(results, key) for results in found)] for key, text in words.items()]


def table():
    tables = {
        study: markdown(("arm", "draws", *HEADER), map(row, names))
        for study, names in STUDIES.items()
    }
    ways = ("of the map", "calibrated", "local")
    tables["thresholds"] = markdown(
        ("arm", *(f"F1, {way}" for way in ways), *(f"IoU, {way}" for way in ways)),
        map(threshold_row, ("screw", "tile", "short", *STUDIES["short"][-5:])),
    )
    sides = [
        f"{name}, {side}" for name in ("X-AUC", "IoU", "detection") for side in ("seen", "unseen")
    ]
    tables["unseen"] = markdown(("type", *sides), map(unseen_row, SCREW_TYPES))
    tables["speed"] = markdown(("", "CPU", "with a GPU"), speed_rows())
    fill("aexad.md", tables)


if __name__ == "__main__":
    run_draws(ARMS, run, table)
