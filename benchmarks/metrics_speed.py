"""Time and memory of all pooled pixel metrics on the 160 screw test masks at 512 x 512.

    python benchmarks/metrics_speed.py --images 160 1600 --out benchmarks/results

Maps are smoothed noise, raised a little inside the masks of MVTec AD screw, which are read from the
folder named by BLEMISH_DATA; without it masks are drawn. 1,600 images are the 160 masks ten times
with other noise. Each case runs in a process of its own, so that its peak memory is its own. Time
is that of the metrics alone: maps are made and released one by one between the measurements. Peers
run on the same maps where they are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from blemish.benchmark import Result, peak_memory_mb
from blemish.metrics.exact import ExactPixelMetrics
from blemish.metrics.pixels import PixelMetrics

SIDE = 512
TEST_SET = 160
GOOD = 41

LABELS = {
    "seconds": "seconds",
    "peak_mb": "peak memory, MB",
    "second_pass_seconds": "seconds of the exact second pass",
    "state_mb": "kept, MB",
    "largest_bound": "largest proven error bound of any figure",
    "largest_error_seen": "largest difference to the exact figures",
}

Pair = tuple[NDArray[np.float32], NDArray[np.bool_]]


def screw_masks() -> tuple[list[NDArray[np.bool_]], str]:
    """The 160 masks, good images first, and where they come from."""
    root = os.environ.get("BLEMISH_DATA")
    folder = Path(root or ".") / "mvtec_ad" / "screw" / "ground_truth"
    paths = sorted(folder.glob("*/*.png"))
    blank = [np.zeros((SIDE, SIDE), bool)] * GOOD
    if root and len(paths) == TEST_SET - GOOD:
        size = (SIDE, SIDE)
        resized = [Image.open(p).convert("L").resize(size, Image.Resampling.NEAREST) for p in paths]
        return blank + [np.asarray(image) > 127 for image in resized], "mvtec_ad/screw"
    random = np.random.default_rng(0)
    masks = []
    for _ in range(TEST_SET - GOOD):
        mask = np.zeros((SIDE, SIDE), bool)
        height, width, top, left = random.integers((10, 10, 0, 0), (60, 60, 440, 440))
        mask[top : top + height, left : left + width] = True
        masks.append(mask)
    return blank + masks, "drawn: BLEMISH_DATA names no folder with the 119 screw masks"


def pairs(count: int, seed: int) -> Iterator[Pair]:
    """Maps and masks, one at a time; the same seed gives the same maps."""
    masks, _ = screw_masks()
    for number in range(count):
        random = np.random.default_rng([seed, number])
        mask = masks[number % TEST_SET]
        noise = random.standard_normal((SIDE, SIDE), dtype=np.float32)
        yield (8 * gaussian_filter(noise, 4) + 2 * mask).astype(np.float32), mask


def run_blemish(count: int, seed: int) -> dict[str, Any]:
    """One pass, then the second pass of the exact form, and how far the two are apart."""
    stream = PixelMetrics(pixel_threshold=1.0)
    seconds = 0.0
    for number, (values, mask) in enumerate(pairs(count, seed)):
        start = time.perf_counter()
        stream.add(values, mask, None, str(number))
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    figures = stream.figures()
    seconds += time.perf_counter() - start
    peak = peak_memory_mb()

    exact = ExactPixelMetrics(stream)
    exact_seconds = 0.0
    for number, (values, mask) in enumerate(pairs(count, seed)):
        start = time.perf_counter()
        exact.add(values, mask, None, str(number))
        exact_seconds += time.perf_counter() - start
    start = time.perf_counter()
    reference = exact.figures()
    exact_seconds += time.perf_counter() - start

    known = {name: figure for name, figure in figures.items() if figure.value is not None}
    errors = {name: abs(known[name].value - reference[name].value) for name in known}  # type: ignore[operator]
    state = sum(array.nbytes for array in stream.to_arrays().values())
    anomalous = sum(int(mask.sum()) for mask in screw_masks()[0]) * count // TEST_SET
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "second_pass_seconds": exact_seconds,
        "state_mb": state / 1e6,
        "state_of_anomalous_pixels_mb": anomalous * 8 / 1e6,
        "figures": {name: known[name].to_json() for name in list(known)[:11]},
        "largest_bound": max(figure.bound for figure in known.values()),
        "largest_error_seen": max(errors.values()),
    }


def run_peer(function: Callable[[list[Pair]], float], count: int, seed: int) -> dict[str, Any]:
    """A peer gets all maps at once, as its interface asks for."""
    held = list(pairs(count, seed))
    start = time.perf_counter()
    value = function(held)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak_memory_mb(), "value": value}


def scikit_learn_auroc(held: list[Pair]) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.concatenate([mask.ravel() for _, mask in held])
    return float(roc_auc_score(truth, np.concatenate([values.ravel() for values, _ in held])))


def torchmetrics_auroc(held: list[Pair]) -> float:
    import torch
    from torchmetrics.functional.classification import binary_auroc

    truth = torch.from_numpy(np.stack([mask for _, mask in held])).flatten().int()
    scores = torch.from_numpy(np.stack([values for values, _ in held])).flatten()
    return float(binary_auroc(scores.sigmoid(), truth))


def anomalib_aupro(held: list[Pair]) -> float:
    import torch
    from anomalib.metrics.aupro import _AUPRO

    metric = _AUPRO(fpr_limit=0.3)
    metric.update(
        torch.from_numpy(np.stack([values for values, _ in held])),
        torch.from_numpy(np.stack([mask for _, mask in held])).int(),
    )
    return float(metric.compute())


PEERS = {
    "anomalib_aupro": ("anomalib", anomalib_aupro),
    "torchmetrics_pixel_auroc": ("torchmetrics", torchmetrics_auroc),
    "scikit_learn_pixel_auroc": ("scikit-learn", scikit_learn_auroc),
}


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def load() -> float | None:
    """How many processes wanted to run in the last minute: above the cores, times are too long."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def in_own_process(case: str, count: int, seed: int) -> dict[str, Any]:
    """Run one case in a fresh process and read what it prints."""
    command = [sys.executable, __file__, "--case", case, "--images", str(count)]
    done = subprocess.run(
        [*command, "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"skipped": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Run all cases and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[TEST_SET])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        peer = PEERS.get(given.case)
        count = given.images[0]
        result = run_peer(peer[1], count, given.seed) if peer else run_blemish(count, given.seed)
        print(json.dumps(result))
        return

    busy = load()
    measured: dict[str, Any] = {}
    for count in given.images:
        measured[f"blemish_{count}"] = in_own_process("blemish", count, given.seed)
        print(f"blemish, {count} images:", summary(measured[f"blemish_{count}"]))
    for name, (package, _) in () if given.no_peers else PEERS.items():
        found = version(package) is not None
        skipped = {"skipped": f"{package} is not installed"}
        measured[name] = in_own_process(name, TEST_SET, given.seed) if found else skipped
        print(f"{name}, {TEST_SET} images:", summary(measured[name]))
    if given.out:
        write(measured, given.seed, busy, given.out)


def write(measured: dict[str, Any], seed: int, busy: float | None, folder: Path) -> None:
    """Write the results file: every number that was measured, as a figure."""
    figures = {}
    notes = [f"Load of the machine when it started: {busy}."]
    for case, result in measured.items():
        if "skipped" in result:
            notes.append(f"{case}: {result['skipped']}.")
        figures |= {
            f"{case}_{name}": {"value": value, "label": f"{case}: {LABELS[name]}"}
            for name, value in result.items()
            if name in LABELS and value is not None
        }
    Result(
        what="metrics_speed",
        command=" ".join(["python", "benchmarks/metrics_speed.py", *sys.argv[1:]]),
        seeds=(seed,),
        data={"name": screw_masks()[1].replace("/", "_"), "size": f"{SIDE} x {SIDE}"},
        figures=figures,
        notes=notes,
    ).write(folder)


def summary(result: dict[str, Any]) -> str:
    """One line of the numbers that a reader looks for."""
    if "skipped" in result:
        return f"skipped, {result['skipped']}"
    names = ("seconds", "peak_mb", "second_pass_seconds", "state_mb", "largest_bound")
    shown = [
        name for name in (*names, "largest_error_seen", "value") if result.get(name) is not None
    ]
    return ", ".join(f"{name} {result[name]:.3g}" for name in shown)


if __name__ == "__main__":
    main()
