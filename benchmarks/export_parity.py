"""Do exported files give the same answers? `python benchmarks/export_parity.py NAME`.

Names: screw_CASE (all 160 test images) and tile_CASE (200 test images of magnetic_tile, evenly
spread) with the cases filter_bank, patch, mobilenet and vae; and cost, what smaller numbers do to
accuracy on drawn plates. Real data come from $BLEMISH_DATA, weights from $BLEMISH_WEIGHTS.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.exporting.export import export_onnx
from blemish.exporting.parity import TOLERANCES, compare
from common import main, mobilenet, published

# Small sizes and presets: parity does not ask for accuracy.
CASES = {
    "filter_bank": ("patchcore", None, {"image_size": "128", "memory_mb": 50}),
    "patch": ("patchcore", None, {"image_size": "128", "memory_mb": 50, "score": "patch"}),
    "mobilenet": ("patchcore", None, {}),
    "vae": ("vae", "tiny", {"epochs": 1, "image_size": "64", "fit": "stretch"}),
}
FIGURES = {
    "map": "largest map difference, share of the range of the maps",
    "score": "largest score difference, share of the range of the scores",
    "ranks": "largest p-value difference, ranks",
    "flipped": "flipped decisions",
    "near": "decisions that differ within tolerance of the threshold",
    "mask": "largest share of the pixels of an image whose mask differs",
}


def parity(where, category, count, case):
    data = open_dataset(where, category=category)
    test = data.select("test").records
    count = min(count, len(test))
    test = [test[i * len(test) // count] for i in range(count)]
    method, preset, options = CASES[case]
    options = mobilenet() if case == "mobilenet" else options
    started = time.perf_counter()
    detector = Detector(method, preset, **options).fit(data)
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(detector, Path(folder) / "part.onnx").path
        exported = Detector.load(path)
    images = (data.image(r) for r in test)
    result = compare(detector, exported, images, TOLERANCES["fp32"])
    return Result(
        what=f"parity_{case}",
        method=method,
        options=published(options),
        command=f"python benchmarks/export_parity.py {category or 'tile'}_{case}",
        seeds=(0,),
        data={"name": data.name, "fingerprint": f"{count} test images"},
        figures={
            key: {"value": float(getattr(result, key)), "label": label}
            for key, label in FIGURES.items()
        },
        seconds={"all": time.perf_counter() - started},
        notes=(
            "Each image is judged by the detector, by the exported file, and by it in a batch.",
            "Allowed: a map difference of 1e-4 of the range, no flipped decision.",
        ),
    )


def cost():
    """Image and pixel AUROC, false alarms and misses of each precision, one seed."""
    data = open_dataset("battery_plate", seed=100)
    cases = {
        "filter_bank": {},
        "mobilenetv1_100": {**mobilenet(), "coreset": "0.005"},
    }
    found = {}
    for name, options in cases.items():
        detector = Detector("patchcore", **options).fit(data)
        for precision in ("torch", *TOLERANCES) if "net" in name else ("numpy", "fp32", "fp16"):
            with tempfile.TemporaryDirectory() as folder:
                judge, size = detector, None
                if precision in TOLERANCES:
                    path = Path(folder) / "part.onnx"
                    train = data.select("train")
                    done = export_onnx(
                        detector,
                        path,
                        data=train,
                        precision=precision,
                        tolerance=None if precision == "fp32" else 1.0,
                    )
                    judge, size = Detector.load(path), path.stat().st_size / 1e6
                    label = f"{name}, {precision}: largest map difference, share of the range"
                    found[f"{name} {precision} map"] = {"value": done.parity.map, "label": label}
            figures = evaluate(judge, data).figures
            for key in ("image_auroc", "pixel_auroc", "false_alarm_rate", "miss_rate"):
                label = f"{name}, {precision}: {figures[key].label}"
                found[f"{name} {precision} {key}"] = {"value": figures[key].value, "label": label}
            if size is not None:
                label = f"{name}, {precision}: file, MB"
                found[f"{name} {precision} size"] = {"value": size, "label": label}
            print(name, precision, flush=True)
    return Result(
        what="export_cost",
        method="patchcore",
        command="python benchmarks/export_parity.py cost",
        seeds=(100,),
        data={"name": "battery_plate", "fingerprint": "seed 100"},
        figures=found,
        notes=("Thresholds are those of the fitted detector: nothing is calibrated again.",),
    )


TARGETS = {"cost": cost}
for name in CASES:
    TARGETS[f"screw_{name}"] = partial(parity, "mvtec_ad", "screw", 160, name)
    TARGETS[f"tile_{name}"] = partial(parity, "magnetic_tile", None, 200, name)

if __name__ == "__main__":
    main(TARGETS)
