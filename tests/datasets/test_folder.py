from collections import Counter

import pytest

from blemish.datasets.folder import Folder
from blemish.errors import DataError, OptionError
from helpers import make_images, make_masks, numbers


def read(root, **options):
    return Folder(root, Folder.Options(**options)).records(None)


def counts(records):
    return Counter((r.split, r.defect_type) for r in records)


def test_images_right_in_the_folder_are_good_and_for_training(tmp_path):
    make_images(tmp_path, ["b", "a", "C"])
    records, warnings = read(tmp_path)
    assert [r.key for r in records] == ["C.png", "a.png", "b.png"]
    assert counts(records) == {("train", "good"): 3}
    assert not warnings
    assert all(r.group == r.key and r.mask is None for r in records)


def test_flat_folders_test_all_defects_and_a_share_of_the_good(tmp_path):
    make_images(tmp_path / "OK", numbers(40))
    make_images(tmp_path / "scratch", numbers(3))
    make_masks(tmp_path / "masks/scratch", numbers(3))
    records, warnings = read(tmp_path)
    found = counts(records)
    assert found["test", "scratch"] == 3
    assert found["train", "good"] + found["test", "good"] == 40
    assert 5 <= found["test", "good"] <= 20
    assert not warnings
    assert records == read(tmp_path)[0]
    assert counts(read(tmp_path, test_share=0.0)[0])["test", "good"] == 0
    assert [r.split for r in records] != [r.split for r in read(tmp_path, split_seed=1)[0]]


def test_good_folders_alone_are_all_for_training(tmp_path):
    make_images(tmp_path / "good", numbers(3))
    make_images(tmp_path / "normal", numbers(2))
    assert counts(read(tmp_path)[0]) == {("train", "good"): 5}


def test_a_tree_of_splits_is_taken_as_it_is(tmp_path):
    make_images(tmp_path / "Train/good", numbers(4))
    make_images(tmp_path / "validation/ok", numbers(2))
    make_images(tmp_path / "test/good", numbers(2))
    make_images(tmp_path / "test/dent", numbers(2))
    make_masks(tmp_path / "test/mask/dent", ["001"])
    make_masks(tmp_path / "ground_truth/dent", ["000"])
    records, warnings = read(tmp_path)
    assert counts(records) == {
        ("train", "good"): 4,
        ("val", "good"): 2,
        ("test", "good"): 2,
        ("test", "dent"): 2,
    }
    assert all(r.mask for r in records if r.defective)
    assert not warnings


def test_train_may_hold_good_images_directly_and_marked_defects(tmp_path):
    make_images(tmp_path / "train", numbers(3))
    make_images(tmp_path / "train/dent", ["d"])
    make_masks(tmp_path / "train/mask/dent", ["d"])
    records, _ = read(tmp_path)
    assert counts(records) == {("train", "good"): 3, ("train", "dent"): 1}
    assert next(r for r in records if r.defective).mask


def test_test_images_without_a_label_are_refused(tmp_path):
    make_images(tmp_path / "train", numbers(3))
    make_images(tmp_path / "test", numbers(2))
    with pytest.raises(DataError, match=r"images without a label .*test/good/"):
        read(tmp_path)


def test_good_beside_split_folders_is_refused(tmp_path):
    make_images(tmp_path / "good", numbers(2))
    make_images(tmp_path / "test/good", numbers(2))
    with pytest.raises(DataError, match="both good/ and test/; move good/ into train/"):
        read(tmp_path)


def test_no_folder_of_good_images_names_what_is_there_and_the_option(tmp_path):
    make_images(tmp_path / "ok_front", numbers(2))
    make_images(tmp_path / "scratch", numbers(2))
    with pytest.raises(DataError, match=r"none of ok_front, scratch is called good or ok"):
        read(tmp_path)
    assert counts(read(tmp_path, good_names=("ok_front",))[0])["test", "scratch"] == 2


def test_an_empty_folder_has_no_records(tmp_path):
    assert read(tmp_path) == ([], [])


def test_a_missing_folder_and_a_missing_path_say_so(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="folder:PATH"):
        read(None)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        read(tmp_path / "file")


# -- what else lies around -------------------------------------------------------------------


def test_hidden_files_and_leftovers_are_passed_over_silently(tmp_path):
    make_images(tmp_path / "good", ["a", ".hidden", "._a"])
    make_images(tmp_path / "good/.thumbnails", ["t"])
    make_images(tmp_path / "__MACOSX", ["m"])
    for name in ("Thumbs.db", "desktop.ini", "notes.txt", ".DS_Store"):
        (tmp_path / "good" / name).write_text("x")
    records, warnings = read(tmp_path)
    assert [r.key for r in records] == ["good/a.png"]
    assert not warnings


def test_pictures_of_a_kind_that_is_not_read_are_a_warning(tmp_path):
    make_images(tmp_path / "good", ["a"])
    for name in ("b.HEIC", "c.heic"):
        (tmp_path / "good" / name).touch()
    assert read(tmp_path)[1] == [
        "good/: 2 files of the kind .heic are left out; convert them to PNG."
    ]


def test_suffixes_count_in_any_case_and_folders_go_deep(tmp_path):
    make_images(tmp_path / "good/2024/week 1", ["a"])
    (tmp_path / "good/2024/week 1/a.png").rename(tmp_path / "good/2024/week 1/Ä.PNG")
    assert [r.key for r in read(tmp_path)[0]] == ["good/2024/week 1/Ä.PNG"]


def test_images_and_folders_outside_the_layout_are_a_warning(tmp_path):
    make_images(tmp_path / "good", numbers(2))
    make_images(tmp_path, ["loose"])
    assert read(tmp_path)[1] == [
        "1 images beside the folders are left out (first: loose.png); move them into one."
    ]
    tree = tmp_path / "tree"
    make_images(tree / "train/good", numbers(2))
    make_images(tree / "backup/good", numbers(2))
    (tree / "docs").mkdir()
    assert read(tree)[1] == ["The images in backup are left out: not a folder of this layout."]
    bare = make_images(tmp_path / "bare", numbers(2))
    make_images(bare / "scratch", numbers(1))
    assert "scratch" in read(bare)[1][0]


# -- masks -----------------------------------------------------------------------------------


def flat(tmp_path, mask_folder="masks/scratch", names=("s0", "s1"), **kwargs):
    make_images(tmp_path / "good", ["g0", "g1", "g2"])
    make_images(tmp_path / "scratch", ["s0", "s1"])
    make_masks(tmp_path / mask_folder, names, **kwargs)
    return tmp_path


@pytest.mark.parametrize(
    "folder", ["ground_truth/scratch", "masks/scratch", "Mask/scratch", "mask"]
)
def test_masks_pair_by_exact_stem(tmp_path, folder):
    records, warnings = read(flat(tmp_path, folder))
    pairs = {r.key: r.mask.name for r in records if r.mask}
    assert pairs == {"scratch/s0.png": "s0.png", "scratch/s1.png": "s1.png"}
    assert not warnings


def test_a_suffix_of_masks_is_an_option(tmp_path):
    root = flat(tmp_path, names=("s0_mask", "s1_mask"))
    with pytest.raises(DataError, match=r"2 masks have no image .*set mask_suffix"):
        read(root)
    assert sum(r.mask is not None for r in read(root, mask_suffix="_mask")[0]) == 2
    make_masks(root / "masks/scratch", ["s0"])  # without the suffix that all must have
    with pytest.raises(DataError, match=r"1 masks have no image \(first: masks/scratch/s0\.png\)"):
        read(root, mask_suffix="_mask")


def test_an_orphan_mask_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"1 masks have no image \(first: masks/scratch/s9\.png\)"):
        read(flat(tmp_path, names=("s0", "s1", "s9")))


def test_a_stem_that_only_begins_alike_is_an_orphan(tmp_path):
    with pytest.raises(DataError, match="have no image"):
        read(flat(tmp_path, names=("s0", "s1x")))


def test_a_missing_mask_is_a_warning_not_an_error(tmp_path):
    records, warnings = read(flat(tmp_path, names=("s0",)))
    assert sum(r.mask is not None for r in records) == 1
    assert warnings == [
        "1 of 2 defective images have no mask (first: scratch/s1.png); they count for the "
        "decision, not for where the defect is."
    ]


def test_two_masks_for_an_image_and_two_images_for_a_mask_are_refused(tmp_path):
    root = flat(tmp_path)
    make_masks(root / "ground_truth/scratch", ["s0"])
    with pytest.raises(DataError, match=r"scratch/s0\.png has two masks"):
        read(root)
    other = flat(tmp_path / "other", "mask")
    make_images(other / "dent", ["s0"])
    with pytest.raises(DataError, match=r"mask mask/s0\.png fits 2 images"):
        read(other)


def test_a_mask_of_a_good_image_is_kept_for_checking(tmp_path):
    root = flat(tmp_path)
    make_masks(root / "masks/good", ["g0"], size=0)
    kept = next(r for r in read(root)[0] if r.key == "good/g0.png")
    assert kept.mask is not None
    assert not kept.defective


def test_masks_of_a_tree_may_lie_below_the_name_of_the_split(tmp_path):
    for split in ("train", "test"):
        make_images(tmp_path / split / "good", numbers(2))
        make_images(tmp_path / split / "dent", numbers(1))
        make_masks(tmp_path / "masks" / split / "dent", numbers(1))
    masks = {r.split: r.mask.parent.parent.name for r in read(tmp_path)[0] if r.mask}
    assert masks == {"train": "train", "test": "test"}
    make_masks(tmp_path / "masks/dent", numbers(1))
    with pytest.raises(DataError, match="fits 2 images"):
        read(tmp_path)


# -- groups ----------------------------------------------------------------------------------


def test_a_pattern_names_the_part_and_keeps_its_photos_together(tmp_path):
    make_images(tmp_path / "good", [f"part{p}_view{v}" for p in range(10) for v in range(3)])
    make_images(tmp_path / "dent", ["part3_view9"])
    records, _ = read(tmp_path, group_pattern=r"part(\d+)_", mm_per_pixel=0.05)
    sides = {(r.group, r.split) for r in records}
    assert len(sides) == 10
    assert ("3", "test") in sides
    assert {r.mm_per_pixel for r in records} == {0.05}


def test_a_pattern_that_cannot_work_is_refused(tmp_path):
    make_images(tmp_path / "good", ["part1", "x"])
    with pytest.raises(OptionError, match="no regular expression"):
        read(tmp_path, group_pattern="part(")
    with pytest.raises(OptionError, match="has no group"):
        read(tmp_path, group_pattern="part")
    with pytest.raises(DataError, match=r"finds no part in 'good/x\.png'"):
        read(tmp_path, group_pattern=r"part(\d+)")
