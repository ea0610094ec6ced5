"""ADTR and ADTR+ on real images: `python benchmarks/adtr.py ARM[:DRAW] [ARM[:DRAW]…]`.

One results file per arm, and per draw of marked defects where there are some. One budget for all
arms of a kind, set before any of them was run; only `screw_paper` has the published schedule. Arms
of ADTR+ go on from the ADTR of their data set, which is fitted once. Figures of ADTR+
stand apart: it has seen defects. `list` prints all arms, `table` writes docs/methods/adtr.md.

Studies on drawn images and CIFAR-10: benchmarks/adtr_studies.py; times: benchmarks/adtr_speed.py.
"""

import time
from dataclasses import dataclass, field, replace
from functools import cache

from blemish import Run
from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.nets.feature_transformer import RECONSTRUCTORS
from common import (
    FEATURES_MB,
    RESULTS,
    SCREW_TYPES,
    SETS,
    ByType,
    cell,
    fill,
    markdown,
    mobilenet,
    published,
    remembering,
    results_of,
    run_draws,
)

EPOCHS = {"screw": 60, "tile": 25, "small": 20}
PLATE_TYPES = ("dent", "missing", "scratch", "stain")
SOURCES = {**SETS, "plate": ("battery_plate", None)}
PLUS_EPOCHS = {"screw": 25, "tile": 12, "small": 6}
FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.30", "false_alarm_rate", "miss_rate")
HEADER = ("image AUROC", "average precision", "pixel AUROC", "AUPRO", "false alarms", "misses")


@dataclass(frozen=True)
class Arm:
    """One row of a table."""

    words: str
    data: str = "screw"
    options: dict = field(default_factory=dict)
    plus: bool = False
    per_type: int = 0  # marked defects of each type that it learns from
    draws: tuple = (0,)
    unseen: tuple = ()
    start: tuple = ()  # options of the ADTR that ADTR+ goes on from, where they are other ones
    preset: str | None = None


DRAWS = (0, 1, 2)
SMOKE = (("epochs", 1), ("image_size", "64"))


def plus(words, per_type, data="screw", draws=DRAWS, unseen=(), **options):
    return Arm(words, data, options, True, per_type, draws, unseen)


ARMS = {
    "screw": Arm("ADTR"),
    **{
        f"screw_{kind}": Arm(words, options={"reconstructor": kind})
        for kind, words in (
            ("no_query", "ADTR without query"),
            ("no_attention", "ADTR without attention"),
            ("cnn", "convolutions"),
        )
    },
    "screw_paper": Arm("ADTR, the paper's 500 epochs", options={"epochs": 500}),
    "screw_plus_confetti": plus("ADTR+, confetti", 0, draws=(0,)),
    **{f"screw_plus_{k}": plus(f"ADTR+, {k} masks per type", k) for k in (1, 3, 5)},
    "screw_plus_labels": plus("ADTR+, 3 labelled images per type", 3, labels="images"),
    **{
        f"screw_unseen_{kind}": plus(f"ADTR+ without {kind}", 3, draws=(0,), unseen=(kind,))
        for kind in SCREW_TYPES
    },
    "tile": Arm("ADTR", "tile"),
    "tile_plus_3": plus("ADTR+, 3 masks per type", 3, "tile"),
    "tile_plus_confetti": plus("ADTR+, confetti", 0, "tile", draws=(0,)),
}
# What two cores without bfloat16 units can carry: the same features, the network and the schedule
# of the preset `small`.
ARMS |= {
    name.replace("screw", "small", 1): replace(arm, preset="small", draws=arm.draws[:1])
    for name, arm in ARMS.items()
    if name.startswith("screw") and name != "screw_paper"
}
# Parts that all lie alike: the same once more on drawn plates.
PLATES = {"image_size": "auto:256"}  # a plate is five times as long as wide
ARMS |= {
    name.replace("screw", "plate", 1): replace(
        ARMS[name],
        data="plate",
        preset="small",
        options={**ARMS[name].options, **PLATES},
        start=tuple(PLATES.items()),
        draws=(0,),
    )
    for name in (
        *("screw", "screw_no_query", "screw_no_attention", "screw_cnn"),
        *("screw_plus_confetti", "screw_plus_3"),
    )
}
ARMS |= {
    f"plate_unseen_{kind}": replace(ARMS["plate_plus_3"], unseen=(kind,)) for kind in PLATE_TYPES
}
# Not in any table: do they run?
ARMS |= {
    "smoke": Arm("smoke", options=dict(SMOKE)),
    "smoke_plus": replace(plus("smoke", 1, draws=(0,), **dict(SMOKE)), start=SMOKE),
}


def options_of(arm):
    epochs = PLUS_EPOCHS if arm.plus else EPOCHS
    base = {**mobilenet(), "strides": "2,4,8,16"}
    base.pop("coreset", None)
    return {
        **base,
        "epochs": epochs[arm.preset or arm.data],
        "cache_mb": 4000,
        **arm.options,
        "calibration": "split",
    }


def given(folder):
    return Run(feature_cache=folder, feature_cache_mb=FEATURES_MB, say=print)


@cache
def start_of(name, preset, options, folder):
    """The ADTR that ADTR+ goes on from; the good training images are the same in every draw."""
    chosen = options_of(Arm("start", name, dict(options), preset=preset))
    kept = folder.with_name(f"{folder.name}-{name}-{preset}-{chosen['epochs']}.blemish")
    if kept.exists():  # runs that share features share it too
        return Detector.load(kept)
    where, category = SOURCES[name]
    data = open_dataset(where, category=category)
    good = replace(data, records=data.select("train", defective=False).records)
    detector = Detector("adtr", preset, **chosen).fit(good, given(folder))
    detector.save(kept)
    return detector


def run(name, draw, folder):
    arm = ARMS[name]
    where, category = SOURCES[arm.data]
    few = {"few_defects": arm.per_type, "draw": draw, "unseen": arm.unseen} if arm.per_type else {}
    data = open_dataset(where, category=category, **few)
    start = start_of(arm.data, arm.preset, arm.start, folder) if arm.plus else None
    started = time.perf_counter()
    method = "adtr_plus" if arm.plus else "adtr"
    detector = Detector(method, arm.preset, **options_of(arm)).fit(data, given(folder), start)
    fitted, by_type = time.perf_counter(), ByType(data)
    with remembering(detector, folder):
        found = evaluate(detector, data, on_prediction=by_type)
    figures = {key: found.figures[key].to_json() for key in FIGURES}
    notes = ["MobileNet v1 instead of EfficientNet-B4."]
    if arm.plus:
        notes += [
            f"Goes on from the arm `{name.partition('_')[0]}`; {arm.per_type} marked defects per "
            "type."
        ]
        notes += ["Supervised: never to be ranked beside methods that saw no defect."]
    result = Result(
        what=f"{name}_draw{draw}" if arm.per_type else name,
        method=method,
        options=published(options_of(arm)) | ({"preset": arm.preset} if arm.preset else {}),
        command=f"python benchmarks/adtr.py {name}:{draw}",
        seeds=(0,),
        data={
            "name": "/".join(filter(None, SOURCES[arm.data])),
            "fingerprint": found.data["test_fingerprint"],
        },
        figures=figures | by_type.figures(found.images),
        seconds={
            "fit": fitted - started,
            "evaluate": time.perf_counter() - fitted,
            "per_image": found.seconds["predict_per_image"],
        },
        notes=[*notes, *(f"No {kind} was seen in training." for kind in arm.unseen)],
    )
    result.write(RESULTS)
    said = {k: round(figures[k]["value"], 3) for k in FIGURES}
    print(result.what, said, {k: round(v, 2) for k, v in result.seconds.items()}, flush=True)


def results(name):
    return results_of(name, "adtr_plus" if ARMS[name].plus else "adtr")


def row(name):
    found = results(name)
    arm = ARMS[name]
    return [arm.words, f"`{name}`", len(found) or "", *(cell(found, key) for key in FIGURES)]


def unseen_row(study, kind):
    seen = [r for r in results(f"{study}_plus_3") if r["command"].endswith(":0")]
    columns = (results(study), results(f"{study}_unseen_{kind}"), seen)
    keys = (f"image_auroc_{kind}", f"x_auc_{kind}")
    return [kind, *(cell(found, key) for key in keys for found in columns)]


def identity_table():
    found, kinds = results_of("identity", "adtr"), ("stripes", "checks", "specks")
    rows = [
        [
            kind,
            cell(found, f"{kind}_plates"),
            *(
                f"{cell(found, f'{kind}_{t}')} ({cell(found, f'{kind}_{t}_ratio', 1)})"
                for t in kinds
            ),
        ]
        for kind in RECONSTRUCTORS
    ]
    return markdown(("reconstructor", "plates", *kinds), rows)


SPEED = {
    "operations": "10^9 operations",
    "step": "bare step, s",
    "fused": "with `attention_dropout=0`, s",
    "share": "share of the rate of a matrix product",
    "kept": "step in training, s",
    "recomputed": "with features computed again, s",
    "speed_up": "times faster",
    "limit": "limit",
    "reached": "reached",
}


def speed_table():
    rows = [
        [where, name, *(cell(found, f"{key}_{name}", 3) for key in SPEED)]
        for where, found in (
            ("CPU", results_of("step", "adtr")),
            ("GPU", results_of("step_gpu", "adtr")),
        )
        for name in ("mobilenetv1_100", "efficientnet_b4")
    ]
    return markdown(("", "backbone", *SPEED.values()), rows)


def table():
    arms = [name for name in ARMS if "unseen" not in name]
    tables = {
        study: markdown(
            ("", "arm", "draws", *HEADER), (row(name) for name in arms if name.startswith(study))
        )
        for study in (*SOURCES, "small")
    }
    sides = ("ADTR", "ADTR+, type unseen", "ADTR+, type seen")
    header = [f"{what}, {side}" for what in ("image AUROC", "X-AUC") for side in sides]
    for study, name, kinds in (
        ("screw", "unseen", SCREW_TYPES),
        ("small", "unseen_small", SCREW_TYPES),
        ("plate", "unseen_plate", PLATE_TYPES),
    ):
        rows = (unseen_row(study, kind) for kind in kinds)
        tables[name] = markdown(("type", *header), rows)
    tables |= {"identity": identity_table(), "speed": speed_table()}
    fill("adtr.md", tables)


if __name__ == "__main__":
    run_draws(ARMS, run, table)
