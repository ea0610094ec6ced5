"""Which images an exported file is compared on."""

import pytest

from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.detector import Detector
from blemish.errors import DataError
from blemish.exporting.gate_images import gate_images, recorded_images
from blemish.images import write_png
from drawn import draw_good, plates


@pytest.fixture
def on_disk(tmp_path):
    for i in range(12):
        write_png(tmp_path / f"photos/good/{i:02d}.png", draw_good(i))
    data = open_dataset(tmp_path / "photos")
    split = {"calibration": "split", "calibration_share": 0.25}
    detector = Detector("patchcore", "tiny", false_alarms=0.4, **split).fit(data)
    return Detector.load(detector.save(tmp_path / "part.blemish"))


def test_recorded_images_are_used_while_they_are_the_same(on_disk, tmp_path):
    assert len(recorded_images(on_disk)) == 3
    chosen = gate_images(on_disk, None)
    assert chosen.what == "3 recorded calibration images and 3 damaged ones"
    paths = [p for p, _ in on_disk.content().header["paths"]]
    write_png(paths[0], draw_good(99))
    (tmp_path / "photos/good" / paths[1].rsplit("/", 1)[-1]).unlink()
    assert len(recorded_images(on_disk)) == 1


def test_drawn_ones_are_used_where_nothing_is_left(fitted):
    assert "drawn plates" in gate_images(fitted, None).what


def test_a_data_set_is_looked_through_evenly(fitted):
    chosen = gate_images(fitted, plates(train=40, good=10, defective=10))
    assert len(chosen.images) == 20
    assert len(chosen.good) < 16


def test_all_images_are_brought_to_a_size(fitted):
    chosen = gate_images(fitted, plates(), (30, 50))
    assert {i.shape for i in chosen.images} == {(30, 50, 3)}


def test_an_empty_data_set_is_refused(fitted):
    with pytest.raises(DataError, match="no images to compare on"):
        gate_images(fitted, DataSet("empty", ()))
