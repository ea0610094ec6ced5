import numpy as np
import pytest

from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.datasets.saving import save_dataset
from blemish.errors import OptionError
from scenes import cards

GIVEN = {"view": "photo", "size": "320x480", "good": 3, "defective": 2}


@pytest.mark.parametrize("format", ["bmp", "png", "tiff"])
def test_what_is_written_is_read_back_alike(tmp_path, format):
    data = cards(3, 2)
    again = open_dataset(save_dataset(data, tmp_path / "out", {}, format=format))
    assert {r.key for r in again} == {r.key.replace(".bmp", f".{format}") for r in data}
    by_name = {r.key.rpartition(".")[0]: r for r in data}
    for record in again:
        own = by_name[record.key.rpartition(".")[0]]
        assert (record.split, record.defect_type) == (own.split, own.defect_type)
        image = again.image(record)
        np.testing.assert_array_equal(image, data.image(own))
        mask = again.mask(record, image.shape[:2])
        np.testing.assert_array_equal(mask, data.mask(own, image.shape[:2]))


def test_drawn_photos_are_the_same_from_several_processes(tmp_path):
    data = open_dataset("battery_plate", **GIVEN)
    again = open_dataset(save_dataset(data, tmp_path, GIVEN, workers=2))
    assert len(again) == 5
    for record in again:
        own = next(r for r in data if r.key[:-4] == record.key[:-4])
        np.testing.assert_array_equal(again.image(record), data.image(own))


def test_an_interrupted_run_goes_on_and_another_one_is_refused(tmp_path):
    data = cards(3, 1)
    few = DataSet("cards", data.records[:2])
    save_dataset(few, tmp_path, {"seed": 1})
    first = tmp_path / "train/good/000.bmp"
    written = first.stat().st_mtime_ns
    save_dataset(data, tmp_path, {"seed": 1})
    assert first.stat().st_mtime_ns == written
    assert len(open_dataset(tmp_path)) == 4
    with pytest.raises(OptionError, match="drawn otherwise; give a new folder"):
        save_dataset(data, tmp_path, {"seed": 2})


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(OptionError, match="format='gif' is not one of bmp, png, tiff"):
        save_dataset(cards(2, 0), tmp_path, {}, format="gif")
