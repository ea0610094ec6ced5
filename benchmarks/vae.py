"""The runs behind docs/methods/vae.md: `python benchmarks/vae.py TARGET …`, one file each.

Targets: whole, anode, cathode, screw, magnetic_tile (the preset `small`), each also as NAME_plain
(without noise and divergence); anode_patchcore, cathode_patchcore; overhead, resume; design (one
set that choices were made on, and the pictures of the documents); linear. Drawn plates
use the seeds 100 to 102, which nothing was designed on. `screw` and `magnetic_tile` need
$BLEMISH_DATA.
"""

import itertools
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from blemish.benchmark import Result, pool_seeds, run_once
from blemish.datasets.opening import open_dataset
from blemish.metrics.figure import Figure
from blemish.metrics.ranking import auroc
from blemish.reporting.pictures import overlay
from common import RESULTS, SEEDS, main

ROOT = Path(__file__).parent.parent
PLATES = SEEDS[:3]
DESIGN = (0, 1)  # choices were made on these
COMPONENTS = (0, 8, 32)
FEW = 10  # epochs where images are many: more updates than on the plates all the same


def by_kind(evaluation):
    """AUROC of each kind of defect against all good images."""
    scores = np.array([i.score for i in evaluation.images])
    kinds = np.array([i.defect_type for i in evaluation.images])
    bad = np.array([i.defective for i in evaluation.images])
    figures = {}
    for kind in sorted(set(kinds[bad])):
        rows = ~bad | (kinds == kind)
        label = f"Image AUROC, {kind}"
        figures[f"image_auroc_{kind}"] = Figure(auroc(scores[rows], bad[rows]), label)
    return figures


def measure(what, name, method, sources, seeds, preset=None, show=None, **options):
    """Fit and evaluate once per seed; the file is written after each, with the seeds so far."""
    runs, took, prints = [], [], []
    for seed, source in zip(seeds, sources, strict=True):
        data = open_dataset(**source)
        chosen = {**options, "seed": seed} if method == "vae" else options
        detector, evaluation, seconds = run_once(method, data, chosen, preset)
        runs.append({**evaluation.figures, **by_kind(evaluation), **of_training(detector)})
        took.append({**seconds, "per_image": evaluation.seconds["predict_per_image"]})
        prints.append(evaluation.data["test_fingerprint"])
        print(what, method, seed, runs[-1]["image_auroc"].value, took[-1], flush=True)
        if show:
            show(detector, data)
        result = Result(
            what=what,
            method=method,
            options={**({"preset": preset} if preset else {}), **options},
            command=f"python benchmarks/vae.py {what}",
            seeds=seeds[: len(runs)],
            data={"name": name, "fingerprint": prints},
            figures=pool_seeds(runs),
            seconds={k: float(np.median([s[k] for s in took])) for k in took[0]},
        )
        result.write(RESULTS)
    return result


def of_training(detector):
    """Where the training of a VAE ended."""
    if detector.method_name != "vae":
        return {}
    learned, last = detector.pipeline.method, detector.history["error"][-1]
    share = learned.active_units_ / learned.options.latent
    return {
        "active_units": Figure(share, "Active units, share of all"),
        "error": Figure(last, "Mean squared error of the last epoch"),
    }


def picture(detector, data):
    """Photo, reconstruction, difference and map of four plates, as docs/pictures/METHOD.jpg."""
    columns = []
    for kind in ("good", "scratch", "dent", "missing"):
        record = [r for r in data.select("test") if r.defect_type == kind][1]
        image = data.image(record)
        found = detector.predict(image)
        columns += [image, *found.pictures.values(), overlay(image, found)]
    shown = [np.asarray(Image.fromarray(c).resize((80, 400))) for c in columns]
    joined = np.concatenate([np.pad(c, ((0, 0), (0, 4), (0, 0))) for c in shown], axis=1)
    path = ROOT / f"docs/pictures/{detector.method_name}.jpg"
    Image.fromarray(joined).save(path, quality=80)


def design():
    """One plate set that choices were made on, and its pictures."""
    sources = [{"where": "battery_plate", "seed": 0}]
    return measure("design", "battery_plate", "vae", sources, (0,), "small", picture)


def linear():
    """Principal components in the network's place: what is left to a network, what to the score."""
    from scipy import ndimage

    from blemish.maps import Post, pool_score, smooth
    from blemish.methods.image_reconstruction import squared_error
    from blemish.preprocess import Geometry
    from blemish.samples import Samples

    ways = {
        "before": ("128", 0.0, Post(blur=2.0, pool="top_share", pool_value=0.005)),
        "aspect": ("auto:128", 0.0, Post(blur=2.0, pool="top_share", pool_value=0.005)),
        "pooling": ("auto:128", 0.0, Post(blur=0.7, pool="top_share", pool_value=0.001)),
        "light": ("auto:128", 4.0, Post(blur=0.7, pool="top_share", pool_value=0.001)),
    }
    sizes = {"128": (128, 26), "auto:128": (288, 56)}
    found = {(way, k): [] for way in ways for k in COMPONENTS}
    for seed in DESIGN:
        data = open_dataset("battery_plate", seed=seed)
        bad = np.array([r.defective for r in data.select("test")])
        for size, shape in sizes.items():
            learn, test = (
                np.concatenate([b.x for b in Samples(data.select(s), Geometry(shape)).batches(16)])
                for s in ("train", "test")
            )
            held, learn = learn[::6], np.delete(learn, np.s_[::6], axis=0)
            mean = learn.mean(axis=0)
            flat = (learn - mean).reshape(len(learn), -1)
            basis = np.linalg.svd(flat, full_matrices=False)[2]
            for (way, (at, local, post)), k in itertools.product(ways.items(), COMPONENTS):
                if at != size:
                    continue
                errors = []
                for x in (held, test):
                    codes = (x - mean).reshape(len(x), -1) @ basis[:k].T
                    drawn = mean + (codes @ basis[:k]).reshape(x.shape)
                    errors.append(squared_error(x, drawn, np.ones(x.shape[:3], bool), local))
                usual = ndimage.gaussian_filter(errors[0].mean(axis=0), 2.0)
                maps = errors[1] / (usual + 0.1 * errors[0].mean())
                scores = [pool_score(smooth(m, None, post), None, post) for m in maps]
                found[way, k].append(auroc(scores, bad))
        print(seed, {key: values[-1] for key, values in found.items()}, flush=True)
    label = "Image AUROC, {} principal components: {}"
    return Result(
        what="linear",
        method="vae",
        options={"components": list(COMPONENTS)},
        command="python benchmarks/vae.py linear",
        seeds=DESIGN,
        data={"name": "battery_plate"},
        figures={
            f"{way}_{k}": {
                "value": float(np.mean(values)),
                "label": label.format(k, way),
                "values": values,
            }
            for (way, k), values in found.items()
        },
        notes=[f"{way}: image_size {a}, local {b}, {c}" for way, (a, b, c) in ways.items()],
    )


def plates(what, region, method="vae", preset="small", **options):
    sources = [{"where": "battery_plate", "seed": s, "region": region} for s in PLATES]
    return measure(what, "battery_plate", method, sources, PLATES, preset, **options)


def real(what, name, where, category=None, seeds=(0,), **options):
    sources = [{"where": where, "category": category}] * len(seeds)
    return measure(what, name, "vae", sources, seeds, "small", **options)


def whole():
    return plates("whole", "whole")


def whole_plain():
    return plates("whole_plain", "whole", variational=False)


def anode():
    return plates("anode", "anode")


def anode_plain():
    return plates("anode_plain", "anode", variational=False)


def anode_patchcore():
    return plates("anode_patchcore", "anode", "patchcore", None)


def cathode():
    return plates("cathode", "cathode")


def cathode_plain():
    return plates("cathode_plain", "cathode", variational=False)


def cathode_patchcore():
    return plates("cathode_patchcore", "cathode", "patchcore", None)


def screw():
    return real("screw", "mvtec_ad/screw", "mvtec_ad", "screw")


def screw_plain():
    return real("screw_plain", "mvtec_ad/screw", "mvtec_ad", "screw", variational=False)


def magnetic_tile():
    return real("magnetic_tile", "magnetic_tile", "magnetic_tile", epochs=FEW)


def magnetic_tile_plain():
    return real(
        "magnetic_tile_plain", "magnetic_tile", "magnetic_tile", epochs=FEW, variational=False
    )


def overhead():
    """Seconds of the training loop against a loop of ten lines, same batches, in turns."""
    import torch

    from blemish.methods.vae import VAE
    from blemish.nets.conv_vae import ConvVAE
    from blemish.options import build
    from blemish.preprocess import Geometry
    from blemish.run import Run
    from blemish.samples import Samples
    from blemish.training import Learner, Plan, Tensors, train

    values = {k: v for k, v in VAE.presets["small"].items() if k != "image_size"}
    options = build(VAE.Options, values, "method vae")
    step = VAE(options)._step
    data = open_dataset("battery_plate", seed=0, good=34, defective=0).select("train")
    samples = Samples(data, Geometry((288, 56), multiple=16))
    plan = Plan(epochs=4, batch=options.train_batch)
    full = samples.take(samples.places)

    def make():
        torch.manual_seed(0)
        network = ConvVAE(samples.geometry.view_shape, options.channels, 256, 64, True)
        return network, torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def ours():
        network, optimiser = make()
        started = time.perf_counter(), time.process_time()
        learner = Learner({"vae": network}, {"vae": optimiser}, step)
        train(learner, samples, plan, Run(device="cpu"))
        return time.perf_counter() - started[0], time.process_time() - started[1]

    def bare():
        network, optimiser = make()
        started = time.perf_counter(), time.process_time()
        x = torch.from_numpy(full.x).permute(0, 3, 1, 2)
        valid = torch.from_numpy(full.valid)[:, None].float()
        update, now = (lambda name, loss: descend(optimiser, loss)), Now()
        now.steps, now.update = plan.epochs * -(-len(x) // plan.batch), update
        for _ in range(plan.epochs):
            order = torch.randperm(len(x))
            for rows in order.split(plan.batch):
                batch = Tensors(x[rows], valid[rows], valid[rows], valid[rows])
                step({"vae": network}, batch, now)
                now.step += 1
        return time.perf_counter() - started[0], time.process_time() - started[1]

    def descend(optimiser, loss):
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    class Now:
        step = 0

    ours(), bare()
    pairs = np.array([(ours(), bare()) for _ in range(7)])  # (pairs, loop, wall or processor)
    ratios = pairs[:, 0] / pairs[:, 1]
    steps = plan.epochs * -(-len(samples) // plan.batch)
    figures = {
        f"ratio_{name}": {
            "value": float(np.median(ratios[:, i])),
            "label": f"{what} of the loop / that of a bare loop, median of 7 pairs",
            "target": "at most 1.05",
            "values": ratios[:, i].tolist(),
        }
        for i, (name, what) in enumerate((("wall", "Time"), ("processor", "Processor time")))
    }
    print(figures)
    return Result(
        what="overhead",
        method="vae",
        options={"preset": "small"},
        command="python benchmarks/vae.py overhead",
        seeds=(0,),
        data={"name": "battery_plate"},
        figures=figures,
        seconds={
            "loop": float(np.median(pairs[:, 0, 0])),
            "bare": float(np.median(pairs[:, 1, 0])),
        },
        notes=[f"{steps} steps of {plan.batch} images each; the first pair is not counted."],
    )


FIT = """
import sys, warnings
from pathlib import Path
from blemish import Detector, Run, open_dataset
warnings.simplefilter("ignore")
data = open_dataset("battery_plate", seed=0, good=24, defective=0, region="anode")
detector = Detector("vae", "tiny", device="cpu", epochs=40)
run = Run(checkpoint=Path(sys.argv[1]), say=lambda text: print(text, flush=True))
detector.fit(data, run).save(sys.argv[2])
"""
ROUNDS, KILLS = 3, 3


def resume():
    """Fits that are killed at random moments and gone on with, against one that is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        fit_in_process(folder / "whole", folder / "whole.blemish").communicate()
        seconds = time.perf_counter() - started
        expected = read_arrays(folder / "whole.blemish")
        equal, kills, resumed = 0, 0, []
        for number in range(ROUNDS):
            state, model = folder / f"state{number}", folder / f"{number}.blemish"
            for _ in range(KILLS):
                process = fit_in_process(state, model)
                time.sleep(random.uniform(0.3, 0.9) * seconds)
                kills += process.poll() is None
                process.kill()
                process.communicate()
            said = fit_in_process(state, model).communicate()[0]
            resumed += [int(t.split()[5]) for t in said.splitlines() if "goes on after" in t]
            found = read_arrays(model)
            equal += all(np.array_equal(found[k], v) for k, v in expected.items())
            print(number, kills, resumed, equal, flush=True)
    label = f"Killed fits with the same bits as the unbroken one, share of {ROUNDS}"
    return Result(
        what="resume",
        method="vae",
        options={"preset": "tiny", "epochs": 40},
        command="python benchmarks/vae.py resume",
        seeds=(0,),
        data={"name": "battery_plate"},
        figures={
            "equal": {"value": equal / ROUNDS, "label": label, "target": "1"},
            "kills": {"value": kills, "label": "Kills (SIGKILL) at random moments, all fits"},
        },
        seconds={"unbroken": seconds},
        notes=[f"Epochs after which the last attempts went on: {resumed}."],
    )


def fit_in_process(state, model):
    command = [sys.executable, "-c", FIT, str(state), str(model)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_arrays(path):
    from blemish.model_file import read_model_file

    return read_model_file(path).arrays


if __name__ == "__main__":
    main(globals())
