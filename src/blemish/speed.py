"""How fast every method is on this machine, in every way it can run.

Each cell of the table is measured in a process of its own, so that its peak memory is its own: one
thread, random 256 × 256 images in memory, image in, decision out. Detectors are fitted on a few
drawn plates: speed does not ask for accuracy.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from blemish import options, registry
from blemish.benchmark import Result, peak_memory_mb
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.errors import BlemishError, MissingExtraError
from blemish.exporting.export import export_onnx
from blemish.run import Progress, silent

SIDE = 256
BATCHES = (1, 8)
SECONDS = 3.0  # per cell and batch size, at most
PATIENCE = 10.0  # times that, for the fewest repetitions of what is very slow
FEWEST, MOST = 5, 50  # repetitions
ENGINES = ("python fp32", "python bf16", "onnxruntime fp32", "onnxruntime int8")
SHORT = {"epochs": 1, "finetune_epochs": 1, "train_batch": 4}
NETWORK = {"backbone": "resnet18", "weights": "random", "strides": "8,16"}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        method: Registered name.
        label: What the row is called.
        options: Options of the method.
    """

    method: str
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)


def cases(methods: Iterable[str] = ()) -> list[Case]:
    """Every method that learns, or those named, with default options; PatchCore on a network too.

    Methods whose extra is not installed are left out. Networks get random weights.
    """
    found = []
    for name in methods or registry.names("methods"):
        try:
            method = registry.get("methods", name)
        except MissingExtraError:
            continue
        if name == "onnx_model" or not method.presets:
            continue
        known = options.names(method.Options)
        # One pass over the images is enough for weights of the right shape.
        short: dict[str, Any] = {k: v for k, v in SHORT.items() if k in known}
        if "weights" in known and getattr(method.Options(), "backbone", "") != "filter_bank":
            short["weights"] = "random"
        found.append(Case(name, name, short))
        if name == "patchcore":
            found.append(Case(name, "patchcore on resnet18", NETWORK))
    return found


def measure_case(case: Case, folder: Path, progress: Progress = silent) -> Result:
    """Fit, export, and measure every way to run one case; `folder` holds the model files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks = registry.get("methods", case.method).supervision == "masks"
        data = open_dataset("battery_plate", good=20, defective=8, few_defects=int(masks))
        sized = {"image_size": str(SIDE), "fit": "stretch", **case.options}
        detector = Detector(case.method, **sized).fit(data)
    files = {"python fp32": detector.save(folder / "part.blemish")}
    notes = [f"{case.label}: one thread, {SIDE} × {SIDE} px, image in memory, decision out."]
    if _uses_torch(detector):
        files["python bf16"] = files["python fp32"]
    for precision in ("fp32", "int8"):
        path, tolerance = folder / f"{precision}.onnx", None if precision == "fp32" else 1.0
        try:
            export_onnx(detector, path, precision=precision, tolerance=tolerance)
        except BlemishError as error:
            notes.append(f"{precision} was not exported: {str(error).splitlines()[0]}")
            continue
        files[f"onnxruntime {precision}"] = path
    figures: dict[str, dict[str, Any]] = {}
    for done, (engine, path) in enumerate(files.items(), start=1):
        try:
            measured = _in_own_process(path, engine == "python bf16")
        except BlemishError as error:
            notes.append(f"{engine} was not measured: {error}")
            continue
        for name, value in measured.items():
            figures[f"{engine} {name}"] = {"value": value, "label": f"{engine}: {name}"}
        progress(case.label, done, len(files))
    return Result(
        what="speed",
        method=case.method,
        options=dict(case.options),
        command=f"blemish benchmark --speed --method {case.method}",
        data={"name": case.label.replace(" ", "_"), "fingerprint": "random pixels"},
        figures=figures,
        notes=notes,
    )


def measure_speed(folder: Path, methods: Iterable[str] = (), progress: Progress = silent) -> str:
    """Measure every case, write one results file each into `folder`, and give the table."""
    results = []
    for case in cases(methods):
        with tempfile.TemporaryDirectory() as files:
            results.append(measure_case(case, Path(files), progress))
        results[-1].write(folder)
    return table(results)


def table(results: Iterable[Result]) -> str:
    """Markdown: one line per case and engine."""
    lines = [
        "| method | runs in | p50, ms | p99, ms | images/s (batch 8) | peak MB | file, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for engine in ENGINES:
            found = {
                name.removeprefix(f"{engine} "): figure["value"]
                for name, figure in result.figures.items()
                if name.startswith(engine)
            }
            if found:
                cells = [
                    f"{found['p50 batch 1, ms']:.1f}",
                    f"{found['p99 batch 1, ms']:.1f}",
                    f"{found['images/s batch 8']:.1f}",
                    f"{found['peak memory, MB'] or 0:.0f}",
                    f"{found['file, MB']:.1f}",
                ]
                row = [str(result.data["name"]).replace("_", " "), engine, *cells]
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def measure_file(
    path: Path, half: bool = False, seconds: float | None = None
) -> dict[str, float | None]:
    """Latency, throughput, memory and size of one model file, in this process, one thread.

    Args:
        path: A model file or an exported file.
        half: Compute with torch in bfloat16.
        seconds: At most, per batch size; None = `SECONDS`.
    """
    seconds = SECONDS if seconds is None else seconds
    started = time.perf_counter()
    detector = Detector.load(path)
    method = detector.pipeline.method
    if path.suffix == ".onnx":
        method.options = replace(method.options, threads=1)
        method.restore(*method.state())
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), SIDE, SIDE, 3), np.uint8)
    found: dict[str, float | None] = {}
    with _bfloat16() if half else contextlib.nullcontext():
        detector.predict(images[0])
        found["load and first image, s"] = time.perf_counter() - started
        for batch in BATCHES:
            times = _repeat(detector, list(images[:batch]), seconds)
            found[f"p50 batch {batch}, ms"] = float(np.percentile(times, 50)) * 1e3
            found[f"p99 batch {batch}, ms"] = float(np.percentile(times, 99)) * 1e3
            found[f"images/s batch {batch}"] = batch / float(np.percentile(times, 50))
    found["peak memory, MB"] = peak_memory_mb()
    found["file, MB"] = path.stat().st_size / 1e6
    return found


def _repeat(detector: Detector, images: list[Any], seconds: float) -> list[float]:
    times: list[float] = []
    while len(times) < MOST:
        spent = sum(times)
        fewest = FEWEST if spent <= PATIENCE * seconds else 1
        if spent >= seconds and len(times) >= fewest:
            break
        started = time.perf_counter()
        detector.predict(images)
        times.append(time.perf_counter() - started)
    return times


def _uses_torch(detector: Detector) -> bool:
    return "torch" in sys.modules and getattr(detector.options, "backbone", "") != "filter_bank"


def _bfloat16() -> Any:
    import torch  # the extra [train]

    return torch.autocast("cpu", dtype=torch.bfloat16)


def _in_own_process(path: Path, half: bool) -> dict[str, float | None]:
    code = (
        "import json, sys; from pathlib import Path; from blemish.speed import measure_file; "
        "path, how, seconds = sys.argv[1:]; "
        "print(json.dumps(measure_file(Path(path), how == 'half', float(seconds))))"
    )
    how = [str(path), "half" if half else "single", str(SECONDS)]
    words = [sys.executable, "-W", "ignore", "-c", code, *how]
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    search = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    # What is measured is the processor, also where there is a GPU.
    environment = {**os.environ, **one, "PYTHONPATH": search, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise BlemishError(f"{path.name} could not be measured: {' '.join(last)}")
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found
