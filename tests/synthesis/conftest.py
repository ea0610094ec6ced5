from functools import partial

import numpy as np
import pytest

from blemish.datasets.base import DataSet, Record
from blemish.images import write_png
from drawn import draw_good
from helpers import paint


def parts(count, draw=draw_good, height=50, width=30):
    """Good training photos, each of a part of its own."""
    records = tuple(
        Record(f"{i:03d}", partial(draw, i, height, width), False, "good", f"{i:03d}", "train")
        for i in range(count)
    )
    return DataSet("parts", records)


@pytest.fixture
def photos():
    return parts(44)


@pytest.fixture
def noise():
    """Forty arrays (50, 30, 3) uint8 of noise."""
    return [paint(i, 50, 30) for i in range(40)]


@pytest.fixture
def folder_of_photos(tmp_path):
    for i in range(44):
        write_png(tmp_path / f"photos/good/{i:02d}.png", np.array(draw_good(i, 50, 30)))
    return tmp_path / "photos"
