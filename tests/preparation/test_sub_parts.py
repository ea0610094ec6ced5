from dataclasses import replace

import numpy as np
import pytest

from blemish.datasets.opening import open_dataset
from blemish.errors import DataError
from blemish.preparation.regions import read_regions
from blemish.preparation.sub_parts import split_parts
from scenes import cards

HALVES = read_regions(["upper=0:1/2", "lower=1/2:1"])


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return split_parts(cards(3, 2), tmp_path_factory.mktemp("regions"), HALVES)


def test_each_region_is_a_data_set_that_tiles_the_part(split):
    data = cards(3, 2)
    upper, lower = (open_dataset(split.manifests[name]) for name in ("upper", "lower"))
    assert len(upper) == len(lower) == split.images == 5
    by_group = {record.group: record for record in data}
    for one, other in zip(upper, lower, strict=True):
        assert one.group == other.group
        whole = by_group[one.group]
        assert one.split == other.split == whole.split
        both = np.concatenate([upper.image(one), lower.image(other)])
        np.testing.assert_array_equal(both, data.image(whole))


def test_labels_come_from_the_masks_and_not_from_the_part(split):
    upper, lower = (open_dataset(split.manifests[name]) for name in ("upper", "lower"))
    assert split.defective == {"upper": 2, "lower": 0}
    assert [r.defect_type for r in upper.select("test")] == ["spot", "spot"]
    assert not len(lower.select(defective=True))
    assert len(lower.select("test", defective=False)) == 2
    record = upper.select(defective=True).records[0]
    whole = cards(3, 2).records[3]
    np.testing.assert_array_equal(upper.mask(record, (360, 480)), whole.mask()[:360])


def test_a_defect_without_a_mask_is_refused(tmp_path):
    data = cards(1, 2)
    bare = replace(data, records=(data.records[0], replace(data.records[1], mask=None)))
    with pytest.raises(DataError, match=r"1 defective images have no mask \(first: test/spot/001"):
        split_parts(bare, tmp_path, HALVES)
    assert not list(tmp_path.rglob("*"))


def test_a_mask_outside_every_region_is_refused(tmp_path):
    lower = read_regions(["lower=1/2:1"], gaps=True)
    with pytest.raises(DataError, match="lies outside every region"):
        split_parts(cards(1, 1), tmp_path, lower)
    assert not list(tmp_path.rglob("manifest.csv"))


def test_a_region_without_a_pixel_is_refused(tmp_path):
    sliver = read_regions(["sliver=0:1/5000", "rest=1/5000:1"])
    with pytest.raises(DataError, match="The region sliver has no pixel"):
        split_parts(cards(1, 0), tmp_path, sliver)
