"""Do exported files give the same answers? `python benchmarks/export_parity.py NAME`.

Names: screw_CASE (all 160 test images) and tile_CASE (200 test images of magnetic_tile, evenly
spread), where CASE is one of CASES; cost and cost_screw, what smaller numbers do to accuracy on
drawn plates and on screws; table, which writes the tables of docs/model-file.md. Real data come
from $BLEMISH_DATA, weights from $BLEMISH_WEIGHTS. With BLEMISH_SMOKE set, few images are judged
and results go to a temporary folder.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import common
from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.exporting.export import export_onnx
from blemish.exporting.parity import TOLERANCES, compare
from common import RESULTS, fill, main, markdown, mobilenet, published, results_of

SMOKE = bool(os.environ.get("BLEMISH_SMOKE"))
SHORT = {"image_size": "128", "epochs": 2}
# Small sizes and presets, few epochs: parity does not ask for accuracy.
CASES = {
    "filter_bank": ("patchcore", None, {"image_size": "128", "memory_mb": 50}),
    "patch": ("patchcore", None, {"image_size": "128", "memory_mb": 50, "score": "patch"}),
    "mobilenet": ("patchcore", None, {}),
    "l2bt": ("l2bt", "small", SHORT),
    "adtr": ("adtr", "small", SHORT),
    "adtr_plus": ("adtr_plus", "small", {**SHORT, "per_image": 1}),
    "vae": ("vae", "small", SHORT),
    "ganomaly": ("ganomaly", "small", SHORT),
    "advae": ("advae", "small", SHORT),
    "masked_autoencoder": ("masked_autoencoder", "tiny", {"image_size": "96"}),
}
FIGURES = {
    "map": "largest map difference, share of the range of the maps",
    "score": "largest score difference, share of the range of the scores",
    "ranks": "largest p-value difference, ranks",
    "flipped": "flipped decisions",
    "near": "decisions that differ within tolerance of the threshold",
    "mask": "largest share of the pixels of an image whose mask differs",
}


def few(data):
    return replace(data, records=data.records[::20]) if SMOKE else data


def parity(where, category, count, case):
    data = few(open_dataset(where, category=category))
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


def cost(what, where, cases, **settings):
    """Image and pixel AUROC, false alarms and misses of each precision."""
    data = few(open_dataset(where, **settings))
    found = {}
    for name, options in cases.items():
        detector = Detector("patchcore", **options()).fit(data)
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
        command=f"python benchmarks/export_parity.py {what}",
        seeds=(settings.get("seed", 0),),
        data={"name": data.name, "fingerprint": f"{len(data.select('test'))} test images"},
        figures=found,
        notes=("Thresholds are those of the fitted detector: nothing is calibrated again.",),
    )


def plates():
    cases = {"filter_bank": dict, "mobilenetv1_100": lambda: {**mobilenet(), "coreset": "0.005"}}
    return cost("cost", "battery_plate", cases, seed=100)


def screws():
    return cost("cost_screw", "mvtec_ad", {"mobilenetv1_100": mobilenet}, category="screw")


# ---------------------------------------------------------------------- tables


def parity_table():
    head = ["data", "case", "images", "map", "score", "flipped", "near", "mask"]
    lines = []
    for name in CASES:
        for data, short in (("mvtec_ad_screw", "screw"), ("magnetic_tile", "tile")):
            path = RESULTS / f"parity_{name}-{CASES[name][0]}-{data}.json"
            if not path.exists():
                lines.append([short, name, *["–"] * 5, f"`{short}_{name}`"])
                continue
            found = json.loads(path.read_text("utf-8"))
            values = {key: found["figures"][key]["value"] for key in FIGURES}
            shares = [f"{values[key]:.1e}" for key in ("map", "score")]
            count = found["data"]["fingerprint"].split()[0]
            rest = [f"{values['flipped']:.0f}", f"{values['near']:.0f}", f"{values['mask']:.1%}"]
            lines.append([short, name, count, *shares, *rest])
    return markdown(head, lines)


def cost_table():
    kept = ("image_auroc", "pixel_auroc", "false_alarm_rate", "miss_rate")
    head = [
        "data",
        "backbone",
        "precision",
        *(k.replace("_", " ") for k in kept),
        "map",
        "file, MB",
    ]
    lines = []
    for result in results_of("export_cost", "patchcore"):
        figures = result["figures"]
        for name in dict.fromkeys(key.rsplit(" ", 2)[0] for key in figures):
            for precision in ("numpy", "torch", *TOLERANCES):
                if f"{name} {precision} image_auroc" not in figures:
                    continue
                cells = [figures[f"{name} {precision} {key}"]["value"] for key in kept]
                map_, size = (figures.get(f"{name} {precision} {k}") for k in ("map", "size"))
                row = [result["data"]["name"], name, precision, *(f"{c:.3f}" for c in cells)]
                row.append(f"{map_['value']:.1e}" if map_ else "")
                lines.append([*row, f"{size['value']:.1f}" if size else ""])
    return markdown(head, lines)


TARGETS = {"cost": plates, "cost_screw": screws}
for name in CASES:
    TARGETS[f"screw_{name}"] = partial(parity, "mvtec_ad", "screw", 160, name)
    TARGETS[f"tile_{name}"] = partial(parity, "magnetic_tile", None, 200, name)

if __name__ == "__main__":
    if SMOKE:
        common.RESULTS = Path(tempfile.mkdtemp())
    if sys.argv[1:] == ["table"]:
        fill("../model-file.md", {"parity": parity_table(), "cost": cost_table()})
    else:
        main(TARGETS)
