"""The best setting of PatchCore on screw, chosen without its test images.

`choose`: good training photos that the bank never saw are taken twice, as they are and with one
mark drawn on the part (a scratch, a patch from elsewhere on the part, a bent contour, a smeared
spot), and every setting has to tell them apart. `test`: the chosen setting, on the test images,
once. `tiles`: the same setting, cut into tiles.
"""

import json
import sys
from functools import cache, partial

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage

from blemish.benchmark import Result, pool_seeds, run_once
from blemish.datasets.base import DataSet, Record
from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import rank_groups
from blemish.images import read_image
from common import RESULTS, mobilenet, published

HELD_OUT = 64  # good training photos that only the surrogate test sees
SEED = 7
ARMS = {
    "256 px, strides 8, 16": {},
    "256 px, strides 8, 16, coreset 5 %": {"coreset": "0.05"},
    "256 px, strides 8, 16, neighbourhood 1": {"neighbourhood": "1"},
    "256 px, strides 8, 16, score of the worst patch": {"score": "patch"},
    "256 px, strides 8, 16, blur 2": {"blur": "2"},
    "256 px, strides 4, 8, 16": {"strides": "4,8,16"},
    "256 px, stride 8": {"strides": "8"},
    "384 px, strides 8, 16": {"image_size": "384", "blur": "6"},
    "384 px, strides 8, 16, blur 3": {"image_size": "384", "blur": "3"},
    "512 px, strides 8, 16": {"image_size": "512", "blur": "8"},
    "512 px, strides 8, 16, blur 4": {"image_size": "512", "blur": "4"},
    "512 px, strides 8, 16, blur 4, neighbourhood 1": {
        "image_size": "512",
        "blur": "4",
        "neighbourhood": "1",
    },
    "512 px, stride 16": {"image_size": "512", "blur": "4", "strides": "16", "coreset": "0.04"},
}


def setting(name):
    return {**mobilenet(), **ARMS[name]}


def surrogate():
    """Training photos of screw as a data set of its own; its test images are marked copies."""
    train = open_dataset("mvtec_ad", category="screw").select("train")
    held = set(rank_groups((r.group for r in train), "surrogate")[:HELD_OUT])
    records = []
    for number, record in enumerate(train):
        if record.group not in held:
            records.append(record)
            continue
        kind = list(MARKS)[number % len(MARKS)]
        draw = partial(marked, record.image, kind, number)
        name = f"test/{kind}/{number}"
        records.append(Record(f"{name}-good", record.image, False, "good", f"{name}g", "test"))
        records.append(
            Record(name, lambda d=draw: d()[0], True, kind, name, "test", lambda d=draw: d()[1])
        )
    return DataSet("mvtec_ad/screw, training photos with drawn marks", tuple(records))


@cache
def marked(path, kind, number):
    """A photo with one mark on the part, and where it is."""
    image = read_image(path)
    generator = np.random.default_rng([SEED, number])
    grey = image.mean(axis=2)
    # Halfway between the part's dark and the background's bright: shadows are left out.
    part = ndimage.binary_opening(grey < np.percentile(grey, [2, 50]).mean(), iterations=2)
    labels, _ = ndimage.label(part)
    part = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    inner = ndimage.binary_erosion(part, iterations=4)
    places = np.argwhere(inner)
    row, column = places[generator.integers(len(places))]
    changed = MARKS[kind](image.astype(np.float32), row, column, places, generator)
    changed = changed.clip(0, 255).round().astype(np.uint8)
    return changed, np.abs(changed.astype(int) - image).max(axis=2) > 8


def scratch(image, row, column, places, generator):
    angle, length = generator.uniform(0, np.pi), generator.uniform(15, 45)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    layer = Pillow.new("L", image.shape[1::-1])
    line = [tuple(np.add((column, row), end)) for end in (step, -step)]
    ImageDraw.Draw(layer).line(line, fill=255, width=int(generator.integers(2, 5)))
    weight = ndimage.gaussian_filter(np.asarray(layer, np.float32) / 255, 0.8)[:, :, None]
    return image + weight * generator.choice([-1, 1]) * generator.uniform(40, 90)


def paste(image, row, column, places, generator):
    far = places[np.abs(places - (row, column)).max(axis=1) > 60]
    source = far[generator.integers(len(far))]
    weight = bump(image, row, column, generator.uniform(7, 16))
    shifted = np.roll(image, (row - source[0], column - source[1]), (0, 1))
    return image * (1 - weight) + shifted * weight


def bend(image, row, column, places, generator):
    weight = bump(image, row, column, generator.uniform(10, 20))[:, :, 0]
    angle, size = generator.uniform(0, 2 * np.pi), generator.uniform(5, 10)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    at = [rows + weight * size * np.sin(angle), columns + weight * size * np.cos(angle)]
    bent = [ndimage.map_coordinates(image[:, :, c], at, order=1, mode="nearest") for c in range(3)]
    return np.stack(bent, axis=2)


def smear(image, row, column, places, generator):
    weight = bump(image, row, column, generator.uniform(7, 14))
    smooth = ndimage.gaussian_filter(image, (5, 5, 0))
    return image * (1 - weight) + smooth * weight


def bump(image, row, column, radius):
    """(H, W, 1) in [0, 1]: 1 at a place, soft at the edge, 0 beyond two radii."""
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(rows - row, columns - column) / radius
    return np.clip(2 - distance, 0, 1).astype(np.float32)[:, :, None]


MARKS = {"scratch": scratch, "paste": paste, "bend": bend, "smear": smear}


def choose():
    """Every setting on the surrogate; arms that the results file already has are not run again."""
    data = surrogate()
    path = RESULTS / "choose-patchcore-mvtec_ad_screw.json"
    figures = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}
    for name in ARMS:
        if f"{name}: image_auroc" in figures:
            continue
        _, evaluation, seconds = run_once("patchcore", data, setting(name))
        for key in ("image_auroc", "pixel_auroc", "aupro_0.30"):
            figure = evaluation.figures[key].to_json()
            figures[f"{name}: {key}"] = {**figure, "label": f"{figure['label']}, {name}"}
        figures[f"{name}: seconds"] = {"value": sum(seconds.values()), "label": f"Seconds, {name}"}
        print(name, {k: f["value"] for k, f in figures.items() if k.startswith(name)}, flush=True)
        Result(
            what="choose",
            method="patchcore",
            options=published(mobilenet()),
            command="python benchmarks/patchcore_study.py choose",
            seeds=(SEED,),
            data={"name": "mvtec_ad/screw"},
            figures=figures,
            notes=[
                f"No test image was read: {HELD_OUT} good training photos, as they are and with "
                "one drawn mark each, are told apart by a bank of the other training photos."
            ],
        ).write(RESULTS)


def best():
    """The name of the setting with the highest image AUROC of `choose`."""
    path = RESULTS / "choose-patchcore-mvtec_ad_screw.json"
    figures = json.loads(path.read_text("utf-8"))["figures"]
    return max(ARMS, key=lambda name: figures[f"{name}: image_auroc"]["value"])


def on_test(what, options, command, notes):
    data = open_dataset("mvtec_ad", category="screw")
    _, evaluation, seconds = run_once("patchcore", data, options)
    return Result(
        what=what,
        method="patchcore",
        options=published(options),
        command=f"python benchmarks/patchcore_study.py {command}",
        seeds=(0,),
        data={"name": data.name, "fingerprint": evaluation.data["test_fingerprint"]},
        figures=pool_seeds([evaluation.figures]),
        seconds={**seconds, "per_image": evaluation.seconds["predict_per_image"]},
        notes=notes,
    )


def test():
    note = f"Chosen by benchmarks/patchcore_study.py choose: {best()}."
    on_test("best", setting(best()), "test", [note]).write(RESULTS)


def tiles():
    """Screw at 512 px as tiles of 256 px; `test` is the same setting as one view."""
    note = (
        "Tiles of 256 px with an overlap of 25 %; best-patchcore-mvtec_ad_screw.json is one view."
    )
    on_test("tiles", {**setting(best()), "tile": "256"}, "tiles", [note]).write(RESULTS)


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        globals()[asked]()
