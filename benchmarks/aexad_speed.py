"""Time of AE-XAD's training step and of its inference: `python benchmarks/aexad_speed.py TARGET`.

Targets: speed (two threads), speed_gpu (training where there is a GPU; inference is on the CPU),
energy (of a training, as codecarbon estimates it offline).

Drawn plates at 224 px, batch 16, a frozen network with random weights: what is computed is the same
as with trained ones. Arithmetic is counted beside it, so that the limit of a machine can be told.
"""

import itertools
import time

import numpy as np
import torch

from blemish.adaptive_blur import adaptive_radius
from blemish.benchmark import EnergyMeter, Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.devices import find_device, has_bf16
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


def step_times(network, reduction, device="cpu"):
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
        device=device,
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
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return float(np.median(found) * 1e3)


def speed():
    torch.set_num_threads(2)
    return measure("speed", "cpu")


def speed_gpu():
    return measure("speed_gpu", find_device("auto"))


def peak(device):
    """10^9 operations per second of a large matrix product, in what a step is computed in."""
    kind = torch.bfloat16 if has_bf16(torch.device(device)) else torch.float32
    n = 8192 if device == "cuda" else 2048
    a = torch.rand(n, n, device=device, dtype=kind)
    return 2 * n**3 / 1e6 / best(lambda: a @ a)


def measure(what, device):
    rate = peak(device)
    figures = {
        "gflops": {"value": rate, "label": "A large matrix product, 10^9 operations per second"}
    }
    for network, channels in NETWORKS.items():
        for reduction in ("single", "three"):
            detector, times = step_times(network, reduction, device)
            count, seconds = operations(channels, reduction), float(np.median(times))
            name = f"{network}, reduction={reduction}"
            figures[f"step_{network}_{reduction}"] = {
                "value": seconds,
                "label": f"Training step, s: {name} ({count:.0f} · 10^9 operations, "
                f"{count / rate:.2g} s at the rate of the matrix product)",
                "target": "0.25",
            }
            print(name, seconds, count, count / rate, flush=True)
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
    words = torch.cuda.get_device_name() if device == "cuda" else device
    fast = has_bf16(torch.device(device))
    return Result(
        what=what,
        method="aexad",
        command=f"python benchmarks/aexad_speed.py {what}",
        data={"name": "battery_plate"},
        seeds=(0,),
        figures=figures,
        notes=[
            f"Training on {words}, bfloat16: {fast}; inference on the CPU, "
            f"{torch.get_num_threads()} thread(s) of a shared machine."
        ],
    )


def energy():
    """A short training, estimated from the load: nothing is metered."""
    started = time.perf_counter()
    with EnergyMeter() as meter:
        step_times("mobilenetv1_100", "single")
    seconds = time.perf_counter() - started
    figures = {
        **{name: figure.to_json() for name, figure in meter.figures().items()},
        "seconds": {"value": seconds, "label": "Wall time of it, s"},
    }
    return Result(
        what="energy",
        method="aexad",
        command="python benchmarks/aexad_speed.py energy",
        data={"name": "battery_plate"},
        seeds=(0,),
        figures=figures,
        notes=[f"{GOOD} good images at 224 px: features, pool, 5 epochs, calibration; no test."],
    )


if __name__ == "__main__":
    main(globals())
