"""Times and memory of L2BT: `python benchmarks/l2bt_speed.py TARGET`, one file each.

Targets: training, students, memory, inference; on a GPU training_gpu and inference_gpu (add
`_smoke` to see whether they run). Weights are random: they change no time.

The peer's way is written out in `published_loop`: batches of four images, the teacher at every
step, torch's own cosine and Adam. Ours is L2BT itself. Both run in one process, one after the
other, on as many threads as the machine has cores.
"""

import subprocess
import sys
import time
from functools import partial

import numpy as np
import timm
import torch

from blemish import Run
from blemish.benchmark import Result, peak_memory_mb
from blemish.datasets.base import DataSet, Record
from blemish.devices import find_device, has_bf16
from blemish.maps import smooth, smooth_axis
from blemish.methods.l2bt import L2BT, L2BTOptions
from blemish.pipeline import Pipeline
from blemish.preprocess import Geometry
from blemish.resampling import linear_matrix
from blemish.samples import Samples
from common import main

now = time.perf_counter
TEACHER = "vit_base_patch14_reg4_dinov2"
IMAGES, SIDE, EPOCHS, BATCH = 320, 224, 50, 4  # what the times are stated for
UPDATES = EPOCHS * IMAGES // BATCH
FEW, PEER_STEPS, OUR_EPOCHS = 40, 12, 20  # what is measured


def noise(count, side=SIDE, split="train", first=0):
    def draw(seed):
        coarse = np.random.default_rng(seed).integers(0, 256, (side // 8 + 1, side // 8 + 1, 3))
        return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:side, :side].astype(np.uint8)

    return DataSet(
        "noise",
        tuple(
            Record(f"{i:03d}", lambda i=i: draw(i), False, "good", f"{i:03d}", split)
            for i in range(first, first + count)
        ),
    )


def plain_teacher(name, layers, device="cpu", bf16=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0, global_pool="", dynamic_img_size=True)
    network.eval().requires_grad_(False).to(device)

    def tokens(x):
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            return network.forward_intermediates(
                x, indices=list(layers), norm=True, output_fmt="NLC", intermediates_only=True
            )

    return tokens, network


def published_loop(tokens, network, samples, steps, seed=0, rate=1e-4):
    """Bare: image batches, the teacher at every step. Yields the loss and the seconds."""
    device = network.norm.weight.device
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        students = [mlp(network.embed_dim).to(device) for _ in range(2)]
    optimiser = torch.optim.Adam([p for s in students for p in s.parameters()], lr=rate)
    mean = torch.tensor(network.default_cfg["mean"])[:, None, None]
    std = torch.tensor(network.default_cfg["std"])[:, None, None]
    places, order = samples.places, np.random.default_rng(seed)
    step = 0
    while step < steps:
        shuffled = order.permutation(len(places))
        for first in range(0, len(places), BATCH):
            started = now()
            batch = samples.take([places[i] for i in shuffled[first : first + BATCH]])
            x = (torch.from_numpy(batch.x).permute(0, 3, 1, 2) - mean) / std
            early, late = (t.float() for t in tokens(x.to(device)))
            cosine = torch.nn.functional.cosine_similarity
            loss = 1 - cosine(students[0](early), late, dim=-1, eps=1e-6).mean()
            loss = loss + 1 - cosine(students[1](late), early, dim=-1, eps=1e-6).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield loss.item(), now() - started
            step += 1
            if step == steps:
                return


def mlp(width):
    linear, gelu = torch.nn.Linear, torch.nn.GELU
    return torch.nn.Sequential(
        linear(width, width), gelu(), linear(width, width), gelu(), linear(width, width)
    )


class Watch:
    """Notes when each stage and each training step ended."""

    def __init__(self):
        self.started, self.teacher, self.steps = now(), 0.0, []

    def __call__(self, stage, done, total):
        if stage == "teacher":
            self.teacher = now()
        else:
            self.steps.append(now())


def training():
    return time_training("training", FEW, PEER_STEPS, OUR_EPOCHS)


def training_busy():
    """Where other programs run too: one thread, its own processor time in place of the clock."""
    global now
    now = time.process_time
    torch.set_num_threads(1)
    return time_training("training_busy", few=4, peer_steps=3, our_epochs=16)


def training_gpu():
    return time_training("training_gpu", FEW, 100, OUR_EPOCHS, "auto")


def training_gpu_smoke():
    return time_training("training_gpu_smoke", few=4, peer_steps=2, our_epochs=1, device="auto")


def time_training(what, few, peer_steps, our_epochs, device="cpu"):
    device = find_device(device)
    samples = Samples(noise(few), Geometry((SIDE, SIDE), multiple=14))
    tokens, network = plain_teacher(TEACHER, (7, 11), device)
    peer = [seconds for _, seconds in published_loop(tokens, network, samples, peer_steps)][1:]
    x = torch.rand(BATCH, 3, SIDE, SIDE, device=device)
    alone = clock(lambda: tokens(x), 1) / BATCH
    method = L2BT(L2BTOptions(weights="random", epochs=our_epochs, train_batch=BATCH))
    assert method.multiple == 14  # opens the teacher: reading weights is no part of training
    watch = Watch()
    method.learn(samples, Run(progress=watch, device=device))
    steps = np.diff(watch.steps)
    fill = (watch.teacher - watch.started) / few
    opening = watch.steps[0] - watch.teacher  # Fabric, and the first step
    ours = fill * IMAGES + opening + float(np.mean(steps)) * (UPDATES - 1)
    theirs = float(np.mean(peer)) * UPDATES
    product = clock(product_of(BATCH * 256, 768, device)) * 16  # 6 forward, 6 + 4 backward
    numbers = {
        "peer_step": (float(np.mean(peer)), f"The peer's way: seconds per step of {BATCH} images"),
        "teacher_image": (alone, "The teacher alone, seconds per image"),
        "fill_image": (fill, "Ours: seconds per image to compute and keep the teacher's vectors"),
        "our_step": (float(np.mean(steps)), "Ours: seconds per step of 1,024 vectors"),
        "our_step_median": (float(np.median(steps)), "Ours: median seconds per step"),
        "products": (product, "The matrix products of a step alone, seconds"),
        "peer_total": (theirs, f"The peer's way, {UPDATES} updates (extrapolated), seconds"),
        "our_total": (ours, f"Ours, fill and {UPDATES} updates (extrapolated), seconds"),
        "ratio": (theirs / ours, "Times faster"),
        "limit": (
            theirs / (alone * IMAGES + product * UPDATES),
            "Times faster if a step were its matrix products alone",
        ),
    }
    return measured(
        what,
        numbers,
        "at least 12, aim 20",
        {"images": IMAGES, "side": SIDE, "epochs": EPOCHS, "batch": BATCH},
        [
            f"Measured: {peer_steps - 1} steps of the peer after one to warm up, the fill of {few} "
            f"images, {len(steps)} of our steps; the rest is extrapolated.",
            f"{torch.get_num_threads()} threads, {now.__name__}, {device_words(device)}; peer in "
            f"float32; bfloat16 units, which ours uses: {has_bf16(torch.device(device))}.",
        ],
    )


def device_words(device):
    return torch.cuda.get_device_name() if device == "cuda" else device


def product_of(rows, width, device):
    x, w = torch.randn(rows, width, device=device), torch.randn(width, width, device=device)
    return lambda: x @ w


def clock(function, repeats=5):
    function()
    times = []
    for _ in range(repeats):
        started = now()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(now() - started)
    return float(np.median(times))


def students():
    """The same students either way: a run that is short enough to be done in each."""
    name, layers, epochs, rate = "vit_tiny_patch16_224", (7, 11), 15, 1e-3
    samples = Samples(noise(16, 112), Geometry((112, 112), multiple=16))
    tokens, network = plain_teacher(name, layers)
    found = {"peer": [], "recomputed": [], "remembered": [], "shuffled": []}
    arms = {
        "recomputed": {"batching": "image", "remember": False},
        "remembered": {"batching": "image"},
        "shuffled": {},
    }
    maps = {}
    for seed in range(3):
        loop = published_loop(tokens, network, samples, epochs * 4, seed, rate)
        losses = [loss for loss, _ in loop]
        found["peer"].append(float(np.mean(losses[-4:])))
        for arm, options in arms.items():
            given = {"backbone": name, "weights": "random", "layers": layers, **options}
            method = L2BT(L2BTOptions(**given, epochs=epochs, learning_rate=rate))
            run = Run(seed=seed)
            method.learn(samples, run)
            found[arm].append(run.history["loss"][-1])
            x = samples.take(samples.places[:4]).x
            maps[arm, seed] = method.predict_batch(x, np.ones(x.shape[:3], bool), [""] * 4).maps
        print(seed, {k: v[-1] for k, v in found.items()}, flush=True)
    apart = max(
        float(np.abs(maps["recomputed", s] / maps["remembered", s] - 1).max()) for s in range(3)
    )
    figures = {
        f"loss_{arm}": {
            "value": float(np.mean(v)),
            "deviation": float(np.std(v, ddof=1)),
            "values": v,
            "label": f"Mean loss of the last epoch: {arm}",
        }
        for arm, v in found.items()
    }
    figures["apart"] = {
        "value": apart,
        "label": "Largest relative difference of any cell of the maps, remembered to recomputed",
    }
    return Result(
        what="l2bt_students",
        method="l2bt",
        command="python benchmarks/l2bt_speed.py students",
        seeds=(0, 1, 2),
        data={"name": "noise"},
        options={
            "backbone": name,
            "epochs": epochs,
            "learning_rate": rate,
            "images": 16,
            "side": 112,
        },
        figures=figures,
        notes=["peer: the bare loop; recomputed: remember=false; shuffled: the default."],
    )


def memory():
    """Peak memory of one image in a process of its own."""
    numbers = {}
    for side in (0, 224, 518, 1036):
        command = [sys.executable, __file__, "--image", str(side)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        words = f"one image of {side} px" if side else "only opening the teacher"
        numbers[f"peak_{side}"] = (float(done.stdout), f"Peak memory of a process, {words}, MB")
    return measured("memory", numbers, None, {}, ["Float32, MB are 10^6 bytes."])


def one_image(side):
    method = L2BT(L2BTOptions(weights="random"))
    assert method.multiple == 14
    if side:
        with torch.random.fork_rng():
            method.students_ = method.make_students().eval()
        method.device_ = torch.device("cpu")
        x = np.random.default_rng(0).random((1, side, side, 3), np.float32)
        method.predict_batch(x, np.ones(x.shape[:3], bool), [""])
    print(peak_memory_mb())


def inference():
    """Predicting, decoding left out, next to the plain forward of the teacher alone."""
    numbers = {}
    plans = ((224, 2, 5, (512, 2048)), (518, 1, 3, (512, 2048)))
    for side, batch, repeats, originals in plans:
        method = L2BT(L2BTOptions(weights="random"))
        multiple = method.multiple  # opens the teacher
        with torch.random.fork_rng():
            method.students_ = method.make_students().eval()
        method.device_ = torch.device("cpu")
        pipeline = Pipeline(Geometry((side, side), multiple=multiple), method, method.post, batch)
        tokens, _ = plain_teacher(TEACHER, (7, 11))
        x = torch.rand(batch, 3, side, side)
        for original in originals:
            images = [noise(1, original, first=i).records[0].image() for i in range(batch)]
            analyse = partial(run_through, pipeline, images)
            ours, plain = [], []
            for _ in range(repeats):  # in turn, so that both see the same machine
                plain.append(clock(partial(tokens, x), 1) / batch)
                ours.append(clock(analyse, 1) / batch)
            ratio = float(np.median(np.divide(ours, plain)))
            words = f"{side} px, originals of {original} px"
            numbers[f"teacher_{side}_{original}"] = (min(plain), f"Teacher alone, {words}, s")
            numbers[f"ours_{side}_{original}"] = (min(ours), f"L2BT, {words}, s")
            numbers[f"ratio_{side}_{original}"] = (ratio, f"L2BT / teacher, {words}")
            print(words, ratio, flush=True)
    notes = [
        "Ratios are medians of pairs measured in turn, times are the best.",
        "All after decoding: resizing, teacher, students, blur at the original's size, score.",
    ]
    return measured("inference", numbers | blur_costs(), None, {}, notes)


def inference_gpu():
    return time_on_device("inference_gpu", 1036, 24, (1, 4))


def inference_gpu_smoke():
    return time_on_device("inference_gpu_smoke", 224, 2, (1,))


def time_on_device(what, side, count, batches):
    """Images per second in full, and the share of them that the teacher takes."""
    device = find_device("auto")
    bf16 = has_bf16(torch.device(device))
    method = L2BT(L2BTOptions(weights="random"))
    multiple = method.multiple  # opens the teacher
    with torch.random.fork_rng():
        method.students_ = method.make_students().eval().to(device)
    method.device_ = torch.device(device)
    method._place(bf16)
    tokens, _ = plain_teacher(TEACHER, (7, 11), device, bf16)
    images = [noise(1, side, first=i).records[0].image() for i in range(count)]
    numbers = {}
    for batch in batches:
        pipeline = Pipeline(Geometry((side, side), multiple=multiple), method, method.post, batch)
        x = torch.rand(batch, 3, side, side, device=device)
        alone = clock(partial(tokens, x), 9) / batch
        ours = clock(partial(run_through, pipeline, images), 3) / count
        words = f"{side} px, {batch} at a time"
        numbers[f"rate_{batch}"] = (1 / ours, f"L2BT, images per second, {words}")
        numbers[f"teacher_{batch}"] = (1 / alone, f"Teacher alone, images per second, {words}")
        numbers[f"share_{batch}"] = (alone / ours, f"Share of the time in the teacher, {words}")
    notes = [
        f"{device_words(device)}, bfloat16: {bf16}; {torch.get_num_threads()} thread(s) of a "
        "shared machine for the rest: resizing, blur at the original's size, score.",
    ]
    return measured(what, numbers, None, {"side": side}, notes)


def run_through(pipeline, images):
    return list(pipeline.analyse(images, lambda image: ("", image)))


def blur_costs():
    """Eight box filters at the size of the original, and the same inside two products."""
    post, found = L2BT(L2BTOptions()).post, {}
    grid = np.random.default_rng(0).random((37, 37), np.float32)
    for size in (512, 1024, 2048, 4096):
        way = linear_matrix(37, size)
        blurred = smooth_axis(way, post)
        one = clock(lambda w=way: smooth(w @ grid @ w.T, None, post), 3)
        other = clock(lambda w=blurred: w @ grid @ w.T, 3)
        found[f"filters_{size}"] = (one, f"Upsampling and eight box filters, {size} px, s")
        found[f"matrices_{size}"] = (other, f"The same as two matrix products, {size} px, s")
    return found


def measured(what, numbers, target, options, notes):
    figures = {k: {"value": float(v), "label": label} for k, (v, label) in numbers.items()}
    if target:
        figures["ratio"]["target"] = target
    for name, figure in figures.items():
        print(f"{name}: {figure['value']:.4g}", flush=True)
    return Result(
        what=f"l2bt_{what}",
        method="l2bt",
        command=f"python benchmarks/l2bt_speed.py {what}",
        seeds=(0,),
        data={"name": "noise"},
        options={"backbone": TEACHER, "weights": "random", **options},
        figures=figures,
        notes=notes,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--image"]:
        one_image(int(sys.argv[2]))
    else:
        main(globals())
