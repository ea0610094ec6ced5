"""Times of ADTR: `python benchmarks/adtr_speed.py TARGET`, one file each.

Targets: step (a training step against its arithmetic, and what keeping features is worth, with
mobilenetv1_100 and efficientnet_b4), step_gpu (the same where there is one), and both with `_smoke`
to see whether they run. Weights are random: they change no time.
"""

import time
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from blemish.benchmark import Result
from blemish.datasets.base import DataSet, Record
from blemish.devices import find_device, has_bf16, keep_freed_memory
from blemish.methods.adtr import ADTR, ADTROptions
from blemish.nets.feature_transformer import Size, make_reconstructor
from blemish.preprocess import Geometry
from blemish.run import Run
from blemish.samples import Samples
from common import main

BATCH = 16
BACKBONES = {"mobilenetv1_100": (2, 4, 8, 16), "efficientnet_b4": (2, 4, 8, 16, 32)}


def noise(count, side):
    """Drawn images, as files would be read: not kept by who draws them."""

    def draw(seed):
        return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)

    names = [f"{i:03d}" for i in range(count)]
    records = [Record(n, partial(draw, i), False, "good", n, "train") for i, n in enumerate(names)]
    return DataSet("noise", tuple(records))


def clock(function, repeats=5):
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def bare_step(channels, side, device, dropped):
    """Forward, backward and AdamW on features that are there; seconds, and 10^9 operations."""
    size = Size(channels, (side // 16,) * 2, attention_dropout=dropped)
    with torch.random.fork_rng():
        network = make_reconstructor("transformer", size).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-4)
    features = torch.rand(BATCH, channels, side // 16, side // 16, device=device)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=has_bf16(torch.device(device))):
            loss = (network(features) - features).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimiser.step()

    with FlopCounterMode(display=False) as counter:
        step()
    with keep_freed_memory():
        return clock(step), counter.get_total_flops() / 1e9


def peak(device):
    """10^9 operations per second of a large matrix product, in what a step is computed in."""
    kind = torch.bfloat16 if has_bf16(torch.device(device)) else torch.float32
    n = 8192 if device == "cuda" else 1024
    a = torch.rand(n, n, device=device, dtype=kind)
    return 2 * n**3 / 1e9 / clock(lambda: a @ a)


def seconds_per_step(name, side, device, kept, images, epochs):
    """Median over the steps after the first epoch, which fills what is kept."""
    marks = []
    options = {"backbone": name, "weights": "random", "strides": BACKBONES[name], "epochs": epochs}
    method = ADTR(ADTROptions(**options, cache_mb=4000 if kept else 0))
    samples = Samples(noise(images, side), Geometry((side, side), multiple=method.multiple))
    run = Run(progress=lambda *_: marks.append(time.perf_counter()), device=device)
    method.learn(samples, run)
    per_epoch = images // BATCH
    return float(np.median(np.diff(marks)[per_epoch - 1 :])), method, samples


def measure(what, device, side, images, epochs):
    device = find_device(device)
    rate, figures = peak(device), {}
    figures["rate"] = (rate, "A large matrix product, 10^9 operations per second")
    for name in BACKBONES:
        with_kept, method, samples = seconds_per_step(name, side, device, True, images, 2 * epochs)
        without, _, _ = seconds_per_step(name, side, device, False, images, epochs)
        channels = sum(method.backbone_.channels)
        step, count = bare_step(channels, side, device, 0.1)
        fused, _ = bare_step(channels, side, device, 0.0)
        places = samples.places[:BATCH]
        fresh = Samples(samples.data, samples.geometry, keep_bytes=0)
        loading = clock(lambda fresh=fresh, places=places: fresh.take(places), 3)
        view = samples.take(places[:1]).x
        backbone = BATCH * clock(lambda m=method, v=view: m._join(m.backbone_, v), 3)
        own = {
            "step": (step, "a bare step of 16 images, s"),
            "fused": (fused, "the same with attention_dropout=0, s"),
            "operations": (count, "10^9 operations of it"),
            "share": (count / step / rate, "share of the rate of a matrix product"),
            "loading": (loading, "reading and resizing 16 images, s"),
            "backbone": (backbone, "features of 16 images, s"),
            "kept": (with_kept, "a step with kept features, s"),
            "recomputed": (without, "a step that computes features again, s"),
            "speed_up": (without / with_kept, "times faster with kept features"),
            # Images are kept in memory too, so what is computed again is the backbone alone.
            "limit": ((backbone + step) / step, "(backbone + bare step) / bare step"),
        }
        own["reached"] = (own["speed_up"][0] / own["limit"][0], "speed-up / its limit")
        figures |= {f"{key}_{name}": (v, f"{name}: {label}") for key, (v, label) in own.items()}
    for key, (value, label) in figures.items():
        print(f"{key}: {value:.4g}  ({label})", flush=True)
    words = torch.cuda.get_device_name() if device == "cuda" else device
    return Result(
        what=what,
        method="adtr",
        command=f"python benchmarks/adtr_speed.py {what}",
        seeds=(0,),
        data={"name": "noise"},
        options={"side": side, "batch": BATCH},
        figures={k: {"value": float(v), "label": label} for k, (v, label) in figures.items()},
        notes=[
            f"Transformer on {words}, bfloat16: {has_bf16(torch.device(device))}; backbone on the "
            f"CPU, {torch.get_num_threads()} thread(s) of a shared machine. Medians.",
        ],
    )


def step():
    return measure("step", "cpu", 256, BATCH, 3)


def step_smoke():
    return measure("step_smoke", "auto", 64, BATCH, 2)


def step_gpu():
    return measure("step_gpu", "auto", 256, 2 * BATCH, 2)


if __name__ == "__main__":
    main(globals())
