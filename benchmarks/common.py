"""What the scripts of this folder share: where results go, which seeds, which weights."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
SEEDS = (100, 101, 102, 103, 104)
WEIGHTS = "mobilenetv1_100.imagenet.safetensors"
RATES = (0.01, 0.05, 0.10)


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
