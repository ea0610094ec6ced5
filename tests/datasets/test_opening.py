import os
from pathlib import Path

import pytest

from blemish import registry
from blemish.datasets.opening import list_categories, open_dataset
from blemish.errors import DataError, OptionError, UnknownNameError
from helpers import make_images, make_magnetic_tile, make_masks, make_mvtec_category, numbers


def test_every_reader_is_found_by_its_file_name():
    assert {"folder", "manifest", "mvtec_ad", "magnetic_tile"} <= set(registry.names("datasets"))
    assert not {"base", "listing", "opening", "splits", "checking"} & set(
        registry.names("datasets")
    )


def test_a_folder_is_read_by_its_layout(tmp_path):
    plain = tmp_path / "plain"
    make_images(plain / "good", numbers(3))
    tree = make_mvtec_category(tmp_path / "tree")
    tiles = make_magnetic_tile(tmp_path / "tiles")
    splits = tmp_path / "splits"
    make_images(splits / "train/good", numbers(3))
    make_images(splits / "test/dent", numbers(1))
    make_masks(splits / "ground_truth/dent", numbers(1))
    for folder, reader in {
        plain: "folder",
        tree: "mvtec_ad",
        tiles: "magnetic_tile",
        splits: "folder",
    }.items():
        for where in (folder, str(folder)):
            assert open_dataset(where).reader == reader


def test_names_say_what_was_read(tmp_path, monkeypatch):
    make_images(tmp_path / "my parts/good", numbers(3))
    make_mvtec_category(tmp_path / "mvtec_ad/screw")
    make_magnetic_tile(tmp_path / "magnetic_tile")
    (tmp_path / "week.csv").write_text(
        "image,label\nmy parts/good/000.png,good\nmy parts/good/001.png,good\n"
    )
    monkeypatch.setenv("BLEMISH_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path / "my parts")
    assert open_dataset(".").name == "my parts"
    assert open_dataset("folder:.").name == "my parts"
    assert open_dataset(tmp_path / "week.csv").name == "week"
    assert open_dataset("mvtec_ad", category="screw").name == "mvtec_ad/screw"
    assert open_dataset(tmp_path / "mvtec_ad/screw").name == "mvtec_ad/screw"
    assert open_dataset("magnetic_tile").name == "magnetic_tile"


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no folder called C:")
def test_only_a_registered_name_counts_before_a_colon(tmp_path, monkeypatch):
    make_images(tmp_path / "C:/photos/good", numbers(2))
    monkeypatch.chdir(tmp_path)
    assert open_dataset("C:/photos").reader == "folder"
    assert open_dataset("folder:C:/photos").reader == "folder"
    with pytest.raises(DataError, match="has no path after the colon; give folder:PATH"):
        open_dataset("folder:")


def test_a_registered_name_wins_and_dot_slash_means_the_folder(tmp_path, monkeypatch):
    make_images(tmp_path / "mvtec_ad/good", numbers(2))
    monkeypatch.delenv("BLEMISH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert open_dataset("./mvtec_ad").reader == "folder"
    with pytest.raises(DataError, match="public data set"):
        open_dataset("mvtec_ad")


def test_categories_are_listed_asked_for_and_checked(tmp_path):
    for name in ("screw", "bottle"):
        make_mvtec_category(tmp_path / name)
    assert list_categories(tmp_path) == ("bottle", "screw")
    assert list_categories(tmp_path / "screw") == ()
    assert len(open_dataset(tmp_path, category="bottle")) == 11
    with pytest.raises(DataError, match="2 categories; choose one of bottle, screw, or `all`"):
        open_dataset(tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'screw'"):
        open_dataset(tmp_path, category="srew")
    with pytest.raises(DataError, match="has no categories; leave the category 'screw' out"):
        open_dataset(tmp_path / "screw", category="screw")


def test_options_go_to_the_reader_and_to_the_data_set(tmp_path):
    make_images(tmp_path / "fine", numbers(3))
    data = open_dataset(tmp_path, good_names="fine,ok", max_pixels="50", bit_depth=12)
    assert (data.max_pixels, data.bit_depth) == (50, 12)
    assert all(r.defect_type == "good" for r in data)
    assert list_categories(tmp_path, good_names="fine") == ()
    with pytest.raises(OptionError, match="bit_depth"):
        open_dataset(tmp_path, bit_depth=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'max_pixels'"):
        open_dataset(tmp_path, max_pixel=3)
    with pytest.raises(UnknownNameError, match=r"option of data set folder.*'good_names'"):
        open_dataset(tmp_path, good_name="fine")


def test_warnings_of_the_reader_are_kept(tmp_path):
    make_images(tmp_path / "good", numbers(3))
    make_images(tmp_path / "dent", numbers(1))
    assert "no mask" in open_dataset(tmp_path).warnings[0]


def test_empty_and_single_are_refused_with_what_to_give(tmp_path):
    for found in ("no images", "one image only"):
        with pytest.raises(DataError, match=f"holds {found}; give a folder of photos of good"):
            open_dataset(tmp_path)
        make_images(tmp_path, ["a"])


def test_what_is_not_there_is_refused_with_what_is_known(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'magnetic_tile'"):
        open_dataset("magnetic_tiles")
    with pytest.raises(DataError, match="does not exist; check the path"):
        open_dataset(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"a file but no \.csv or \.jsonl manifest; give a folder"):
        open_dataset(tmp_path / "notes.txt")
    make_images(tmp_path, ["a"])
    with pytest.raises(DataError, match="give the folder that holds it"):
        open_dataset(tmp_path / "a.png")


def test_opening_reads_no_pixels(tmp_path):
    for name in numbers(3):
        (tmp_path / f"{name}.png").write_text("no image at all")
    assert len(open_dataset(Path(tmp_path))) == 3
