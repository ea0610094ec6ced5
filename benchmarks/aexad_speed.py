"""Time of AE-XAD's training step and of its inference: `python benchmarks/aexad_speed.py speed`.

Drawn plates at 224 px, batch 16, a frozen network with random weights: what is computed is the same
as with trained ones. Arithmetic is counted beside it, so that the limit of a machine can be told.
"""

import itertools
import time

import numpy as np
import torch

from blemish.adaptive_blur import adaptive_radius
from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.devices import has_bf16
from blemish.run import Run
from common import main

GOOD = 33  # of good images that are learned from: three full batches of 11
SHARE = 0.25
NETWORKS = {"mobilenetv1_100": 256, "resnet50": 512}


def plates():
    data = open_dataset("battery_plate", seed=100, few_defects=3)
    good = data.select("train", defective=False).records[: round(GOOD / (1 - SHARE))]
    marked = data.select("train", defective=True).records
    return data.select(keys=[r.key for r in (*good, *marked)])


def operations(channels, reduction):
    """Billions of operations of a step: two per multiply-add, forward and both gradients."""
    widths = (channels, 64) if reduction == "single" else (channels, 256, 128, 64)
    convolutions = [28 * 28 * 9 * a * b for a, b in itertools.pairwise(widths)]
    decoder = 0
    for before, after, side in ((64, 32, 28), (32, 16, 56), (16, 8, 112)):
        decoder += side * side * (9 * before * after + 16 * after * after)
    decoder += 224 * 224 * 9 * 8 * (8 + 3)
    # The frozen features need no gradient.
    return 2 * 16 * (3 * (sum(convolutions) + decoder) - convolutions[0]) / 1e9


def step_times(network, reduction):
    marks = []
    run = Run(progress=lambda stage, done, total: marks.append((stage, time.perf_counter())))
    detector = Detector(
        "aexad",
        backbone=network,
        weights="random",
        reduction=reduction,
        epochs=5,
        pastes=1,
        calibration="split",
        calibration_share=SHARE,
        image_size="224",
        fit="stretch",
        false_alarms=0.2,
    ).fit(plates(), run)
    times = [at for stage, at in marks if stage.startswith("training")]
    # The first passes fill the memory of features.
    return detector, np.diff(times)[len(times) * 3 // 5 :]


def inference(detector):
    """Milliseconds per image: everything, and encoder and decoder alone."""
    view = np.random.default_rng(0).random((224, 224, 3)).astype(np.float32)
    valid = np.ones((224, 224), bool)
    method = detector.pipeline.method
    calls = {
        "all": lambda: method.predict_batch(view[None], valid[None], [""]),
        "encoder and decoder": lambda: method._draw(view),
    }
    return {name: best(call) for name, call in calls.items()}


def best(call, times=15):
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return float(np.median(found) * 1e3)


def speed():
    torch.set_num_threads(2)
    a = torch.rand(2048, 2048)
    peak = 2 * 2048**3 / 1e6 / best(lambda: a @ a)
    figures = {
        "gflops": {"value": peak, "label": "Matrix product, 2 threads, 10^9 operations per second"}
    }
    for network, channels in NETWORKS.items():
        for reduction in ("single", "three"):
            detector, times = step_times(network, reduction)
            count, seconds = operations(channels, reduction), float(np.median(times))
            name = f"{network}, reduction={reduction}"
            figures[f"step_{network}_{reduction}"] = {
                "value": seconds,
                "label": f"Training step, s: {name} ({count:.0f} · 10^9 operations, "
                f"{count / peak:.2f} s at the rate of the matrix product)",
                "target": "0.25",
            }
            print(name, seconds, count, count / peak, flush=True)
        took = inference(detector)
        figures[f"inference_{network}"] = {
            "value": took["all"] / took["encoder and decoder"],
            "label": f"{network}: all ({took['all']:.1f} ms) / encoder and decoder, one image",
            "target": "1.2",
        }
        print(network, took, flush=True)
    values = np.random.default_rng(0).random((512, 512)).astype(np.float32)
    figures["radius_ms"] = {
        "value": best(lambda: adaptive_radius(values)),
        "label": "Radius of the filter of a 512×512 map, ms",
        "target": "3",
    }
    fast = has_bf16(torch.device("cpu"))
    return Result(
        what="speed",
        method="aexad",
        command="python benchmarks/aexad_speed.py speed",
        data={"name": "battery_plate"},
        seeds=(0,),
        figures=figures,
        notes=[f"These cores compute {'' if fast else 'nothing '}in bfloat16: float32 was used."],
    )


if __name__ == "__main__":
    main(globals())
