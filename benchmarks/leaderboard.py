"""Every method on every public data set that is at hand: one results file per pair.

``python benchmarks/leaderboard.py METHOD DATA`` measures one pair, ``commands`` lists all commands,
``full VISA|BTAD|MVTEC`` lists those of all categories of a set. docs/results.md is written from the
results by ``python benchmarks/results_table.py``.

Every method has its preset `small`. Magnetic tile has three times the good images of screw: a third
of the passes makes as many steps there. Methods that learn from marked defects get three per defect
type, which then are no test images.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from blemish import registry
from blemish.benchmark import Result
from blemish.datasets.opening import list_categories
from blemish.grid import GridData, perform, plan_runs
from blemish.grid_table import pool_cells
from common import RESULTS, WEIGHTS

SEEDS = int(os.environ.get("SEEDS", "1"))
DATA = {
    "screw": ("mvtec_ad", "screw"),
    "magnetic_tile": ("magnetic_tile", None),
    "battery_plate": ("battery_plate", None),
}
NAMES = {"screw": "mvtec_ad/screw"}  # what the data set calls itself, where that differs
SETS = {"MVTEC": "mvtec_ad", "VISA": "visa", "BTAD": "btad"}
LEFT_OUT = {"by_region", "onnx_model"}  # made of other methods
# Measured for the pages of these methods, with the same preset: the command and its results file.
ELSEWHERE = {
    (method, data): (f"{script} {target}", f"{what}-{method}-{name}.json")
    for data, name, short in (
        ("screw", "mvtec_ad_screw", "screw"),
        ("magnetic_tile", "magnetic_tile", "tile"),
    )
    for method, script, target, what in (
        ("vae", "vae.py", data, data),
        ("ganomaly", "generative.py", f"{data}_ganomaly", data),
        ("advae", "generative.py", f"{data}_advae", data),
        ("masked_autoencoder", "masked_autoencoder.py", f"small_{short}", f"small_{short}"),
    )
}


def methods():
    return [name for name in registry.names("methods") if name not in LEFT_OUT]


def command(method, data):
    elsewhere, _ = ELSEWHERE.get((method, data), (f"leaderboard.py {method} {data}", None))
    return f"python benchmarks/{elsewhere}"


def pairs():
    return [(method, data) for data in DATA for method in methods()]


def settings_of(method, where):
    """Options beside the preset."""
    if method == "patchcore" and "BLEMISH_WEIGHTS" in os.environ:
        weights = os.path.join(os.environ["BLEMISH_WEIGHTS"], WEIGHTS)
        return {"backbone": "mobilenetv1_100", "weights": weights, "image_size": "256"}
    if where != "magnetic_tile" or "SMOKE" in os.environ:
        return {}
    preset = registry.get("methods", method).presets["small"]
    return {key: round(preset[key] / 3) for key in ("epochs", "finetune_epochs") if key in preset}


def measure(method, where, category):
    """The pooled runs of one method on one data set."""
    smoke = "SMOKE" in os.environ
    options = {}
    if registry.get("methods", method).supervision != "normal":
        options["few_defects"] = "3"
    data = GridData(where, category, options)
    settings = settings_of(method, where)
    runs = plan_runs(
        [method],
        [data],
        seeds=1 if smoke else SEEDS,
        preset="tiny" if smoke else "small",
        options=settings,
    )
    energy = importlib.util.find_spec("codecarbon") is not None
    results = [perform(run, energy) for run in runs]
    (cell,) = pool_cells([result.to_json() for result in results])
    shown = {k: v for k, v in cell.options.items() if k not in ("weights", "preset")}
    return Result(
        what="leaderboard",
        method=method,
        options=shown | ({"weights": WEIGHTS} if "weights" in settings else {}),
        command=f"SEEDS={SEEDS} {command(method, category or where)}",
        seeds=[run.seed for run in runs],
        data={**results[0].data, "name": cell.data.split(" ")[0]},
        figures={name: dict(figure) for name, figure in cell.figures.items()},
        seconds=results[0].seconds,
        notes=[*results[0].notes, *(["smoke run: not a result"] if smoke else [])],
    )


def main(words):
    if words == ["commands"]:
        print(*(command(*pair) for pair in pairs()), sep="\n")
    elif words[0] == "full":
        name = SETS[words[1]]
        for category in list_categories(name):
            for method in methods():
                print(f"{command(method, name)} {category}")
    else:
        method, data, *category = words
        where = (SETS.get(data, data), category[0]) if category else DATA[data]
        folder = Path(tempfile.mkdtemp()) if "SMOKE" in os.environ else RESULTS
        print(measure(method, *where).write(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
