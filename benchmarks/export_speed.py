"""How fast exported files are, one thread, 256 px: `python benchmarks/export_speed.py NAME`.

Names: peer, peer_wide, small, startup; machine_METHOD, every way to run a method on this machine;
table, which writes the tables of docs/speed.md and README.md. `peer` times the PatchCore of another
package in the same run, round by round; $BLEMISH_PEER is the Python of an environment that has it
(anomalib 2.7, eager torch). With BLEMISH_SMOKE set, all is short and results go to a temporary
folder.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import common
from blemish import speed
from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from blemish.speed import ENGINES, cases, measure_case
from common import RESULTS, WEIGHTS, fill, main, markdown

ROUNDS, CALLS, WARM = 5, 12, 3
OURS, PEER_NAME = ("blemish", "blemish, mirrored border"), "anomalib 2.7, eager"
IMAGE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
PEER = """
import json, sys, time, torch
torch.set_num_threads(1)
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
name, channels = sys.argv[1], int(sys.argv[2])
model = PatchcoreModel(backbone=name, layers=["layer2", "layer3"], pre_trained=False).eval()
model.memory_bank = torch.rand(2000, channels)
x = torch.rand(1, 3, 256, 256)
print("ready", flush=True)
for line in sys.stdin:
    times = []
    with torch.inference_mode():
        for _ in range(int(line)):
            started = time.perf_counter(), time.process_time()
            model(x)
            times.append([time.perf_counter() - started[0], time.process_time() - started[1]])
    print(json.dumps(times), flush=True)
"""


class Peer:
    """The other package in a process of its own, which waits while ours is timed."""

    def __init__(self, backbone, channels):
        self.process = subprocess.Popen(
            [os.environ["BLEMISH_PEER"], "-W", "ignore", "-c", PEER, backbone, str(channels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while self.process.stdout.readline().strip() != "ready":
            pass

    def __call__(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Ours:
    """An exported PatchCore with a bank of `vectors`, image in, decision out."""

    def __init__(self, vectors, **options):
        warnings.simplefilter("ignore")
        data = open_dataset("battery_plate", good=16, defective=2)
        detector = Detector(
            "patchcore",
            image_size="256",
            fit="stretch",
            coreset=1e-6,
            bank_mb=64,
            memory_mb=100,
            **options,
        ).fit(data)
        method = detector.pipeline.method
        method.bank_ = np.random.default_rng(0).random((vectors, method.bank_.shape[1]), np.float32)
        method.origins_ = np.zeros(vectors, np.int64)
        method._prepare()
        with tempfile.TemporaryDirectory() as folder:
            path = export_onnx(detector, Path(folder) / "part.onnx").path
            self.megabytes = path.stat().st_size / 1e6
            self.detector = Detector.load(path)
        model = self.detector.pipeline.method
        model.options = replace(model.options, threads=1)
        model.restore(model.origin_, {"graph": model.graph_})

    def __call__(self, calls):
        times = []
        for _ in range(calls):
            started = time.perf_counter(), time.process_time()
            self.detector.predict(IMAGE)
            times.append([time.perf_counter() - started[0], time.process_time() - started[1]])
        return times


def in_turns(runs):
    """Round by round, so that a busy moment meets all of them."""
    for run in runs.values():
        run(WARM)
    times = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name] += run(CALLS)
    return {name: np.asarray(t) * 1e3 for name, t in times.items()}


def figures(times):
    found = {}
    for name, t in times.items():
        for label, q, which in (("median", 50, 0), ("p99", 99, 0), ("cpu", 50, 1)):
            what = "median, ms of processor time" if which else f"{label}, ms"
            found[f"{name} {label}"] = {
                "value": float(np.percentile(t[:, which], q)),
                "label": f"{name}: {what} per image",
            }
    return found


def result(what, found, notes=(), name="drawn"):
    return Result(
        what=what,
        method="patchcore",
        command=f"python benchmarks/export_speed.py {what.removeprefix('speed_')}",
        data={"name": name, "fingerprint": "random pixels, 256×256"},
        figures=found,
        notes=(
            "One thread. Image in, decision out; random weights and bank. Where clock and "
            "processor time differ, the machine had other work.",
            *notes,
        ),
    )


def next_to_peer(backbone, channels):
    options = {"backbone": backbone, "weights": "random", "strides": "8,16"}
    runs = dict(zip(OURS, (Ours(2000, **options, margin=0), Ours(2000, **options)), strict=True))
    runs[PEER_NAME] = Peer(backbone, channels)
    times = in_turns(runs)
    found = figures(times)
    theirs = np.median(times[PEER_NAME], axis=0)
    for name in OURS:
        for i, what in enumerate(("time", "processor time")):
            found[f"{name} share of {what}"] = {
                "value": float(np.median(times[name], axis=0)[i] / theirs[i]),
                "label": f"{name}: share of the peer's {what}",
            }
    return found


def peer():
    found = next_to_peer("resnet18", 384)
    notes = [
        "blemish without a mirrored border (margin=0) computes what the peer computes; with it "
        "(the default) the network sees 320×320 pixels.",
        "The target was a share of 0.6 for resnet18.",
    ]
    return result("speed_peer", found, notes, "resnet18")


def peer_wide():
    return result("speed_peer_wide", next_to_peer("wide_resnet50_2", 1536), name="wide_resnet50_2")


def small():
    weights = str(Path(os.environ["BLEMISH_WEIGHTS"]) / WEIGHTS)
    network = {"backbone": "mobilenetv1_100", "weights": weights, "strides": "16"}
    runs = {
        "mobilenetv1_100 at stride 16": Ours(1000, **network, margin=0),
        "mobilenetv1_100 at stride 16, mirrored border": Ours(1000, **network),
        "filter_bank": Ours(1000),
        "filter_bank at stride 16": Ours(1000, strides="16"),
    }
    return result("speed_small", figures(in_turns(runs)), ["The target was 15 ms."])


def startup():
    """Load and first inference in a fresh process, once the package is imported."""
    code = """
import sys, time, numpy as np
from blemish import Detector
Detector
started = time.perf_counter()
Detector.load(sys.argv[1]).predict(np.zeros((256, 256, 3), np.uint8))
print(time.perf_counter() - started)
"""
    found = {}
    cases = {
        "filter_bank": {},
        "resnet18": {"backbone": "resnet18", "weights": "random", "strides": "8,16"},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, options in cases.items():
            path = Ours(2000, **options).detector.save(Path(folder) / "part.onnx")
            times = [
                float(subprocess.check_output([sys.executable, "-c", code, str(path)]))
                for _ in range(5)
            ]
            found[name] = {
                "value": float(np.median(times)),
                "label": f"{name}: load and first image, s",
                "target": "under 1 s",
            }
    return result("speed_startup", found)


def machine(case):
    with tempfile.TemporaryDirectory() as folder:
        return measure_case(case, Path(folder), print)


# ---------------------------------------------------------------------- tables

COLUMNS = {
    "p50, ms": ("p50 batch 1, ms", 1),
    "p99, ms": ("p99 batch 1, ms", 1),
    "p50 of 8, ms": ("p50 batch 8, ms", 1),
    "images/s": ("images/s batch 8", 1),
    "peak MB": ("peak memory, MB", 0),
    "file, MB": ("file, MB", 1),
    "first image, s": ("load and first image, s", 2),
}


def machine_rows(engines, columns):
    for case in cases():
        path = RESULTS / f"speed-{case.method}-{case.label.replace(' ', '_')}.json"
        figures = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}
        for engine in engines:
            if f"{engine} p50 batch 1, ms" in figures:
                yield [case.label, engine, *(shown(figures, engine, c) for c in columns)]
            elif not figures and engine == ENGINES[0]:
                yield [f"`machine_{case.label.replace(' ', '_')}`", engine, *["–"] * len(columns)]


def shown(figures, engine, column):
    name, digits = COLUMNS[column]
    found = figures.get(f"{engine} {name}")
    return "–" if found is None else f"{found['value']:.{digits}f}"


def figures_of(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}


def peer_rows():
    for name, network in (("peer", "resnet18"), ("peer_wide", "wide_resnet50_2")):
        figures = figures_of(f"speed_{name}-patchcore-{network}")
        for run in (PEER_NAME, *OURS):
            values = [figures.get(f"{run} {what}") for what in ("median", "cpu")]
            shares = [figures.get(f"{run} share of {t}") for t in ("time", "processor time")]
            cells = [f"{v['value']:.0f}" if v else "–" for v in values]
            yield [network, run, *cells, *(f"{v['value']:.2f}" if v else "–" for v in shares)]


def small_rows():
    figures = figures_of("speed_small-patchcore-drawn")
    for name in [key.removesuffix(" median") for key in figures if key.endswith(" median")]:
        values = [figures[f"{name} {what}"]["value"] for what in ("median", "cpu")]
        yield [name, *(f"{value:.1f}" for value in values)]


def tables():
    times = ("median, ms", "processor time, ms")
    shares = ("share of the peer's time", "share of its processor time")
    beside = markdown(("network", "runs in", *times, *shares), peer_rows())
    fill(
        "../speed.md", {"peer": beside, "small": markdown(("1,000 patches", *times), small_rows())}
    )
    short = ("p50, ms", "images/s", "peak MB", "file, MB")
    head = ("method", "runs in")
    fill("../speed.md", {"machine": markdown((*head, *COLUMNS), machine_rows(ENGINES, COLUMNS))})
    rows = machine_rows(("onnxruntime fp32",), short)
    fill("../../README.md", {"speed": markdown((*head, *short), rows)})


TARGETS = {"peer": peer, "peer_wide": peer_wide, "small": small, "startup": startup}
for case in cases():
    TARGETS[f"machine_{case.label.replace(' ', '_')}"] = partial(machine, case)

if __name__ == "__main__":
    if os.environ.get("BLEMISH_SMOKE"):
        common.RESULTS = Path(tempfile.mkdtemp())
        speed.SECONDS, ROUNDS, CALLS = 0.0, 1, 2
    if sys.argv[1:] == ["table"]:
        tables()
    else:
        main(TARGETS)
