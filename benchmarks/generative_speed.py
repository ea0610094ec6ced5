"""How fast GANomaly and adVAE train and judge: `python benchmarks/generative_speed.py TARGET …`.

Targets: overhead_ganomaly, overhead_advae (the training loop against a loop of ten lines, same
networks, same batches, in turns; time per image after); training (capped GANomaly at 128 px on 320
images, two threads: two epochs measured, thirty stated). All on the CPU; ratios hold on a busy
machine too. SMOKE=1 is tiny and writes to another folder.
"""

import importlib
import sys
import time

import numpy as np
import torch
from torch.func import functional_call

from blemish.benchmark import Result, peak_memory_mb
from blemish.datasets.opening import open_dataset
from blemish.methods.base import Method
from blemish.options import build
from blemish.preprocess import Geometry
from blemish.run import Run
from blemish.samples import Samples
from blemish.settings import split_options
from blemish.training import Tensors, train
from generative import OUT, SMOKE

PAIRS, EPOCHS = (2, 2) if SMOKE else (7, 5)
SIZE = (288, 56)


class Captured(Exception):
    """What a method was about to train."""


def about_to_train(name, samples, monkey):
    """Learner and plan of a method, with new networks."""

    def take(learner, samples, plan, run, augment=None):
        raise Captured(learner, plan)

    module, method = importlib.import_module(f"blemish.methods.{name}"), monkey(name)
    real, module.train = module.train, take
    try:
        method.learn(samples, Run(device="cpu", precision="32"))
    except Captured as caught:
        return caught.args
    finally:
        module.train = real


def small(name, epochs):
    from blemish import registry

    method = registry.get("methods", name)
    _, own = split_options({**method.presets["small"], "epochs": epochs, "mix": False})
    return method(build(method.Options, own, f"method {name}"))


def bare(learner, samples, plan):
    """Ten lines that do the same steps."""
    full = samples.take(samples.places)
    x = torch.from_numpy(full.x).permute(0, 3, 1, 2)
    valid = torch.from_numpy(full.valid)[:, None].float()
    networks, now = learner.networks, Now(learner, plan.steps(len(x)) * plan.epochs)
    for network in networks.values():
        network.train()
    for _ in range(plan.epochs):
        for rows in torch.randperm(len(x)).split(plan.batch)[: plan.steps(len(x))]:
            learner.step(networks, Tensors(x[rows], valid[rows], valid[rows], valid[rows]), now)
            now.step += 1


class Now:
    step = 0

    def __init__(self, learner, steps):
        self.learner, self.steps = learner, steps

    def update(self, name, loss):
        optimiser = self.learner.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def frozen(self, name, *inputs):
        network = self.learner.networks[name]
        return functional_call(
            network, {k: p.detach() for k, p in network.named_parameters()}, inputs
        )

    def mean(self, value):
        return value.detach()


def overhead(name):
    data = open_dataset("battery_plate", seed=0, good=34, defective=0).select("train")
    samples = Samples(data, Geometry(SIZE, multiple=16))
    samples.take(samples.places)

    def timed(loop):
        learner, plan = about_to_train(name, samples, lambda n: small(n, EPOCHS))
        wall, processor = time.perf_counter(), time.process_time()
        loop(learner, plan)
        return time.perf_counter() - wall, time.process_time() - processor

    def ours(learner, plan):
        train(learner, samples, plan, Run(device="cpu", precision="32"))

    def ten_lines(learner, plan):
        bare(learner, samples, plan)

    timed(ours), timed(ten_lines)  # both warm
    before = peak_memory_mb()
    pairs = np.array([(timed(ten_lines), timed(ours)) for _ in range(PAIRS)])
    ratios = pairs[:, 0] / pairs[:, 1]  # steps per second of ours / of the bare loop
    steps = EPOCHS * -(-len(samples) // 4)
    figures = {
        f"ratio_{kind}": {
            "value": float(np.median(ratios[:, i])),
            "label": f"Steps per second of {unit}: loop / bare loop, median of {PAIRS} pairs",
            "target": "at least 0.95",
            "values": ratios[:, i].tolist(),
        }
        for i, (kind, unit) in enumerate((("wall", "wall time"), ("processor", "processor time")))
    }
    figures["steps_per_second"] = {
        "value": float(np.median(steps / pairs[:, 1, 1])),
        "label": "Steps of four images per second of processor time",
    }
    figures["memory_growth"] = {
        "value": (peak_memory_mb() or 0) - (before or 0),
        "label": "MB by which the peak memory grows after one warm run of each loop",
    }
    method = small(name, 1)
    method.learn(samples, Run(device="cpu", precision="32"))
    figures["per_image"] = per_image(method, samples)
    print(name, {k: f["value"] for k, f in figures.items()}, flush=True)
    return Result(
        what="overhead",
        method=name,
        options={"preset": "small"},
        command=f"python benchmarks/generative_speed.py overhead_{name}",
        data={"name": "battery_plate"},
        figures=figures,
        seconds={
            "bare": float(np.median(pairs[:, 0, 0])),
            "loop": float(np.median(pairs[:, 1, 0])),
        },
        notes=[f"{torch.get_num_threads()} threads; the machine did other work meanwhile."],
    )


def per_image(method: Method, samples):
    """Milliseconds of the network and the map alone."""
    batch, times = samples.take(samples.places[:1]), []
    for _ in range(20):
        started = time.process_time()
        method.predict_batch(batch.x, batch.valid, batch.keys)
        times.append(time.process_time() - started)
    size = f"{SIZE[1]}×{SIZE[0]}"
    label = f"Processor milliseconds per image of {size} px, map and pictures, median of 20"
    return {"value": 1e3 * float(np.median(times)), "label": label}


def training():
    """How long 30 epochs of capped GANomaly take at 128 px on 320 images and two cores."""
    from blemish.methods.ganomaly import GANomaly, GANomalyOptions

    torch.set_num_threads(2)
    count, side = (20, 32) if SMOKE else (320, 128)
    data = open_dataset("battery_plate", good=round(count * 1.5), defective=0).select("train")
    data = data.select("train", keys=[r.key for r in data][:count])
    samples = Samples(data, Geometry((side, side), fit="stretch"))
    samples.take(samples.places)  # read before the clock starts
    ends = []
    learner, plan = about_to_train(
        "ganomaly", samples, lambda n: GANomaly(GANomalyOptions(epochs=2))
    )
    run = Run(
        device="cpu",
        precision="32",
        progress=lambda stage, done, steps: ends.append(time.perf_counter()),
    )
    train(learner, samples, plan, run)
    half = len(ends) // 2
    epoch = (ends[-1] - ends[0]) / (len(ends) - 1) * half
    parameters = sum(p.numel() for n in learner.networks.values() for p in n.parameters())
    return Result(
        what="training",
        method="ganomaly",
        command="python benchmarks/generative_speed.py training",
        data={"name": "battery_plate"},
        figures={
            "epoch": {"value": epoch, "label": f"Seconds of an epoch of {len(samples)} images"},
            "minutes": {
                "value": epoch * 30 / 60,
                "label": "Minutes of 30 epochs, from the seconds of one",
            },
            "parameters": {"value": parameters, "label": "Parameters"},
        },
        notes=["Two threads of an idle machine. Trained on all images."],
    )


def overhead_ganomaly():
    return overhead("ganomaly")


def overhead_advae():
    return overhead("advae")


if __name__ == "__main__":
    for target in sys.argv[1:]:
        print(globals()[target]().write(OUT), flush=True)
