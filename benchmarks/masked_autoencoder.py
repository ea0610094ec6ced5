"""The figures of docs/methods/masked_autoencoder.md, TARGET by TARGET.

Targets, one results file each: screw, tile (the default sizes; for a GPU), original (the schedule
and switches of the source), small_screw, small_tile (the preset `small`, on a CPU), ablation_0,
ablation_1, … (every part of the method taken away, one seed each, `small` on screw at one budget),
backbone (PatchCore on an encoder from own photos), speed. `table` writes the page's tables from the
files.

Everything was fixed before any test image was looked at: nothing is chosen by these figures. With
BLEMISH_SMOKE set, all goes through the same code with a fraction of the images and one epoch, and
results go to a temporary folder.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from blemish.benchmark import Result, run_once
from blemish.datasets.opening import open_dataset
from blemish.pretrained import pretrain
from common import RESULTS, mobilenet, published

METHOD = "masked_autoencoder"
SMOKE = bool(os.environ.get("BLEMISH_SMOKE"))
OUT = Path(tempfile.mkdtemp()) if SMOKE else RESULTS
SETS = {"screw": ("mvtec_ad", "screw"), "tile": ("magnetic_tile", None)}
MOVES = {"screw": "object", "tile": "texture"}
KEPT = (
    "image_auroc",
    "image_ap",
    "pixel_auroc",
    "aupro_0.30",
    "image_f1",
    "f1_flag_everything",
    "false_alarm_rate",
    "miss_rate",
    "image_f1_max",
)
# What is taken away, or put in the place of something; "all" is the method as it is.
ARMS = {
    "all": {},
    "random masks": {"masking": "random"},
    "LayerNorm": {"norm": "layer"},
    "last level only": {"levels": 1},
    "nothing hidden in judging": {"passes": 1},
    "learned positions only": {"positions": "learned"},
    "waves only": {"positions": "waves"},
}
SPEED_BATCH = 32


def opened(name):
    where, category = SETS[name]
    data = open_dataset(where, category=category)
    if not SMOKE:
        return data
    few = [r.key for r in data.select("train")][::12] + [r.key for r in data.select("test")][::12]
    return data.select(keys=few)


def short(options):
    once = {"epochs": 1, "finetune_epochs": 1, "masks": 64} if SMOKE else {}
    return {**options, **once}


def measure(what, name, preset=None, seed=0, **options):
    """Fit and evaluate once."""
    options = short({"augment": MOVES[name], "seed": seed, **options})
    detector, found, seconds = run_once(METHOD, opened(name), options, preset)
    figures = {k: found.figures[k].to_json() for k in KEPT if k in found.figures}
    print(what, seed, {k: round(f["value"] or 0, 4) for k, f in figures.items()}, seconds)
    seconds["per_image"] = found.seconds["predict_per_image"]
    for phase in ("pretrain_error", "loss"):
        last = detector.history[phase][-1]
        figures[phase] = {"value": last, "label": f"Last epoch's {phase.replace('_', ' ')}"}
    return detector, found, figures, seconds, options


def file_of(what, name, preset=None, notes=(), **options):
    detector, found, figures, seconds, options = measure(what, name, preset, **options)
    device = detector.pipeline.method.state()[0]["device"]
    return Result(
        what=what,
        method=METHOD,
        options={**({"preset": preset} if preset else {}), **options},
        command=f"python benchmarks/masked_autoencoder.py {what}",
        seeds=(options["seed"],),
        data={"name": found.data["name"], "fingerprint": found.data["test_fingerprint"]},
        figures=figures,
        seconds=seconds,
        notes=[f"Trained and judged on: {device}, beside other runs.", *notes],
    )


def screw():
    return file_of("screw", "screw")


def tile():
    note = "A third of the epochs: there are 2.4 times as many images as screws."
    return file_of("tile", "tile", epochs=66, finetune_epochs=14, notes=[note])


def original():
    return file_of("original", "screw", "original", augment="none")


def small_screw():
    return file_of("small_screw", "screw", "small", device="cpu")


def small_tile():
    note = "A third of the epochs: there are 2.4 times as many images as screws."
    return file_of(
        "small_tile", "tile", "small", device="cpu", epochs=10, finetune_epochs=3, notes=[note]
    )


def ablation(seed):
    figures, seconds, result = {}, {}, None
    for arm, options in ARMS.items():
        _, found, own, took, _ = measure(arm, "screw", "small", seed, **options)
        for key in ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.30"):
            figures[f"{key}, {arm}"] = {**own[key], "label": f"{own[key]['label']}, {arm}"}
        seconds[arm] = took["fit"]
        result = Result(
            what=f"ablation_{seed}",
            method=METHOD,
            options={"preset": "small"},
            command=f"python benchmarks/masked_autoencoder.py ablation_{seed}",
            seeds=(seed,),
            data={"name": found.data["name"], "fingerprint": found.data["test_fingerprint"]},
            figures=figures,
            seconds=seconds,
            notes=[
                f"{name}: {', '.join(f'{k}={v}' for k, v in own.items()) or 'preset small'}."
                for name, own in ARMS.items()
            ],
        )
        result.write(OUT)
    return result


def backbone():
    """PatchCore on screw: own encoder, the same network with random weights, fixed filters."""
    data, figures, seconds = opened("screw"), {}, {}
    common = {"image_size": "256", "coreset": "0.01", "calibration": "split"}
    with tempfile.TemporaryDirectory() as folder:
        plans = {"filter bank": {**common}}
        for arm, values in {
            "own encoder": short({"epochs": 150, "augment": "object"}),
            # One step at a rate of nothing: the weights stay as they were drawn.
            "random weights": {"epochs": 1, "learning_rate": 1e-9, "masks": 64},
        }.items():
            path, started = Path(folder) / f"{len(plans)}.safetensors", time.perf_counter()
            pretrain(METHOD, data, preset="small", **values).save(path)
            seconds[f"pre-training, {arm}"] = time.perf_counter() - started
            encoder = {"backbone": "pretrained_encoder", "weights": str(path)}
            plans[arm] = {**common, **encoder, "standardise": "true"}
        for arm, values in plans.items():
            _, found, took = run_once("patchcore", data, values)
            for key in KEPT:
                own = found.figures[key].to_json()
                figures[f"{key}, {arm}"] = {**own, "label": f"{own['label']}, {arm}"}
            seconds[f"fit, {arm}"] = took["fit"]
            seconds[f"per image, {arm}"] = found.seconds["predict_per_image"]
            print(arm, found.figures["image_auroc"].value, took, flush=True)
    return Result(
        what="backbone",
        method="patchcore",
        options=common,
        command="python benchmarks/masked_autoencoder.py backbone",
        seeds=(0,),
        data={"name": found.data["name"], "fingerprint": found.data["test_fingerprint"]},
        figures=figures,
        seconds=seconds,
        notes=[
            "own encoder: preset small, 150 epochs of pre-training on the good training images "
            "without those that calibrate. Blocks 1, 3 and 5, channels standardised.",
            f"MobileNet: {published(mobilenet())}, python benchmarks/run.py screw.",
        ],
    )


def speed():
    """Images per second and what the parts cost, on the CPU and on a GPU where there is one."""
    import torch

    from blemish.mask_bank import draw_masks

    figures, started = {}, time.perf_counter()
    draw_masks("block", (16, 16), 64, 8192, np.random.default_rng(0))
    bank = time.perf_counter() - started
    figures["bank_s"] = {"value": bank, "label": "Bank of 8,192 masks, s, once"}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        torch.set_num_threads(2)
        for name, value in speed_on(device).items():
            figures[f"{name}_{device}"] = {**value, "label": f"{value['label']}, {device}"}
            print(name, device, value, flush=True)
    return Result(
        what="speed",
        method=METHOD,
        command="python benchmarks/masked_autoencoder.py speed",
        data={"name": "noise"},
        figures=figures,
        notes=[
            "Medians; the machine was busy with other runs, so compare within this file only.",
            "The network of the default: 256 px, patches of 16, 29.8 M parameters.",
            "CPU: two threads, float32, batches of 4; GPU: bfloat16 in training, batches of 32.",
        ],
    )


def speed_on(device):
    import torch

    from blemish.mask_bank import complementary, count_visible, draw_masks
    from blemish.nets.masked_drawer import ComplementaryErrors, DrawerSize, MaskedDrawer
    from blemish.nets.vit import EncoderSize

    rounds, batch = (2, 2) if SMOKE else ((5, 4) if device == "cpu" else (30, SPEED_BATCH))
    x = torch.rand(batch, 3, 256, 256, device=device)
    visible = count_visible((16, 16), 0.75)
    bank = torch.from_numpy(draw_masks("block", (16, 16), visible, 256, np.random.default_rng(0)))

    def clock(*calls):
        """Median seconds of each, in turns, so that a busy machine is so for all."""
        times = [[] for _ in calls]
        for _ in range(rounds + 1):
            for kept, call in zip(times, calls, strict=True):
                started = time.perf_counter()
                call()
                if device == "cuda":
                    torch.cuda.synchronize()
                kept.append(time.perf_counter() - started)
        return [float(np.median(kept[1:])) for kept in times]

    def pick():
        masks = bank[torch.randint(len(bank), (batch,))].to(device)
        return masks.int().argsort(dim=1, stable=True)[:, :visible]

    def make(norm):
        network = MaskedDrawer(DrawerSize(EncoderSize(norm=norm, dropout=0.0)), (16, 16)).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

        def step():
            with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
                loss = (network(x, pick()) - x).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        return network, step

    (network, dyt), (other, layer) = make("dyt"), make("layer")
    picking, training, with_layer = clock(pick, dyt, layer)
    network.eval()
    judge = ComplementaryErrors(network, torch.from_numpy(complementary((16, 16), 4)), False)
    judge, patches = judge.to(device), torch.rand(batch, 256, 768, device=device)
    place = network.encoder.positions((16, 16))
    with torch.inference_mode():
        judging, few, whole, whole_layer = clock(
            lambda: judge(x),
            lambda: network.encoder(patches[:, :visible], place[:visible], (16,)),
            lambda: network.encoder(patches, place, (16,)),
            lambda: other.encoder(patches, place, (16,)),
        )
    return {
        "training": {"value": batch / training, "label": "Images per second, training"},
        "judging": {"value": batch / judging, "label": "Images per second, four drawings each"},
        "picking": {
            "value": picking / training,
            "label": "Picking masks, share of a step",
            "target": "< 0.01",
        },
        "visible": {
            "value": few / whole,
            "label": "Encoder on 64 patches / on 256",
            "target": "at most 0.35",
        },
        "dyt_training": {"value": training / with_layer, "label": "Step with DyT / with LayerNorm"},
        "dyt_encoder": {"value": whole / whole_layer, "label": "Encoder with DyT / with LayerNorm"},
    }


def main(names):
    for name in names:
        if name == "table":
            from masked_autoencoder_table import main as write

            write()
        elif name.startswith("ablation_"):
            print(ablation(int(name.removeprefix("ablation_"))).write(OUT))
        else:
            print(globals()[name]().write(OUT))


if __name__ == "__main__":
    main(sys.argv[1:])
