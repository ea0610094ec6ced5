"""Small drawn images and folders that look like the official trees of public data sets."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from blemish.datasets.base import DataSet, Record
from blemish.images import write_png
from blemish.preprocess import Geometry
from blemish.samples import Samples


def paint(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    """(H, W, 3) uint8 noise: every seed gives another image."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def spot(height: int = 6, width: int = 8, size: int = 2) -> np.ndarray:
    """(H, W) bool mask with one square in the upper left corner; empty for size 0."""
    mask = np.zeros((height, width), bool)
    mask[:size, :size] = True
    return mask


def make_images(folder: Path, names: Iterable[str], first_seed: int | None = None) -> Path:
    """Write one PNG file per name; seeds differ between folders unless given."""
    start = sum(folder.as_posix().encode()) * 1000 if first_seed is None else first_seed
    for i, name in enumerate(names):
        write_png(folder / f"{name}.png", paint(start + i))
    return folder


def make_masks(folder: Path, names: Iterable[str], size: int = 2) -> Path:
    """Write one PNG mask per name."""
    for name in names:
        write_png(folder / f"{name}.png", spot(size=size))
    return folder


def numbers(count: int, suffix: str = "") -> list[str]:
    """``["000", "001", …]``."""
    return [f"{i:03d}{suffix}" for i in range(count)]


def make_mvtec_category(
    root: Path, train: int = 6, good: int = 2, defects: Mapping[str, int] | None = None
) -> Path:
    """The official tree of one MVTec AD category in miniature."""
    make_images(root / "train/good", numbers(train))
    make_images(root / "test/good", numbers(good))
    for kind, count in ({"dent": 2, "scratch": 1} if defects is None else defects).items():
        make_images(root / "test" / kind, numbers(count))
        make_masks(root / "ground_truth" / kind, numbers(count, "_mask"))
    return root


def make_magnetic_tile(root: Path) -> Path:
    """Magnetic tile in miniature: 2 exposures each of 3 + 1 good and 1 + 1 defective tiles."""
    rows = []
    for folder, tiles in {"train/good": "abc", "test/good": "d", "test/blowhole": "e"}.items():
        names = [f"exp{e}_num_{tile}" for tile in tiles for e in (1, 2)]
        make_images(root / folder, names)
        rows += [(f"{folder}/{name}.png", name[-1], name[3]) for name in names]
    make_masks(root / "ground_truth/blowhole", ["exp1_num_e_mask", "exp2_num_e_mask"])
    make_images(root / "test/uneven", ["exp1_num_f"])
    make_masks(root / "ground_truth/uneven", ["exp1_num_f_mask"], size=0)
    rows.append(("test/uneven/exp1_num_f.png", "f", "1"))
    with (root / "groups.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "group", "exposure"), *rows])
    return root


def drawn_samples(count: int = 6, side: int = 16, first_seed: int = 0) -> Samples:
    """Good images of noise, each a part of its own, as a method reads them."""
    records = tuple(
        Record(
            f"{i:03d}",
            lambda i=i: paint(first_seed + i, side, side),
            False,
            "good",
            f"{i:03d}",
            "train",
        )
        for i in range(count)
    )
    return Samples(DataSet("noise", records), Geometry(size=(side, side)))
