"""The runs of docs/methods/ganomaly.md and advae.md: `python benchmarks/generative.py TARGET …`.

Targets, one results file each:
  REGION_ARM          five folds of the drawn plates; REGION: whole, anode, cathode; ARM: ganomaly,
                      vae, advae, plain (autoencoder), advae_off (its adversarial terms off),
                      patchcore. All but patchcore train with the preset `small`: the same images,
                      the same number of batches.
  screw_ARM, magnetic_tile_ARM   these data's own split; they need $BLEMISH_DATA.
  paper_ganomaly, paper_advae    the default options and schedule, on screw.
  design              pictures of GANomaly.
  sweep               GANomaly on whole plates, latent size × input size.
FIRST_FOLDS=2 runs the first two of the five folds. `better` compares arms by the files that are
there, pair by pair, over the folds that both have. With SMOKE=1 all of it is tiny and goes to
another folder. benchmarks/generative_table.py writes the tables.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from blemish.benchmark import Result, run_once
from blemish.grid import GridData, perform, plan_runs, read_result
from blemish.grid_table import pool_cells
from blemish.metrics.repeated import RepeatedRuns, compare_runs
from common import RESULTS
from vae import picture

SMOKE = bool(os.environ.get("SMOKE"))
OUT = Path(tempfile.gettempdir()) / "blemish_smoke" if SMOKE else RESULTS
PLATES = 100  # the seed of drawn plates that nothing was designed on
FOLDS = 2 if SMOKE else 5
FIRST = int(os.environ.get("FIRST_FOLDS", FOLDS))  # how many of them are run
FEW = 10  # epochs where images are many: more updates than on the plates all the same
REGIONS = ("whole", "anode", "cathode")
ARMS = {
    "ganomaly": ("ganomaly", {}),
    "vae": ("vae", {}),
    "advae": ("advae", {}),
    "plain": ("vae", {"variational": False}),
    "advae_off": ("advae", {"adv_encoder": False, "adv_generator": False}),
    "patchcore": ("patchcore", {}),
}
SWEEP = {"latent": (32, 64, 128), "image_size": (64, 128, 256)}
PAIRS = (("advae", "vae"), ("advae", "advae_off"), ("ganomaly", "vae"), ("vae", "patchcore"))


def run_arm(target, arm, data, folds=0, preset="small", **more):
    """All folds of one arm, pooled into one results file."""
    method, options = ARMS[arm]
    if method == "patchcore":
        preset = None
    elif SMOKE:
        more["epochs"] = 2
    runs = plan_runs([method], [data], folds=folds, preset=preset, options={**options, **more})
    results, few = [], f"FIRST_FOLDS={FIRST} " if folds > FIRST else ""
    for run in runs[:FIRST] if folds else runs:
        results.append(perform(run).to_json())
        figures = results[-1]["figures"]
        print(target, run.fold, figures["image_auroc"]["value"], results[-1]["seconds"], flush=True)
    (cell,) = pool_cells(results)
    # Of the curves the pooled figures keep the last epoch of each run; the first run's are kept.
    curves = {
        f"{name}_curve": {**figure, "label": f"{figure['label']}: first run, each epoch"}
        for name, figure in results[0]["figures"].items()
        if name.startswith("training_")
    }
    return Result(
        what=target.removesuffix(f"_{method}"),
        method=method,
        options=cell.options,
        command=f"{few}python benchmarks/generative.py {target.removeprefix('folds_')}",
        seeds=(0,),
        data={
            "name": results[0]["data"]["name"],
            "fingerprint": [r["data"]["fingerprint"] for r in results],
            "options": dict(data.options),
        },
        figures={**cell.figures, **curves},
        seconds={
            key: float(np.median([r["seconds"][key] for r in results]))
            for key in results[0]["seconds"]
        },
        notes=[f"{len(results)} of {folds} folds over the good images."] if folds else [],
        runs=cell.test_runs,
    )


def plates(**options):
    few = {"good": 24} if SMOKE else {}
    return GridData("battery_plate", options={"seed": PLATES, **options, **few})


def folds_of(target):
    region, _, arm = target.partition("_")
    return run_arm(f"folds_{target}", arm, plates(region=region), FOLDS)


def screw(target):
    return run_arm(target, target.removeprefix("screw_"), GridData("mvtec_ad", "screw"))


def magnetic_tile(target):
    arm = target.removeprefix("magnetic_tile_")
    few = {} if arm == "patchcore" else {"epochs": FEW}
    return run_arm(target, arm, GridData("magnetic_tile"), **few)


def paper(target):
    """Default options. Codes of many draws at 256 px take seconds per image: the mean code here."""
    arm = target.removeprefix("paper_")
    draws = {"draws": 0} if arm == "advae" else {}
    return run_arm(target, arm, GridData("mvtec_ad", "screw"), preset=None, **draws)


def sweep(target):
    """One run per cell, on the data's own split."""
    axes = {k: v[:1] for k, v in SWEEP.items()} if SMOKE else SWEEP
    more = {"epochs": 1} if SMOKE else {}
    runs = plan_runs(["ganomaly"], [plates()], axes, preset="small", options=more)
    figures, seconds, fingerprint = {}, {}, ""
    for run in runs:
        found = perform(run).to_json()
        cell = "_".join(str(run.options[axis]) for axis in axes)
        for name in ("image_auroc", "image_ap", "prevalence", "numbers"):
            figures[f"{name}_{cell}"] = found["figures"][name]
        seconds[cell], fingerprint = found["seconds"]["fit"], found["data"]["fingerprint"]
        print(target, cell, found["figures"]["image_auroc"]["value"], found["seconds"], flush=True)
    return Result(
        what="sweep",
        method="ganomaly",
        options={"preset": "small", **{k: list(v) for k, v in axes.items()}},
        command="python benchmarks/generative.py sweep",
        seeds=(0,),
        data={"name": "battery_plate", "fingerprint": fingerprint},
        figures=figures,
        seconds=seconds,
        notes=["Names end in latent and image size. Test figures: the best cell is an oracle."],
    )


def design(target):
    """Plates that choices were made on, and the pictures of docs/methods/ganomaly.md."""
    data = GridData("battery_plate", options={"seed": 0, "good": 120}).open()
    detector, evaluation, seconds = run_once("ganomaly", data, {}, "small")
    picture(detector, data)
    return Result(
        what="design",
        method="ganomaly",
        options={"preset": "small"},
        command="python benchmarks/generative.py design",
        seeds=(0,),
        data={"name": data.name, "fingerprint": evaluation.data["test_fingerprint"]},
        figures={name: figure.to_json() for name, figure in evaluation.figures.items()},
        seconds=seconds,
        notes=["120 good plates. The set that VAE's preset was chosen on; a picture, no ranking."],
    )


def better(target):
    """Paired differences of arms over the same folds, of the files that are there."""
    figures = {}
    for region in REGIONS:
        for first, second in PAIRS:
            paths = [file_of(f"folds_{region}_{arm}", arm) for arm in (first, second)]
            if not all(path.exists() for path in paths):
                print("missing", region, first, second)
                continue
            found = [read_result(path)["runs"] for path in paths]
            both = min(map(len, found))  # folds that both arms have, the first ones
            runs = [RepeatedRuns.of(own[:both]) for own in found]
            for statistic, label in (("auroc", "AUROC"), ("average_precision", "AP")):
                apart = compare_runs(*runs, statistic)
                figures[f"{region}_{first}_{second}_{statistic}"] = {
                    "value": apart.value,
                    "low": apart.low,
                    "high": apart.high,
                    "label": f"Image {label}, {region}: {first} minus {second}, {both} folds",
                }
    if not figures:
        raise SystemExit("better: run the folds of two arms of a region first.")
    return Result(
        what="better",
        command="python benchmarks/generative.py better",
        data={"name": "battery_plate"},
        figures=figures,
        notes=["95 % intervals of paired differences, bootstrap over parts."],
    )


def file_of(what, arm, data="battery_plate"):
    method = ARMS[arm][0]
    return OUT / f"{what.removesuffix(f'_{method}')}-{method}-{data}.json"


def target_of(name):
    region, _, arm = name.partition("_")
    if region in REGIONS and arm in ARMS:
        return folds_of
    kinds = {"screw_": screw, "magnetic_tile_": magnetic_tile, "paper_": paper}
    found = next((f for start, f in kinds.items() if name.startswith(start)), None)
    return found or {"sweep": sweep, "better": better, "design": design}[name]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(target_of(name)(name).write(OUT), flush=True)
