from collections import Counter

import pytest

from blemish.datasets.base import DataSet
from blemish.datasets.magnetic_tile import MagneticTile
from blemish.datasets.opening import open_dataset
from blemish.errors import DataError
from helpers import make_magnetic_tile


def reader(root, **options):
    return MagneticTile(root, MagneticTile.Options(**options))


def test_the_tree_is_read_with_its_groups(tmp_path):
    make_magnetic_tile(tmp_path)
    assert reader(tmp_path).categories() == ()
    records, warnings = reader(tmp_path, mm_per_pixel=0.1).records(None)
    assert Counter((r.split, r.defect_type) for r in records) == {
        ("train", "good"): 6,
        ("test", "good"): 2,
        ("test", "blowhole"): 2,
        ("test", "uneven"): 1,
    }
    assert {r.group for r in records if r.split == "train"} == set("abc")
    assert {r.mm_per_pixel for r in records} == {0.1}
    assert not warnings


def test_an_empty_mask_is_a_defect_without_a_region(tmp_path):
    records, _ = reader(make_magnetic_tile(tmp_path)).records(None)
    data = DataSet("tiles", tuple(records))
    for record in records:
        mask = data.mask(record, (6, 8))
        if record.defect_type == "uneven":
            assert record.defective
            assert mask is None
        else:
            assert mask.any() == record.defective


def test_without_its_groups_it_is_refused(tmp_path):
    table = make_magnetic_tile(tmp_path) / "groups.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match=r"no group for 1 images \(first: test/uneven"):
        reader(tmp_path).records(None)
    table.write_text("file,tile\n1,2")
    with pytest.raises(DataError, match="not a CSV file with the columns image and group"):
        reader(tmp_path).records(None)
    table.unlink()
    with pytest.raises(DataError, match=r"groups\.csv is missing"):
        reader(tmp_path).records(None)


def test_a_tree_without_its_parts_is_refused(tmp_path):
    (make_magnetic_tile(tmp_path) / "train").rename(tmp_path / "training")
    with pytest.raises(DataError, match="good does not exist"):
        reader(tmp_path).records(None)


def test_the_real_set_has_its_counts_and_keeps_groups_on_one_side(real_data):
    data = open_dataset(real_data("magnetic_tile"))
    assert data.reader == data.name == "magnetic_tile"
    train, good = data.select("train"), data.select("test", defective=False)
    assert (len(train), len(good), len(data.select("test", defective=True))) == (766, 155, 392)
    assert (len({r.group for r in train}), len({r.group for r in good})) == (151, 29)
    assert not {r.group for r in train} & {r.group for r in data.select("test")}
    uneven = [r for r in data if r.defect_type == "uneven"]
    masks = [data.mask(r, data.image(r).shape[:2]) for r in uneven]
    assert sum(mask is None for mask in masks) == 4
