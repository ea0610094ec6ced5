"""Two studies of ADTR: `python benchmarks/adtr_studies.py TARGET`, one results file each.

`identity`: can a reconstructor draw what it never saw? Each learns drawn plates; then it is shown
other plates, and textures that no plate has. A network that copies draws both equally well.

`cifar`: the CIFAR-10 protocol, each class normal in turn, ADTR and then ADTR+ with as many images
of CIFAR-100 as labelled anomalies; from $BLEMISH_DATA/cifar with the weights of EfficientNet-B4
($WEIGHTS_B4). `cifar_miniature` runs it on a few drawn images in the same format: it shows that the
command works, and its figures mean nothing.
"""

import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from blemish import Run
from blemish.benchmark import Result
from blemish.datasets.opening import list_categories, open_dataset
from blemish.detector import Detector
from blemish.evaluation import evaluate
from blemish.nets.feature_transformer import RECONSTRUCTORS
from blemish.samples import to_float
from common import FEATURES_MB, features_folder, main, mobilenet, published

SIZE = 256
IDENTITY_EPOCHS = 20
SHOWN = 16  # images of each kind


# ---------------------------------------------------------------------- identity


def textures():
    """Kind to (N, H, W, 3) uint8 images that look like no plate."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    found = {"stripes": [], "checks": [], "specks": []}
    for seed in range(SHOWN):
        random = np.random.default_rng(seed)
        low, high = random.integers(0, 256, (2, 3))
        width, angle = random.integers(4, 24), random.uniform(0, np.pi)
        along = rows * np.sin(angle) + columns * np.cos(angle)
        pattern = {
            "stripes": (along // width) % 2,
            "checks": (rows // width + columns // width) % 2,
            "specks": random.random((SIZE, SIZE)) < 0.5,
        }
        for kind, values in pattern.items():
            found[kind].append(np.where(values[..., None] > 0, high, low).astype(np.uint8))
    return {kind: np.stack(images) for kind, images in found.items()}


def error(method, images):
    """Mean over images of the length of the difference, by the mean length of the features."""
    ratios = []
    for view in to_float(images):
        kept = (method._join(method.backbone_, view[None]) - method.mean_) * method.scale_
        ratios.append(method._difference(view).mean() / np.linalg.norm(kept, axis=3).mean())
    return float(np.mean(ratios))


def identity(epochs=IDENTITY_EPOCHS, size=SIZE, what="identity"):
    data = open_dataset("battery_plate", seed=100)
    figures = {}
    with features_folder() as folder:
        for kind in RECONSTRUCTORS:
            options = {"epochs": epochs, "reconstructor": kind, "calibration": "split"}
            options |= {"image_size": str(size), "fit": "stretch"}
            given = Run(feature_cache=folder, feature_cache_mb=FEATURES_MB)
            detector = Detector("adtr", "small", **options).fit(data, given)
            method, geometry = detector.pipeline.method, detector.pipeline.geometry
            good = data.select("test", defective=False).records[:SHOWN]
            plates = np.concatenate([geometry.views(data.image(r))[0] for r in good])
            found = {"plates": error(method, plates)}
            if size == SIZE:
                found |= {name: error(method, images) for name, images in textures().items()}
            for name, value in found.items():
                label = f"{kind}: relative error of the features of {name}"
                figures[f"{kind}_{name}"] = {"value": value, "label": label}
                if name != "plates":
                    times = f"{kind}: error of {name}, times that of plates"
                    figures[f"{kind}_{name}_ratio"] = {
                        "value": value / found["plates"],
                        "label": times,
                    }
            print(kind, {k: round(v, 3) for k, v in found.items()}, flush=True)
    return Result(
        what=what,
        method="adtr",
        options={"preset": "small", **options},
        command=f"python benchmarks/adtr_studies.py {what}",
        seeds=(0,),
        data={"name": "battery_plate"},
        figures=figures,
        notes=[f"{SHOWN} images of each kind; the plates are good and were not learned from."],
    )


def identity_smoke():
    return identity(1, 64, "identity_smoke")


# ---------------------------------------------------------------------- CIFAR-10


def cifar():
    options = {"weights": os.environ.get("WEIGHTS_B4", "")}
    return protocol("cifar", Path(os.environ["BLEMISH_DATA"]) / "cifar", options, {})


def cifar_miniature():
    options = {k: v for k, v in mobilenet().items() if k in {"backbone", "weights"}}
    options |= {"strides": "2,4,8,16", "epochs": 4, "train_batch": 8}
    with tempfile.TemporaryDirectory() as folder:
        draw_miniature(Path(folder))
        return protocol("cifar_miniature", Path(folder), options, {"epochs": 2})


def draw_miniature(root, train=12, test=4):
    """A few images of every class in the binary formats of CIFAR-10 and CIFAR-100."""

    def entry(label, seed, before=()):
        random = np.random.default_rng([label, seed, *before])
        planes = random.integers(40, 90, (3, 32, 32)).astype(np.uint8)
        planes[label % 3, :, :: label // 3 + 2] += 100
        return bytes([*before, label]) + planes.tobytes()

    ten, hundred = root / "cifar-10-batches-bin", root / "cifar-100-binary"
    for folder in (ten, hundred):
        folder.mkdir()
    for number in range(1, 6):
        images = [entry(c, i) for i in range(number - 1, train, 5) for c in range(10)]
        (ten / f"data_batch_{number}.bin").write_bytes(b"".join(images))
    images = [entry(c, 1000 + i) for i in range(test) for c in range(10)]
    (ten / "test_batch.bin").write_bytes(b"".join(images))
    images = [entry(c, i, before=(c // 5,)) for i in range(1) for c in range(40)]
    (hundred / "train.bin").write_bytes(b"".join(images))
    names = "\n".join(f"class_{c}" for c in range(100))
    (hundred / "fine_label_names.txt").write_text(names)


def protocol(what, root, options, later):
    """Each class is normal once: image AUROC of ADTR and of ADTR+, and their means."""
    found = {"adtr": {}, "adtr_plus": {}}
    for category in list_categories(f"cifar:{root}"):
        own = {**options, "calibration": "split"}
        start = None
        for method, few in (("adtr", {}), ("adtr_plus", {"anomalies": "true"})):
            data = open_dataset(f"cifar:{root}", category=category, **few)
            more = {**later, "labels": "images"} if few else {}
            start = Detector(method, "cifar", **{**own, **more}).fit(data, init=start)
            value = evaluate(start, data, examples=0).figures["image_auroc"].value
            found[method][category] = value
            print(method, category, round(value, 3), flush=True)
    figures = {
        f"{method}_{category}": {"value": value, "label": f"{method}, {category}: image AUROC"}
        for method, values in found.items()
        for category, value in values.items()
    }
    for method, values in found.items():
        mean = statistics.fmean(values.values())
        figures[method] = {"value": mean, "label": f"{method}: mean image AUROC"}
    return Result(
        what=what,
        method="adtr",
        options=published(options),
        command=f"python benchmarks/adtr_studies.py {what}",
        seeds=(0,),
        data={"name": "cifar"},
        figures=figures,
        notes=["ADTR+ has seen labelled images of other classes: not to be ranked beside ADTR."],
    )


if __name__ == "__main__":
    main(globals())
