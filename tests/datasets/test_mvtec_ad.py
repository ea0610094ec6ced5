from collections import Counter

import pytest

from blemish.datasets.mvtec_ad import MVTecAD
from blemish.datasets.opening import open_dataset
from blemish.errors import DataError
from helpers import make_images, make_masks, make_mvtec_category, numbers


def reader(root, **options):
    return MVTecAD(root, MVTecAD.Options(**options))


def test_the_official_tree_is_read_by_category(tmp_path):
    for name in ("screw", "bottle"):
        make_mvtec_category(tmp_path / name)
    (tmp_path / "license.txt").touch()
    (tmp_path / "other").mkdir()
    assert reader(tmp_path).categories() == ("bottle", "screw")
    records, warnings = reader(tmp_path).records("screw")
    assert Counter((r.split, r.defect_type) for r in records) == {
        ("train", "good"): 6,
        ("test", "good"): 2,
        ("test", "dent"): 2,
        ("test", "scratch"): 1,
    }
    masks = {r.key: r.mask.relative_to(tmp_path / "screw").as_posix() for r in records if r.mask}
    assert masks == {
        f"test/{stem}.png": f"ground_truth/{stem}_mask.png"
        for stem in ("dent/000", "dent/001", "scratch/000")
    }
    assert not warnings


def test_the_folder_of_one_category_is_enough(tmp_path):
    make_mvtec_category(tmp_path)
    assert reader(tmp_path).categories() == ()
    assert len(reader(tmp_path).records(None)[0]) == 11


def test_a_pattern_names_the_part(tmp_path):
    make_mvtec_category(tmp_path)
    records, _ = reader(tmp_path, group_pattern=r"(.+/\d\d)\d").records(None)
    assert {r.group for r in records if r.split == "train"} == {"train/good/00"}


def test_an_orphan_mask_and_a_mask_without_the_suffix_are_refused(tmp_path):
    make_mvtec_category(tmp_path)
    for name in ("009_mask", "000"):
        make_masks(tmp_path / "ground_truth/dent", [name])
        with pytest.raises(DataError, match=f"1 masks have no image .*dent/{name}"):
            reader(tmp_path).records(None)
        (tmp_path / f"ground_truth/dent/{name}.png").unlink()


def test_a_missing_mask_is_a_warning(tmp_path):
    make_mvtec_category(tmp_path)
    (tmp_path / "ground_truth/dent/001_mask.png").unlink()
    assert "1 of 3 defective images have no mask" in reader(tmp_path).records(None)[1][0]


def test_a_tree_without_test_images_can_be_learned_from(tmp_path):
    make_images(tmp_path / "train/good", numbers(3))
    assert {r.split for r in reader(tmp_path).records(None)[0]} == {"train"}


def test_what_is_no_category_is_refused(tmp_path):
    with pytest.raises(DataError, match="no folder train/good"):
        reader(tmp_path).records(None)
    make_mvtec_category(tmp_path)
    make_images(tmp_path / "train/dent", numbers(1))
    with pytest.raises(DataError, match="train/dent, which the official tree does not know"):
        reader(tmp_path).records(None)


def test_without_a_path_it_is_looked_for_and_never_downloaded(tmp_path, monkeypatch):
    monkeypatch.delenv("BLEMISH_DATA", raising=False)
    with pytest.raises(DataError, match=r"not known here, and nothing is downloaded: get it from"):
        reader(None)
    monkeypatch.setenv("BLEMISH_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"is not at .*mvtec_ad, and nothing is downloaded"):
        reader(None)
    make_mvtec_category(tmp_path / "mvtec_ad/screw")
    assert reader(None).categories() == ("screw",)


def test_the_real_screw_has_its_official_counts(real_data):
    data = open_dataset(real_data("mvtec_ad"), category="screw")
    assert data.name == "mvtec_ad/screw"
    assert len(data.select("train")) == 320
    assert not any(r.defective for r in data.select("train"))
    assert len(data.select("test", defective=False)) == 41
    assert len(data.select("test", defective=True)) == 119
    assert all(r.mask for r in data.select("test", defective=True))
    assert len(Counter(r.defect_type for r in data)) == 6
    first = next(iter(data.select("test", defective=True)))
    image = data.image(first)
    assert image.shape == (512, 512, 3)
    assert 0 < data.mask(first, (512, 512)).mean() < 0.1
