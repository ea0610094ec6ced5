"""ADTR and ADTR+ on real images: `python benchmarks/adtr.py TARGET`, one file each.

Targets: screw, magnetic_tile (every arm at one equal budget), paper (the paper's schedule, once, on
screw), unseen (ADTR+ on types of defect that it never saw). Arms that a results file already has
are not run again. Figures of ADTR+ stand apart: it has seen defects.
"""

import json
from dataclasses import replace

from blemish.benchmark import Result, pool_seeds
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from common import RESULTS, main, mobilenet, published

SETS = {"screw": ("mvtec_ad", "screw"), "magnetic_tile": ("magnetic_tile", None)}
EPOCHS = {"screw": 40, "magnetic_tile": 15}
PLUS_EPOCHS = {"screw": 20, "magnetic_tile": 8}
DRAWS = (0, 1, 2)
FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.30", "false_alarm_rate", "miss_rate")
# Name: method, options, marked defects per type.
ARMS = {
    "adtr": ("adtr", {}, 0),
    "adtr no query": ("adtr", {"reconstructor": "no_query"}, 0),
    "adtr no attention": ("adtr", {"reconstructor": "no_attention"}, 0),
    "adtr cnn": ("adtr", {"reconstructor": "cnn"}, 0),
    "adtr+ confetti": ("adtr_plus", {}, 0),
    "adtr+ 1 mask": ("adtr_plus", {}, 1),
    "adtr+ 3 masks": ("adtr_plus", {}, 3),
    "adtr+ 5 masks": ("adtr_plus", {}, 5),
    "adtr+ 3 labels": ("adtr_plus", {"labels": "images"}, 3),
}


def options_of(name, method, own):
    epochs = EPOCHS if method == "adtr" else PLUS_EPOCHS
    base = {key: value for key, value in mobilenet().items() if key != "coreset"}
    return {**base, "strides": "2,4,8,16", "epochs": epochs[name], **own}


def screw():
    return accuracy("screw", ARMS)


def magnetic_tile():
    return accuracy("magnetic_tile", {name: ARMS[name] for name in ("adtr", "adtr+ 3 masks")})


def paper():
    return accuracy("screw", {"adtr": ("adtr", {"epochs": 500}, 0)}, "paper")


def unseen():
    types = {r.defect_type for r in open_dataset("mvtec_ad", category="screw")}
    held = sorted(types - {"good"})
    arms = {f"adtr+ never saw {kind}": ("adtr_plus", {"unseen": kind}, 3) for kind in held}
    return accuracy("screw", arms, "unseen")


def accuracy(name, arms, what=None):
    """Run every arm that the file does not have yet; the file is written after each."""
    where, category = SETS[name]
    what = what or name
    path = RESULTS / f"{what}-adtr-{where}{'_' + category if category else ''}.json"
    figures = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}
    for arm, (method, own, per_type) in arms.items():
        if f"{arm}: image_auroc" in figures:
            continue
        options = options_of(name, method, {k: v for k, v in own.items() if k != "unseen"})
        runs = [
            run(method, options, name, per_type, draw, own.get("unseen"))
            for draw in (DRAWS if per_type else (0,))
        ]
        for key, figure in pool_seeds(runs).items():
            figures[f"{arm}: {key}"] = {**figure, "label": f"{figure['label']}, {arm}"}
        print(arm, {k: figures[f"{arm}: {k}"]["value"] for k in FIGURES}, flush=True)
        result = Result(
            what=what,
            method="adtr",
            options=published(options_of(name, "adtr", {})),
            command=f"python benchmarks/adtr.py {what}",
            seeds=(0,),
            data={"name": f"{where}/{category}" if category else where},
            figures=figures,
            notes=[
                "MobileNet v1 instead of EfficientNet-B4; one budget for all arms of a kind; draws "
                f"of marked defects: {DRAWS}."
            ],
        )
        result.write(RESULTS)
    return result


def run(method, options, name, per_type, draw, unseen_type):
    where, category = SETS[name]
    few = {"few_defects": per_type, "draw": draw} if per_type else {}
    few |= {"unseen": unseen_type} if unseen_type else {}
    data = open_dataset(where, category=category, **few)
    start = None
    if method == "adtr_plus":
        good = tuple(r for r in data if r.split == "train" and not r.defective)
        start = Detector("adtr", **options_of(name, "adtr", {}))
        start.fit(replace(data, records=good))
    detector = Detector(method, **options).fit(data, init=start)
    figures = evaluate(detector, data).figures
    return {key: figures[key] for key in FIGURES}


if __name__ == "__main__":
    main(globals())
