"""AE-XAD on screw and magnetic tile: `python benchmarks/aexad.py ARM [ARM…]`, one file per arm.

Few-defect splits at 224 px as in Angiulli et al. 2025 (images antialiased, masks by nearest
neighbour; figures at that size), a frozen MobileNet v1 at stride 8 and a short schedule; arms named
128 or 64 have so many pixels, take a fraction of the time, and compare with each other only. Every
draw is kept in $BLEMISH_PARTS as soon as it is there (default: `parts` beside this script, not
committed), so that an interrupted arm goes on; its results file is written after every draw.

`python benchmarks/aexad.py list` prints all arms, `table` the rows of docs/methods/aexad.md. Arms
whose encoder needs weights that are not there are commands for a machine that has them:
WEIGHTS_RESNET50 and WEIGHTS_VIT name the files.
"""

import json
import os
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from blemish.benchmark import Result
from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.ranking import image_figures
from common import RESULTS, WEIGHTS, published

PARTS = Path(os.environ.get("BLEMISH_PARTS", Path(__file__).parent / "parts"))
SETS = {"screw": ("mvtec_ad", "screw"), "tile": ("magnetic_tile", None)}
# Passes over the good images, and what is left of the learning rate after the last.
EPOCHS = {"screw": 20, "tile": 6}
LEFT = 0.05
SCREW_TYPES = ("manipulated_front", "scratch_head", "scratch_neck", "thread_side", "thread_top")
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


@dataclass(frozen=True)
class Arm:
    """One row of a table: what is trained, on which draws."""

    data: str = "screw"
    options: dict = field(default_factory=dict)
    per_type: int = 3
    draws: tuple = (0, 1, 2)
    unseen: tuple = ()
    size: int = 224  # pixels
    reuse: str = ""  # the arm whose models are only judged in another way
    note: str = ""


def vit(regime, weights="random", name="vit_tiny_patch16_224", **more):
    return {"encoder": "vit", "backbone": name, "weights": weights, "regime": regime, **more}


RESNET = {"backbone": "resnet50", "weights": os.environ.get("WEIGHTS_RESNET50", ""), "strides": "8"}
BASE = partial(vit, weights=os.environ.get("WEIGHTS_VIT", ""), name="vit_base_patch16_224")
RANDOM = "The encoder's weights are random: no pre-trained vision transformer was to be had."
ARMS = {
    "screw": Arm(),
    "tile": Arm("tile"),
    "screw_no_filter": Arm(options={"radius": "none"}, reuse="screw"),
    "screw_boxes": Arm(options={"radius": "boxes"}, reuse="screw"),
    "screw_least_run": Arm(options={"radius": "least_run"}, reuse="screw"),
    "tile_no_filter": Arm("tile", {"radius": "none"}, reuse="tile"),
    "screw_64": Arm(size=64),
    "screw_64_no_filter": Arm(options={"radius": "none"}, reuse="screw_64", size=64),
    "screw_128": Arm(size=128),
    "screw_128_no_filter": Arm(options={"radius": "none"}, reuse="screw_128", size=128),
    "screw_128_no_paste": Arm(options={"pastes": 0}, size=128),
    "screw_128_sigmoid": Arm(options={"head": "sigmoid"}, size=128),
    "screw_128_near": Arm(options={"placement": "near"}, size=128),
    "screw_128_three": Arm(options={"reduction": "three"}, size=128),
    **{f"screw_128_k{k}": Arm(per_type=k, size=128) for k in (1, 2, 5)},
    **{f"screw_128_no_{t}": Arm(draws=(0,), unseen=(t,), size=128) for t in SCREW_TYPES},
    "screw_128_vit_random": Arm(options=vit("frozen"), size=128, note=RANDOM),
    "screw_128_vit_scratch": Arm(options=vit("scratch"), size=128, note=RANDOM),
    "screw_128_cnn_norm_only": Arm(options={"regime": "norm_only"}, size=128),
    "screw_128_cnn_finetune": Arm(options={"regime": "finetune"}, size=128),
    "screw_128_cnn_scratch": Arm(options={"regime": "scratch"}, size=128),
    "screw_three": Arm(options={"reduction": "three"}),
    "screw_resnet50": Arm(options={**RESNET, "reduction": "three", "epochs": 200, "decay": 0.985}),
    "screw_vit_frozen": Arm(options=BASE("frozen")),
    "screw_vit_norm_only": Arm(options=BASE("norm_only")),
    "screw_vit_finetune": Arm(options=BASE("finetune")),
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


def open_small(arm, draw):
    """The few-defect split with images and masks at the size of the arm."""
    where, category = SETS[arm.data]
    data = open_dataset(
        where, category=category, few_defects=arm.per_type, draw=draw, unseen=arm.unseen
    )
    return replace(
        data, records=tuple(small(data, record, (arm.size, arm.size)) for record in data)
    )


def small(data: DataSet, record, size):
    def image():
        shrunk = Image.fromarray(data.image(record)).resize(size, Image.BILINEAR)
        return np.asarray(shrunk)

    def mask():
        full = data.image(record).shape[:2]
        marked = data.mask(record, full)
        marked = np.zeros(full, bool) if marked is None else marked
        return np.asarray(Image.fromarray(marked).resize(size, Image.NEAREST))

    return replace(record, image=image, mask=None if record.mask is None else mask)


class ByType:
    """Maps of each kind of defect on their own."""

    def __init__(self):
        self.maps = defaultdict(lambda: ExplainabilityMetrics(replicates=0))

    def __call__(self, record, prediction):
        if record.defective and record.mask is not None:
            # Where the mask vanished it is counted, not measured.
            self.maps[record.defect_type].add(
                prediction.anomaly_map, record.mask(), key=record.key, defective=True
            )

    def figures(self, images):
        found = {}
        good = [i.score for i in images if not i.defective]
        for kind, maps in self.maps.items():
            scores = [i.score for i in images if i.defect_type == kind]
            labels = [False] * len(good) + [True] * len(scores)
            auroc = image_figures(
                good + scores, labels, labels, [str(n) for n in range(len(labels))], 0
            )["image_auroc"]
            own = maps.figures()
            found[kind] = {"image_auroc": auroc.value} | {
                name: own[name].value for name in ("x_auc", "x_f1", "x_iou")
            }
        return found


def run_draw(name, arm, draw):
    """Fit and evaluate one draw, or read what is kept of it."""
    path = PARTS / f"{name}-{draw}.json"
    if path.exists():
        return json.loads(path.read_text())
    data, model = open_small(arm, draw), PARTS / f"{arm.reuse or name}-{draw}.blemish"
    started = time.perf_counter()
    if arm.reuse:
        detector = Detector.load(model)
        method = detector.pipeline.method
        method.options = replace(method.options, **arm.options)
    else:
        options = {**options_of(arm), "calibration": "split"}
        detector = Detector("aexad", **options).fit(data)
        PARTS.mkdir(exist_ok=True)
        detector.save(model)
    fitted, by_type = time.perf_counter(), ByType()
    found = evaluate(detector, data, per_image=True, on_prediction=by_type)
    part = {
        "figures": {k: found.figures[k].to_json() for k in KEPT if k in found.figures},
        "types": by_type.figures(found.images),
        "fingerprint": found.data["test_fingerprint"],
        "seconds": {
            "fit": fitted - started,
            "evaluate": time.perf_counter() - fitted,
            "per_image": found.seconds["predict_per_image"],
        },
        "loss": detector.history.get("loss", [])[-1:],
    }
    path.write_text(json.dumps(part))
    short = {k: round(found.figures[k].value, 4) for k in ("x_auc", "x_f1", "x_iou", "image_auroc")}
    print(name, draw, short, {k: round(v, 2) for k, v in part["seconds"].items()}, flush=True)
    return part


def result_of(name, arm, parts):
    draws = arm.draws[: len(parts)]
    figures = {}
    for key in parts[0]["figures"]:
        values = [part["figures"][key]["value"] for part in parts]
        if len(parts) == 1:
            figures[key] = parts[0]["figures"][key]
            continue
        kept = {k: v for k, v in parts[0]["figures"][key].items() if k in {"label", "oracle"}}
        figures[key] = {
            **kept,
            "value": statistics.fmean(values),
            "deviation": statistics.stdev(values),
            "values": values,
        }
    for kind in parts[0]["types"]:
        for key in parts[0]["types"][kind]:
            values = [p["types"][kind][key] for p in parts if kind in p["types"]]
            known = [v for v in values if v is not None]
            if known:
                figures[f"{key}_{kind}"] = {
                    "value": statistics.fmean(known),
                    "label": f"{key}, {kind} only",
                }
    seconds = {k: statistics.median(p["seconds"][k] for p in parts) for k in parts[0]["seconds"]}
    if not arm.reuse:
        seconds["fit_per_epoch"] = seconds["fit"] / int(options_of(arm)["epochs"])
    notes = [
        f"{arm.per_type} masks per defect type, draws {', '.join(map(str, draws))} of "
        f"{', '.join(map(str, arm.draws))}; one thread on a shared machine.",
        "Supervised: never to be ranked beside methods that saw no defect.",
        "x_f1, x_iou: threshold mean + deviation of each map; _class: of all test maps (oracle).",
    ]
    notes += [f"Models of {arm.reuse}, judged in another way."] if arm.reuse else []
    notes += [f"No {t} was seen in training." for t in arm.unseen]
    return Result(
        what=name,
        method="aexad",
        options=published(options_of(arm)),
        command=f"python benchmarks/aexad.py {name}",
        seeds=(0,),
        data={
            "name": "mvtec_ad/screw" if arm.data == "screw" else "magnetic_tile",
            "fingerprint": [part["fingerprint"] for part in parts],
        },
        figures=figures,
        seconds=seconds,
        notes=[*notes, *([arm.note] if arm.note else [])],
    )


def run(names):
    """The first draw of every arm before the second of any."""
    parts = {name: [] for name in names}
    for draw in range(3):
        for name in names:
            if draw in ARMS[name].draws:
                parts[name].append(run_draw(name, ARMS[name], draw))
                result_of(name, ARMS[name], parts[name]).write(RESULTS)


COLUMNS = ("x_auc", "x_f1", "x_iou", "image_auroc", "mass_inside", "contrast", "components")


def row(name):
    """One line of Markdown; empty, with its command, where nothing was measured."""
    found = [p for p in RESULTS.glob(f"{name}-aexad-*.json")]
    if not found:
        return f"| `{name}` | | " + " | ".join("–" for _ in COLUMNS) + " | – |"
    result = json.loads(found[0].read_text("utf-8"))
    cells = []
    for key in COLUMNS:
        figure = result["figures"][key]
        deviation = f" ± {figure['deviation']:.3f}" if "deviation" in figure else ""
        cells.append(f"{figure['value']:.3f}{deviation}")
    draws = len(result["data"]["fingerprint"])
    return f"| `{name}` | {draws} | " + " | ".join(cells) + f" | {result['seconds']['fit']:.0f} |"


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print("| arm | draws | " + " | ".join(COLUMNS) + " | fit, s |")
        print("|" + "---|" * (len(COLUMNS) + 3))
        print("\n".join(row(name) for name in ARMS))
    elif sys.argv[1:] == ["list"]:
        for name, arm in ARMS.items():
            print(name, arm)
    else:
        run(sys.argv[1:])
