"""Few-defect splits: which images move, which leave, which stay."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from blemish.datasets.base import DataSet, Record
from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import few_defects
from blemish.detector import Detector
from blemish.errors import DataError, OptionError, OverlapError, UnknownNameError
from blemish.evaluation import evaluate
from helpers import make_mvtec_category, paint, spot


def image_of(number: int):
    return lambda: paint(number)


def defect(number: int, kind: str, group: str, size: int = 2) -> Record:
    def mask():
        return spot(size=size)

    return Record(f"test/{kind}/{number}", image_of(number), True, kind, group, "test", mask)


def good(number: int, split: str = "train", group: str = "") -> Record:
    key = f"{split}/good/{number}"
    return Record(key, image_of(900 + number), False, "good", group or key, split)


def tiles(parts: int = 5, photos: int = 3) -> DataSet:
    """Two types of defect, several photos of each part, and one part that has both."""
    dents = [defect(100 * p + i, "dent", f"d{p}") for p in range(parts) for i in range(photos)]
    cracks = [
        defect(5000 + 100 * p + i, "crack", f"c{p}") for p in range(parts) for i in range(photos)
    ]
    both = [defect(9000, "crack", "d0"), good(9, "test", "d1"), good(8, "test")]
    return DataSet("tiles", (*(good(i) for i in range(4)), *dents, *cracks, *both))


def moved(data: DataSet) -> list[Record]:
    return list(data.select("train", defective=True))


@pytest.mark.parametrize("draw", range(4))
def test_as_many_of_each_type_as_asked_move_one_of_each_part(draw):
    split = few_defects(tiles(), 2, draw)
    assert Counter(r.defect_type for r in moved(split)) == {"dent": 2, "crack": 2}
    assert len({r.group for r in moved(split)}) == 4


@pytest.mark.parametrize("draw", range(4))
def test_no_part_has_photos_on_both_sides_of_any_type(draw):
    data = tiles()
    split = few_defects(data, 2, draw)
    split.check_disjoint()
    groups = {r.group for r in moved(split)}
    kept = {r.key for r in data if r.split == "test" and r.group not in groups}
    assert {r.key for r in split.select("test")} == kept
    assert {r.key for r in split.select("train", defective=False)} == {
        r.key for r in data.select("train")
    }


def test_draws_differ_and_each_is_always_the_same():
    draws = [frozenset(r.key for r in moved(few_defects(tiles(8), 2, d))) for d in range(5)]
    assert len(set(draws)) == 5
    backwards = DataSet("tiles", tiles(8).records[::-1])
    assert frozenset(r.key for r in moved(few_defects(backwards, 2, 3))) == draws[3]


def test_more_masks_of_the_same_draw_contain_the_fewer():
    one = {r.key for r in moved(few_defects(tiles(8), 1))}
    three = {r.key for r in moved(few_defects(tiles(8), 3))}
    assert one < three


def test_empty_and_missing_masks_are_never_drawn():
    unmarked = Record("test/dent/x", image_of(1), True, "dent", "x", "test", None)
    records = [good(0), good(1), unmarked, defect(2, "dent", "y", size=0), defect(3, "dent", "z")]
    split = few_defects(DataSet("some", tuple(records)), 1)
    assert [r.group for r in moved(split)] == ["z"]
    with pytest.raises(DataError, match="few_defects=2 needs marked defects of 2 parts"):
        few_defects(DataSet("some", tuple(records)), 2)


def test_too_few_parts_of_a_type_are_named_with_a_way_out():
    with pytest.raises(DataError, match=r"'crack' has 6 .* unseen=crack"):
        few_defects(tiles(5), 7)
    # The part that has both types was taken by the first.
    with pytest.raises(DataError, match=r"'dent' has 4 .* unseen=dent"):
        few_defects(tiles(5), 6)


def test_a_type_that_is_left_out_stays_in_the_test_and_out_of_training():
    split = few_defects(tiles(), 2, unseen=["crack"])
    assert {r.defect_type for r in moved(split)} == {"dent"}
    assert sum(r.defect_type == "crack" for r in split.select("test")) >= 15
    with pytest.raises(UnknownNameError, match="Did you mean 'crack'"):
        few_defects(tiles(), 2, unseen=["crak"])


def test_what_cannot_be_split_is_refused():
    with pytest.raises(OptionError, match="at least 1"):
        few_defects(tiles(), 0)
    with pytest.raises(DataError, match="no defective test images"):
        few_defects(DataSet("good", (good(0), good(1))), 1)
    with pytest.raises(DataError, match="no defective test images"):
        few_defects(tiles(), 1, unseen=["crack", "dent"])


def test_the_split_is_an_option_of_every_data_set_and_says_what_it_did(tmp_path):
    root = make_mvtec_category(tmp_path / "part", defects={"dent": 4, "scratch": 3})
    data = open_dataset(root, few_defects="2", draw="1", unseen="scratch")
    assert Counter(r.defect_type for r in moved(data)) == {"dent": 2}
    assert "few_defects=2, draw 1: 2 marked defects" in data.warnings[-1]
    assert not moved(open_dataset(root))


def test_a_detector_is_only_evaluated_on_the_draw_that_it_learned_from(tmp_path: Path):
    data = few_defects(tiles(), 2, 0)
    normals = tuple(r for r in data if not r.defective or r.split == "test")
    detector = Detector("patchcore", preset="tiny", false_alarms=0.6).fit(
        DataSet("normals", normals)
    )
    seen = set(moved(data))
    detector._fitted.__dict__["learned"] = (
        *detector._fitted.learned,
        *(data.hashes[r.key] for r in seen),
    )
    assert np.isfinite(evaluate(detector, data).threshold)
    with pytest.raises(OverlapError, match="the same few_defects and draw"):
        evaluate(detector, few_defects(tiles(), 2, 1))
