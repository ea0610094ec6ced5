"""Images of 20,000 × 20,000 pixels by tiles: `python benchmarks/large_image.py large`.

A drawn web with a print that repeats; the defective one has three marks of 60 pixels.
"""

import time

import numpy as np

from blemish.benchmark import Result, peak_memory_mb
from blemish.datasets.base import DataSet, Record
from blemish.detector import Detector
from common import main

SIDE, PRINT = 20_000, 1_000
MARKS = ((3_000, 4_000), (9_990, 15_000), (18_500, 700))
OPTIONS = {
    "image_size": str(SIDE),
    "tile": "1024",
    "overlap": "0.1",
    "batch_size": "2",
    "max_pixels": str(SIDE**2),
    "calibration": "split",
    "calibration_share": "0.5",
    "false_alarms": "0.5",
    "strides": "16",
    "memory_mb": "200",
    "bank_mb": "4",
}


def web(seed, marks=()):
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:PRINT, :PRINT]
    pattern = 120 + 50 * np.sin(rows * 2 * np.pi / 50) * np.cos(columns * 2 * np.pi / 40)
    noisy = pattern[:, :, None] + generator.normal(0, 6, (PRINT, PRINT, 3))
    image = np.tile(noisy.clip(0, 255).astype(np.uint8), (SIDE // PRINT, SIDE // PRINT, 1))
    for row, column in marks:
        image[row : row + 60, column : column + 60] = 20
    return image


def large():
    records = [
        Record(f"good/{seed}", lambda s=seed: web(s), False, "good", str(seed), "train")
        for seed in range(2)
    ]
    started = time.perf_counter()
    detector = Detector("patchcore", **OPTIONS).fit(DataSet("web", tuple(records)))
    fitted, fit_peak = time.perf_counter(), peak_memory_mb()
    image = web(7, MARKS)
    started_to_predict = time.perf_counter()
    found = detector.predict(image)
    seconds = time.perf_counter() - started_to_predict
    boxes = [region.box for region in found.regions[: len(MARKS)]]
    hit = sum(any(x0 <= c + 30 <= x1 and y0 <= r + 30 <= y1 for x0, y0, x1, y1 in boxes)
              for r, c in MARKS)  # fmt: skip
    pixels = SIDE * SIDE / 1e6
    return Result(
        what="large",
        method="patchcore",
        options=OPTIONS,
        command="python benchmarks/large_image.py large",
        seeds=(0,),
        data={"name": "web_20000"},
        seconds={"fit": fitted - started, "predict": seconds},
        figures={
            "marks_found": {"value": hit, "label": f"Marks among the {len(MARKS)} first regions"},
            "fit_peak_mb": {"value": fit_peak, "label": "Peak memory of fitting, MB (10^6 bytes)"},
            "peak_mb": {"value": peak_memory_mb(), "label": "Peak memory with predicting, MB"},
            "image_mb": {"value": 3 * pixels, "label": "The decoded image alone, MB"},
            "map_mb": {"value": 4 * pixels, "label": "Its map alone, MB"},
        },
        notes=["Two good images: one learned from, one calibrated on. Drawing included in fit."],
    )


if __name__ == "__main__":
    main(globals())
