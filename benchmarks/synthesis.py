"""Does enlarging the training set help? `python benchmarks/synthesis.py TARGET …`.

Jobs (one results file each, independent of each other; SEED is 100 to 102):
``changed_SEED`` classic augmentation; ``dcgan_SEED`` and ``wgan_gp_SEED`` a GAN, and detectors that
learn from its images; ``alone`` each transform of the published recipe by itself; ``source`` and
``source_updates`` that recipe as it was run; ``ganomaly`` the method that it was tried on;
``tiles`` magnetic tile; ``speed_cuda`` and ``speed_cpu`` images per second of GAN training.
BLEMISH_SMOKE=1 does each with next to nothing. synthesis_table.py makes the paired intervals and
tables of docs/synthesis.md.

All arms of a method have the same number of updates, unless their name says otherwise. The test set
is the same in all arms of a seed and chooses nothing.
"""

import base64
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.datasets.synthetic import add_synthetic
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.images import to_png_bytes
from blemish.reporting.synthesis_page import PER_ROW, contact_sheet
from blemish.run import Run
from blemish.samples import Samples
from blemish.synthesis.curation import Rules
from blemish.synthesis.producing import make_gan, synthesize
from common import RESULTS

ROOT = Path(__file__).parent.parent
SMOKE = bool(os.environ.get("BLEMISH_SMOKE"))
SEEDS = (100, 101, 102)
REGION, GOOD, DEFECTIVE = "cathode", 207, 106
EPOCHS, BATCH = 30, 4  # of the preset small of the VAE
SYNTHETIC = 232  # images that are added: twice the photos that are learned from
FEWEST = 32  # accepted images below which all that are drawn are added
GAN_EPOCHS = 200
GANS = {"dcgan": "DCGAN", "wgan_gp": "WGAN-GP"}
METHODS = {"vae": {}, "patchcore": {"image_size": "auto:128"}}
TRAINED = ("vae", "ganomaly")
ALONE = ("rotate", "scale", "flip_across", "flip_along", "blur", "brightness", "contrast")
# The source: 120 updates on photos, about 9,400 on 10,000 changed copies; here 75 and 7,575.
SOURCE_EPOCHS, COPIES = 3, 101


def plates(seed):
    size = (60, 4) if SMOKE else (GOOD, DEFECTIVE)
    return open_dataset("battery_plate", seed=seed, region=REGION, good=size[0], defective=size[1])


def preset_of(method):
    return "tiny" if SMOKE else "small"


class Study:
    """One results file in the making: arms that were fitted and scored, with all scores."""

    def __init__(self, what, data, method, seed):
        self.what, self.data, self.method, self.seed = what, data, method, seed
        self.figures, self.seconds, self.notes = {}, {}, []
        self.region = {"region": REGION} if data.name == "battery_plate" else {}

    def run(self, arm, data=None, **options):
        method, started = self.method, time.perf_counter()
        chosen = {**METHODS.get(method, {}), "seed": self.seed, "false_alarms": 0.1, **options}
        if SMOKE:
            chosen |= {"image_size": "48"} | ({"epochs": 2} if method in TRAINED else {})
        detector = Detector(method, preset_of(method), **chosen).fit(data or self.data, Run())
        fitted = time.perf_counter()
        found = evaluate(detector, self.data, examples=0)
        scores = [float(i.score) for i in found.images]
        for name in ("image_auroc", "aupro_0.30"):
            self.figures[f"{arm}/{name}"] = found.figures[name].to_json()
        self.figures[f"{arm}/scores"] = {
            "value": None,
            "label": f"{arm}: scores of the test images, in order",
            "values": [round(s, 7) for s in scores],
        }
        self.figures.setdefault(
            "truth",
            {
                "value": None,
                "label": "Test images: 1 = defective",
                "values": [int(i.defective) for i in found.images],
            },
        )
        self.seconds[f"{arm}: fit"] = fitted - started
        print(
            self.what, method, arm, found.figures["image_auroc"].value, fitted - started,
            time.perf_counter() - fitted, flush=True,
        )  # fmt: skip
        self.print = found.data["test_fingerprint"]
        self.write()

    def write(self):
        """After every arm: what a stopped job has measured is kept."""
        self.result().write(RESULTS)

    def result(self):
        return Result(
            what=self.what + ("_smoke" if SMOKE else ""),
            method=self.method,
            options={"preset": preset_of(self.method), **METHODS.get(self.method, {})},
            command=f"python benchmarks/synthesis.py {self.what}",
            seeds=(self.seed,),
            data={"name": self.data.name, "fingerprint": self.print, **self.region},
            figures=self.figures,
            seconds=self.seconds,
            notes=self.notes,
        )


def changed(seed):
    data = plates(seed)
    for method in METHODS:
        study = Study(f"changed_{seed}", data, method, seed)
        study.run("none")
        for preset in ("aligned", "pixel_only", "thesis")[: 1 if SMOKE else 3]:
            study.run(preset, augmentation=preset)


def ganomaly():
    """The method that the source tried it on."""
    study = Study("changed_ganomaly", plates(SEEDS[0]), "ganomaly", SEEDS[0])
    study.run("none")
    for preset in ("aligned", "pixel_only", "thesis")[: 1 if SMOKE else 3]:
        study.run(preset, augmentation=preset)


def drawn(gan, seed):
    """Detectors that learn from what a GAN draws, beside the photos or alone."""
    data = plates(seed)
    with tempfile.TemporaryDirectory() as name:
        made, folder = produce(gan, data.select("train"), Path(name) / gan, seed)
        more = add_synthetic(data, [str(folder)])
        only, share = synthetic_only(more, seed)
        for method in METHODS:
            study = Study(f"{gan}_{seed}", data, method, seed)
            study.figures |= gan_figures(gan, made)
            study.seconds |= {f"{gan}: {k}": v for k, v in made.seconds.items()}
            if folder.name == "all":
                study.notes.append(f"{gan}: nearly none was fit for use, so all are added.")
            study.run(f"plus_{gan}", more, **equal_updates(study, more))
            options = equal_updates(study, only, share)
            study.run(f"only_{gan}", only, calibration_share=share, **options)


def produce(gan, train, folder, seed):
    """Train a GAN, keep what is fit for use; where that is next to nothing, all that it draws."""
    count = 8 if SMOKE else SYNTHETIC

    def make(name, rules=None):
        return synthesize(
            make_gan(gan, preset_of("gan"), epochs=2 if SMOKE else GAN_EPOCHS),
            train,
            folder / name,
            count=count,
            tries=4,
            rules=rules,
            run=Run(seed=seed, say=print, checkpoint=folder / "state"),
        )

    made, kept = make("fit"), folder / "fit"
    print(gan, made.tally, made.distances, made.seconds, flush=True)
    sheets = {"photos": made.learned, gan: made.accepted, f"{gan}_left_out": made.rejected}
    for kind, images in sheets.items():
        if images and seed == SEEDS[0] and not SMOKE:
            # As text: only results files come back from where this may run.
            png = to_png_bytes(contact_sheet(list(images)[:PER_ROW]))
            text = json.dumps({"png": base64.b64encode(png).decode()})
            (RESULTS / f"sheet-{kind}.json").write_text(text)
    if made.tally["accepted"] < FEWEST:
        make("all", Rules(None, None, None))
        kept = folder / "all"
    return made, kept


def gan_figures(gan, made):
    figures = {
        f"{gan}/acceptance": {
            "value": made.acceptance,
            "label": f"{GANS[gan]}: drawn images that are fit for use, share of all "
            f"({', '.join(f'{k} {v}' for k, v in made.tally.items())})",
        }
    }
    for name, (value, deviation) in made.distances.items():
        figures[f"{gan}/distance_{name}"] = {
            "value": value,
            "label": f"{GANS[gan]}: kernel distance to learned photos, {name} ({made.features}; "
            "not comparable with Inception KID)",
            "deviation": deviation,
        }
    return figures


def equal_updates(study, more, share=0.2):
    """Epochs with which a larger or smaller set has as many updates as the photos alone."""
    if study.method not in TRAINED:
        return {}
    return {"epochs": max(1, round(EPOCHS * trained_on(study.data, 0.2) / trained_on(more, share)))}


def trained_on(data, share):
    """Images that the VAE trains on: not those that calibrate or tell the usual error."""
    normals = data.select("train", defective=False)
    synthetic = sum(r.synthetic for r in normals)
    real = len(normals) - synthetic
    learned = real - min(int(share * real + 0.5), len(normals) - 1)
    return learned - (round(0.15 * learned) if learned > 3 else 0) + synthetic


def synthetic_only(more, seed):
    """Synthetic images and, to calibrate on, the photos that calibrate in the other arms."""
    from blemish.datasets.splits import calibration_split

    _, held_out = calibration_split(more, 0.2, seed)
    keys = {r.key for r in held_out}
    kept = [r for r in more if r.split == "test" or r.synthetic or r.key in keys]
    return replace(more, records=tuple(kept)), 0.99


def alone():
    seed = SEEDS[0]
    study = Study("alone", plates(seed), "vae", seed)
    for name in ALONE:
        study.run(f"thesis:{name}", augmentation=f"thesis:{name}")


def source():
    seed = SEEDS[0]
    study = Study("source", plates(seed), "vae", seed)
    study.run("photos", epochs=SOURCE_EPOCHS)
    study.run("copies", epochs=SOURCE_EPOCHS * COPIES, augmentation="thesis")


def source_updates():
    seed = SEEDS[0]
    study = Study("source_updates", plates(seed), "vae", seed)
    study.run("photos_as_many_updates", epochs=SOURCE_EPOCHS * COPIES)


def tiles():
    data = open_dataset("magnetic_tile")
    study = Study("tiles", data, "vae", 0)
    study.run("none", epochs=10)
    study.run("aligned", epochs=10, augmentation="aligned")


def speed(device):
    """Images per second of GAN training, on a GPU or on OMP_NUM_THREADS threads."""
    import torch

    data = plates(SEEDS[0]).select("train")
    figures, presets = {}, {"cuda": {"small": 10, "thesis": 10}, "cpu": {"small": 2}}
    for gan, label in GANS.items():
        for preset, epochs in ({"tiny": 2} if SMOKE else presets[device]).items():
            learner = make_gan(gan, preset, epochs=1)
            samples = Samples(data.select(keys=[r.key for r in data][:48]), learner.geometry())
            learner.learn(samples, Run(device=device))  # what starts once, and reads the images
            learner = make_gan(gan, preset, epochs=epochs)
            started = time.perf_counter()
            learner.learn(samples, Run(device=device))
            rate = len(samples) * epochs / (time.perf_counter() - started)
            figures[f"{gan}/{preset}"] = {
                "value": rate,
                "label": f"{label}, preset {preset}: images per second of training",
            }
            print(gan, preset, rate, flush=True)
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} cores"
    result = Result(
        what=f"gan_speed_{device}" + ("_smoke" if SMOKE else ""),
        command=f"python benchmarks/synthesis.py speed_{device}",
        data={"name": "battery_plate"},
        figures=figures,
        notes=[f"On {where}."],
    )
    result.write(RESULTS)


JOBS = {
    "ganomaly": ganomaly,
    "alone": alone,
    "source": source,
    "source_updates": source_updates,
    "tiles": tiles,
}


def main():
    for name in sys.argv[1:]:
        what, _, seed = name.rpartition("_")
        if name in JOBS:
            JOBS[name]()
        elif what == "speed":
            speed(seed)
        elif what == "changed":
            changed(int(seed))
        else:
            drawn(what, int(seed))


if __name__ == "__main__":
    main()
