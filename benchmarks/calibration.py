"""Measured false-alarm rates with few good parts: `python benchmarks/calibration.py few`.

Plates are drawn anew for every seed; PatchCore with filter_bank learns from 20, 40, 60 or 100 of
them, calibrates on a fifth or by cross calibration, and judges 200 further good ones.
"""

from dataclasses import replace

import numpy as np

from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.metrics.intervals import wilson
from blemish.pipeline import Pipeline
from common import main

SEEDS = range(110, 120)
COUNTS = (20, 40, 60, 100)
TESTED = 200
RATES = (0.05, 0.10)
OPTIONS = {"image_size": "48x240", "blur": "1"}


def scores(pipeline: Pipeline, data):
    images = [(record.key, data.image(record)) for record in data]
    return np.array([found.score for found in pipeline.analyse(images, lambda i: i)])


def few():
    flagged, promised = {}, {}
    for seed in SEEDS:
        everything = open_dataset("battery_plate", seed=seed, good=max(COUNTS) + TESTED)
        records = [replace(r, split="train") for r in everything if not r.defective]
        unseen = replace(everything, records=tuple(records[-TESTED:]))
        for count in COUNTS:
            known = replace(everything, records=tuple(records[:count]))
            for way in ("split", "cross"):
                detector = Detector("patchcore", calibration=way, **OPTIONS).fit(known)
                found = scores(detector.pipeline, unseen)
                for rate in RATES:
                    above = int((found > detector.calibration.threshold(rate)).sum())
                    flagged.setdefault((count, way, rate), []).append(above)
                    promised[count, way, rate] = max(rate, detector.calibration.smallest_rate())
        print(seed, {k: v[-1] for k, v in flagged.items()}, flush=True)
    return Result(
        what="few_parts",
        method="patchcore",
        options=OPTIONS,
        command="python benchmarks/calibration.py few",
        seeds=tuple(SEEDS),
        data={"name": "battery_plate"},
        figures={
            f"{count}_{way}_{rate:.2f}": figure(found, count, way, rate, promised[count, way, rate])
            for (count, way, rate), found in flagged.items()
        },
        notes=[
            f"{TESTED} good plates per seed that nothing was learned from; the deviation is that "
            "between seeds: one detector's own rate.",
            "A target above the rate that was asked for is the smallest rate that so few "
            "calibration parts can promise, 1 / (n + 1).",
        ],
    )


def figure(found, count, way, rate, promised):
    tested = TESTED * len(found)
    low, high = wilson(sum(found), tested)
    return {
        "value": sum(found) / tested,
        "label": f"{count} good parts, {way}: measured rate at {rate:.0%} asked",
        "low": low,
        "high": high,
        "deviation": float(np.std([f / TESTED for f in found], ddof=1)),
        "values": [f / TESTED for f in found],
        "target": f"at most {promised:.3f}",
    }


if __name__ == "__main__":
    main(globals())
