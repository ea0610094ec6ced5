"""What the scripts of this folder share: where results go, which seeds, weights, tables."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from blemish.features.feature_cache import FeatureCache
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.ranking import image_figures

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs/methods"
SEEDS = (100, 101, 102, 103, 104)
WEIGHTS = "mobilenetv1_100.imagenet.safetensors"
RATES = (0.01, 0.05, 0.10)
SETS = {"screw": ("mvtec_ad", "screw"), "tile": ("magnetic_tile", None)}
SCREW_TYPES = ("manipulated_front", "scratch_head", "scratch_neck", "thread_side", "thread_top")
FEATURES_MB = 40_000


def mobilenet():
    return {
        "backbone": "mobilenetv1_100",
        "weights": str(Path(os.environ["BLEMISH_WEIGHTS"]) / WEIGHTS),
        "image_size": "256",
        "strides": "8,16",
        "coreset": "0.01",
    }


def published(options):
    return {**options, **({"weights": WEIGHTS} if "weights" in options else {})}


def timed(command, label, target):
    times = []
    for _ in range(8):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return {"value": float(np.median(times[1:])), "label": label, "target": target}


def main(targets):
    """Run the targets that the command line names and write one results file each."""
    for name in sys.argv[1:]:
        print(targets[name]().write(RESULTS))


# ---------------------------------------------------------------------- features


@contextmanager
def features_folder():
    """Where frozen features are kept: $BLEMISH_FEATURES, which runs may share, or for this one."""
    if folder := os.environ.get("BLEMISH_FEATURES"):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="blemish-") as folder:
        yield Path(folder) / "features"


def run_arms(arms, run, table, **others):
    """Do what the command line asks: `table`, `list`, one of the others, or `run` of each word."""

    def show():
        for name, arm in arms.items():
            print(name, arm)

    alone = {"table": table, "list": show, **others}
    if len(sys.argv) == 2 and sys.argv[1] in alone:
        alone[sys.argv[1]]()
        return
    with features_folder() as folder:
        for word in sys.argv[1:]:
            run(word, folder)


def run_draws(arms, run, table):
    """As :func:`run_arms`, for arms with draws: ``run(ARM, draw, folder)``, of `ARM` all draws."""

    def each(word, folder):
        name, _, draw = word.partition(":")
        for number in [int(draw)] if draw else arms[name].draws:
            run(name, number, folder)

    run_arms(arms, each, table)


@contextmanager
def remembering(detector, folder):
    """Let a detector look features of test images up, so that several arms compute them once."""
    method = detector.pipeline.method
    own = method.backbone_
    method.backbone_ = FeatureCache(own, folder, FEATURES_MB)
    try:
        yield
    finally:
        method.backbone_ = own


class ByType:
    """Each kind of defect on its own: image AUROC next to all good images, and its maps."""

    def __init__(self, data):
        self.data = data
        self.maps = defaultdict(lambda: ExplainabilityMetrics(replicates=0))

    def __call__(self, record, prediction):
        if record.defective:
            truth = self.data.mask(record, prediction.anomaly_map.shape)
            # Where the mask vanished it is counted, not measured.
            self.maps[record.defect_type].add(
                prediction.anomaly_map, truth, key=record.key, defective=True
            )

    def figures(self, images):
        found = {}
        good = [i.score for i in images if not i.defective]
        for kind, maps in self.maps.items():
            scores = [i.score for i in images if i.defect_type == kind]
            labels = [False] * len(good) + [True] * len(scores)
            keys = [str(n) for n in range(len(labels))]
            auroc = image_figures(good + scores, labels, labels, keys, 0)["image_auroc"]
            own = maps.figures() | {"image_auroc": auroc}
            for name in ("image_auroc", "x_auc", "x_f1", "x_iou"):
                if own[name].value is not None:
                    label = f"{own[name].label}, {kind} only"
                    found[f"{name}_{kind}"] = {"value": own[name].value, "label": label}
        return found


# ---------------------------------------------------------------------- tables


def results_of(what, method):
    """The results files of an arm, one per draw where there are several."""
    paths = [*RESULTS.glob(f"{what}-{method}-*.json"), *RESULTS.glob(f"{what}_draw*-{method}-*")]
    return [json.loads(path.read_text("utf-8")) for path in sorted(paths)]


def cell(results, key, digits=3):
    """Mean and deviation over results files; a dash where there is none."""
    values = [r["figures"][key]["value"] for r in results if key in r["figures"]]
    if not values:
        return "–"
    text = f"{statistics.fmean(values):.{digits}f}"
    return text + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def fill(page, tables):
    """Write tables between `<!-- NAME:begin -->` and `<!-- NAME:end -->` of a page."""
    path = DOCS / page
    text = path.read_text("utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if begin not in text:
            raise SystemExit(f"{page} has no place for the table {name}.")
        text = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.S)  # noqa: B023
    path.write_text(text, "utf-8")
