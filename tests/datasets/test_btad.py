from collections import Counter

import numpy as np
import pytest
from PIL import Image

from blemish.datasets.btad import BTAD
from blemish.datasets.opening import open_dataset
from blemish.errors import DataError
from helpers import make_images, numbers, paint


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make_btad(root, category="01", suffix="bmp"):
    """One category; masks have soft edges and irregular values."""
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:5], mask[2, 3] = 37, 255
    for folder, count in {"train/ok": 4, "test/ok": 2, "test/ko": 3}.items():
        for i in range(count):
            save(root / category / folder / f"{i:04d}.{suffix}", paint(len(folder) * 10 + i))
    for i in range(3):
        save(root / category / f"ground_truth/ko/{i:04d}.{suffix}", mask)
    return root


def reader(root, **options):
    return BTAD(root, BTAD.Options(**options))


@pytest.mark.parametrize("suffix", ["bmp", "png"])
def test_the_official_tree_is_read(tmp_path, suffix):
    make_btad(make_btad(tmp_path, suffix=suffix), "03", suffix)
    assert reader(tmp_path).categories() == ("01", "03")
    records, warnings = reader(tmp_path).records("03")
    assert Counter((r.split, r.defect_type) for r in records) == {
        ("train", "good"): 4,
        ("test", "good"): 2,
        ("test", "defect"): 3,
    }
    assert not warnings
    assert all((r.mask is not None) == r.defective for r in records)


def test_images_and_masks_may_be_of_different_kinds(tmp_path):
    make_btad(tmp_path)
    for path in (tmp_path / "01/ground_truth/ko").iterdir():
        path.rename(path.with_suffix(".tmp"))
        save(path.with_suffix(".png"), np.full((6, 8), 9, np.uint8))
        path.with_suffix(".tmp").unlink()
    records, _ = reader(tmp_path).records("01")
    assert sum(r.mask is not None for r in records) == 3


def test_any_value_of_a_mask_is_defect(tmp_path):
    data = open_dataset(f"btad:{make_btad(tmp_path)}", category="01")
    record = next(iter(data.select(defective=True)))
    assert data.mask(record, (6, 8)).sum() == 9


def test_the_folder_of_one_category_is_enough(tmp_path):
    make_btad(tmp_path)
    assert reader(tmp_path / "01").categories() == ()
    assert len(reader(tmp_path / "01").records(None)[0]) == 9


def test_a_tree_without_test_images_can_be_learned_from(tmp_path):
    make_images(tmp_path / "train/ok", numbers(3))
    assert {r.split for r in reader(tmp_path).records(None)[0]} == {"train"}


def test_what_is_not_the_official_tree_is_refused(tmp_path):
    with pytest.raises(DataError, match="no folder train/ok"):
        reader(tmp_path).records(None)
    for folder in ("01/train/ko", "02/test/broken"):
        make_btad(tmp_path, folder[:2])
        (tmp_path / folder).mkdir()
        with pytest.raises(DataError, match="not part of the official tree"):
            reader(tmp_path).records(folder[:2])
