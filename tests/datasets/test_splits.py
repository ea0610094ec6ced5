from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.datasets.base import DataSet, Record
from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import (
    calibration_split,
    normal_folds,
    rank_groups,
    split_off_test,
)
from blemish.errors import DataError, OptionError


def record(key: str, group: str | None = None, **fields: object) -> Record:
    base = Record(key, Path(key), False, "good", group or key, "train")
    return replace(base, **fields)


def data_of(*records: Record) -> DataSet:
    return DataSet("parts", records)


def photos(parts: int, each: int = 3) -> list[Record]:
    return [record(f"{p}_{i}", f"part{p}") for p in range(parts) for i in range(each)]


def groups(data: DataSet) -> set[str]:
    return {r.group for r in data}


def test_all_photos_of_a_part_fall_on_one_side_and_none_is_lost():
    data = data_of(*photos(10))
    learn, calibrate = calibration_split(data, 0.3, seed=0)
    assert not groups(learn) & groups(calibrate)
    assert len(groups(calibrate)) == 3
    assert {r.key for r in learn} | {r.key for r in calibrate} == {r.key for r in data}


def test_a_part_falls_on_the_same_side_for_every_region_and_order():
    one = calibration_split(data_of(*photos(20)), 0.25, seed=5)[1]
    other = [replace(r, key=f"cathode/{r.key}") for r in reversed(photos(20, each=1))]
    assert groups(calibration_split(data_of(*other), 0.25, seed=5)[1]) == groups(one)


def test_another_seed_gives_another_split():
    data = data_of(*photos(30, 1))
    sides = {frozenset(groups(calibration_split(data, 0.2, seed)[1])) for seed in range(5)}
    assert len(sides) == 5


def test_the_ranking_is_the_documented_hash():
    # By `printf '0|c' | sha256sum` and so on: 1d06…, 325e… (a), 7a29… (b), c7dd… (d).
    assert rank_groups(["d", "c", "a", "b", "a"], 0) == ["c", "a", "b", "d"]
    # 1d34…, c351…, d2b0…, d55e…
    assert rank_groups("abcd", 1) == ["b", "d", "c", "a"]


def test_only_good_training_images_take_part():
    others = [
        record("t", split="test"),
        record("v", split="val"),
        record("d", defective=True, defect_type="dent"),
    ]
    learn, calibrate = calibration_split(data_of(*photos(4, 1), *others), 0.5, seed=0)
    assert Counter(r.split for r in (*learn, *calibrate)) == {"train": 4}
    assert not any(r.defective for r in (*learn, *calibrate))


def test_parts_seen_defective_and_synthetic_images_never_calibrate():
    spoiled = [record("bad", "part1", defective=True, defect_type="dent")]
    drawn = [record("drawn", "part2", synthetic=True)]
    for seed in range(10):
        data = data_of(*photos(4), *spoiled, *drawn)
        assert not {"part1", "part2"} & groups(calibration_split(data, 0.7, seed)[1])


@given(st.integers(2, 40), st.floats(0.001, 0.999), st.integers(0, 9))
def test_each_side_has_a_part(parts, share, seed):
    learn, calibrate = calibration_split(data_of(*photos(parts, 2)), share, seed)
    assert groups(learn)
    assert groups(calibrate)
    assert abs(len(groups(calibrate)) - share * parts) <= 1


def test_too_few_parts_are_refused_with_the_count():
    with pytest.raises(DataError, match="3 good training images of 1 parts"):
        calibration_split(data_of(*photos(1)), 0.2, seed=0)
    spoiled = [record(f"b{p}", f"part{p}", defective=True) for p in range(2)]
    with pytest.raises(DataError, match="none can calibrate"):
        calibration_split(data_of(*photos(2), *spoiled), 0.2, seed=0)


@pytest.mark.parametrize("share", [0, 1, -0.1, 20])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(OptionError, match="not between 0 and 1"):
        calibration_split(data_of(*photos(4)), share, seed=0)


def dent(key: str, group: str | None = None) -> Record:
    return record(key, group, defective=True, defect_type="dent")


def test_without_defective_images_all_is_for_training():
    assert {r.split for r in split_off_test(photos(5), 0.5, 0)} == {"train"}


def test_defective_parts_and_a_share_of_the_good_ones_are_for_testing():
    split = split_off_test([*photos(200, 2), dent("d"), dent("e", "part7")], 0.3, 0)
    test = {r.group for r in split if r.split == "test"}
    assert {"d", "part7"} <= test
    assert not test & {r.group for r in split if r.split == "train"}
    assert 0.2 < len(test) / 200 < 0.4


def test_adding_images_moves_none_to_the_other_side():
    before = {r.key: r.split for r in split_off_test([*photos(50, 1), dent("d")], 0.3, 1)}
    after = {r.key: r.split for r in split_off_test([*photos(90, 1), dent("d")], 0.3, 1)}
    assert {key: after[key] for key in before} == before


def test_few_good_parts_leave_one_on_each_side():
    for share in (0.01, 0.95):
        for seed in range(10):
            split = split_off_test([*photos(2, 1), dent("d")], share, seed)
            assert Counter(r.split for r in split if not r.defective) == {"train": 1, "test": 1}
    one = split_off_test([*photos(1, 1), dent("d")], 0.0, 0)
    assert [r.split for r in one] == ["train", "test"]


def test_picked_images_are_learned_from_and_never_calibrate():
    picked = [record(f"picked{i}", calibrates=False) for i in range(5)]
    learn, calibrate = calibration_split(data_of(*photos(10, 1), *picked), 0.5, seed=0)
    assert not groups(calibrate) & {r.group for r in picked}
    assert {r.group for r in picked} <= groups(learn)


def test_folds_test_every_good_part_once_and_every_defect_each_time():
    data = open_dataset("battery_plate", good=12, defective=3)
    folds = normal_folds(data, 4)
    tested = [r.key for fold in folds for r in fold.select("test", defective=False)]
    assert sorted(tested) == sorted(r.key for r in data if not r.defective)
    for fold in folds:
        assert len(fold) == len(data)
        assert len(fold.select("test", defective=True)) == 3
        assert not {r.group for r in fold.select("train")} & {r.group for r in fold.select("test")}
    assert folds == normal_folds(data, 4)
    assert folds != normal_folds(data, 4, seed=1)


def test_good_photos_of_a_defective_part_are_never_trained_on():
    data = open_dataset("battery_plate", good=8, defective=2)
    extra = replace(data.records[0], key="extra", group="defective_000", split="train")
    folds = normal_folds(replace(data, records=(*data.records, extra)), 2)
    assert all(r.split == "test" for fold in folds for r in fold if r.key == "extra")


def test_folds_of_too_few_parts_are_refused():
    data = open_dataset("battery_plate", good=7, defective=2)
    with pytest.raises(DataError, match="7 good parts, too few for 4 folds"):
        normal_folds(data, 4)
    with pytest.raises(OptionError, match="at least 2"):
        normal_folds(data, 1)
