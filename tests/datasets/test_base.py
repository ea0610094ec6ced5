from dataclasses import replace

import numpy as np
import pytest

from blemish.datasets import base
from blemish.datasets.base import DataSet, Record, image_digest
from blemish.errors import DataError, ImageError, OverlapError
from blemish.images import write_png
from helpers import paint, spot


def drawn(key: str, seed: int, **fields: object) -> Record:
    record = Record(key, lambda: paint(seed), False, "good", key, "train")
    return replace(record, **fields)


def bad(key: str, seed: int, **fields: object) -> Record:
    return drawn(key, seed, defective=True, defect_type="dent", split="test", **fields)


def test_the_same_key_twice_is_refused():
    with pytest.raises(DataError, match="'a' is listed twice"):
        DataSet("parts", (drawn("a", 1), drawn("a", 2)))


def test_select_keeps_order_and_narrows_by_split_label_and_key():
    data = DataSet("parts", (drawn("a", 1), bad("b", 2), drawn("c", 3, split="test")), ("note",))
    assert [r.key for r in data.select("test")] == ["b", "c"]
    assert [r.key for r in data.select(defective=False)] == ["a", "c"]
    assert [r.key for r in data.select("test", True)] == ["b"]
    assert [r.key for r in data.select(keys=["c", "a"])] == ["a", "c"]
    assert data.select("val").warnings == ()
    assert len(data.select("val")) == 0


def test_the_limits_of_the_data_set_hold_for_images_and_masks(tmp_path):
    write_png(tmp_path / "a.png", paint(1))
    write_png(tmp_path / "a_mask.png", spot())
    record = bad("a", 1, image=tmp_path / "a.png", mask=tmp_path / "a_mask.png")
    data = DataSet("parts", (record,))
    np.testing.assert_array_equal(data.image(record), paint(1))
    np.testing.assert_array_equal(data.mask(record, (6, 8)), spot())
    small = replace(data, max_pixels=47)
    for read in (small.image, lambda r: small.mask(r, (6, 8))):
        with pytest.raises(ImageError, match="max_pixels=47"):
            read(record)


def test_masks_are_empty_for_good_unknown_for_unmarked_and_exact_for_marked_images():
    data = DataSet("parts", (drawn("a", 1),))
    assert data.mask(drawn("a", 1), (6, 8)).sum() == 0
    assert data.mask(bad("b", 1), (6, 8)) is None
    assert data.mask(bad("b", 1, mask=lambda: spot(size=3)), (6, 8)).sum() == 9


def test_an_empty_mask_of_a_defective_image_marks_nothing():
    data = DataSet("parts", (drawn("a", 1),))
    assert data.mask(bad("b", 1, mask=lambda: spot(size=0)), (6, 8)) is None
    assert data.mask(drawn("a", 1, mask=lambda: spot(size=0)), (6, 8)).shape == (6, 8)


def test_a_mask_of_another_size_names_both_sizes():
    data = DataSet("parts", (drawn("a", 1),))
    with pytest.raises(DataError, match="mask of b is 8×6 pixels, its image 9×6"):
        data.mask(bad("b", 1, mask=spot), (6, 9))


def test_an_image_has_the_same_digest_under_any_name_and_format(tmp_path):
    write_png(tmp_path / "x.png", paint(1))
    data = DataSet("p", (drawn("a", 1), drawn("b", 1, image=tmp_path / "x.png"), drawn("c", 2)))
    assert data.hashes["a"] == data.hashes["b"] != data.hashes["c"]
    assert image_digest(paint(1)) != image_digest(paint(1).reshape(8, 6, 3))


def test_the_fingerprint_follows_pixels_labels_and_splits_but_not_order():
    one = DataSet("p", (drawn("a", 1), drawn("b", 2)))
    assert DataSet("q", one.records[::-1]).fingerprint == one.fingerprint
    for other in (drawn("b", 3), drawn("b", 2, split="test"), drawn("b", 2, defect_type="dent")):
        assert DataSet("p", (drawn("a", 1), other)).fingerprint != one.fingerprint


def test_digests_once_computed_are_kept_by_selections(monkeypatch):
    data = DataSet("p", (drawn("a", 1), drawn("b", 2, split="test")))
    wanted = {"b": data.hashes["b"]}
    monkeypatch.setattr(base, "image_digest", lambda _: pytest.fail("read again"))
    assert data.select("test").hashes == wanted


def test_the_same_image_or_group_in_train_and_test_is_refused():
    DataSet("p", (drawn("a", 1), drawn("b", 2, split="test"))).check_disjoint()
    with pytest.raises(OverlapError, match="group 'g' has images in both"):
        DataSet("p", (drawn("a", 1, group="g"), bad("b", 2, group="g"))).check_disjoint()
    with pytest.raises(OverlapError, match=r"'b' \(test\) and 'a' \(train\) are the same image"):
        DataSet("p", (drawn("a", 1), bad("b", 1))).check_disjoint()
