import csv
from collections import Counter

import numpy as np
import pytest

from blemish.datasets.opening import open_dataset
from blemish.datasets.visa import VisA
from blemish.errors import DataError
from blemish.images import write_png
from helpers import make_images, numbers, spot


def make_visa(root, category="candle", good=10, bad=2):
    images = root / category / "Data/Images"
    make_images(images / "Normal", numbers(good))
    make_images(images / "Anomaly", numbers(bad))
    for name in numbers(bad):
        # The masks number the kinds of defect: 1, 2, …
        grey = np.repeat(spot()[:, :, None].astype(np.uint8) * 2, 3, axis=2)
        write_png(root / category / f"Data/Masks/Anomaly/{name}.png", grey)
    (root / category / "image_anno.csv").write_text("image,label,mask\n")
    return root


def write_splits(root, category="candle", good=10, bad=2, trained=8):
    rows = [
        (category, "train" if i < trained else "test", "normal", f"Normal/{i:03d}.png", "")
        for i in range(good)
    ]
    rows += [(category, "test", "anomaly", f"Anomaly/{i:03d}.png", "x") for i in range(bad)]
    rows = [(*r[:3], f"{category}/Data/Images/{r[3]}", r[4]) for r in rows]
    path = root / "split_csv/1cls.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("object", "split", "label", "image", "mask"), *rows])
    return path


def reader(root, **options):
    return VisA(root, VisA.Options(**options))


def test_the_official_tree_is_read_with_its_split_file(tmp_path):
    make_visa(make_visa(tmp_path), "pcb1")
    write_splits(tmp_path)
    assert reader(tmp_path).categories() == ("candle", "pcb1")
    records, warnings = reader(tmp_path).records("candle")
    assert Counter((r.split, r.defect_type) for r in records) == {
        ("train", "good"): 8,
        ("test", "good"): 2,
        ("test", "anomaly"): 2,
    }
    assert not warnings
    assert {r.split for r in records if "007" in r.key} == {"train"}


def test_small_values_of_a_mask_are_defect(tmp_path):
    data = open_dataset(f"visa:{make_visa(tmp_path)}", category="candle")
    first = next(iter(data.select(defective=True)))
    assert np.array_equal(data.mask(first, (6, 8)), spot())


def test_without_a_split_file_some_normal_images_are_for_testing(tmp_path):
    records, _ = reader(make_visa(tmp_path, good=40)).records("candle")
    normal = [r.split for r in records if not r.defective]
    assert 1 <= normal.count("test") <= 12
    assert {r.split for r in records if r.defective} == {"test"}
    assert records == reader(tmp_path).records("candle")[0]


def test_the_folder_of_one_category_is_enough(tmp_path):
    make_visa(tmp_path)
    assert reader(tmp_path / "candle").categories() == ()
    assert len(reader(tmp_path / "candle").records(None)[0]) == 12


def test_a_split_file_that_does_not_fit_is_refused(tmp_path):
    make_visa(tmp_path)
    path = write_splits(tmp_path, good=9)
    with pytest.raises(DataError, match=r"no split for 1 images of candle .*Normal/009"):
        reader(tmp_path).records("candle")
    for text in ("a,b\n1,2\n", "image,split\ncandle/x.png,later\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="columns image and split"):
            reader(tmp_path).records("candle")


def test_what_is_no_category_is_refused(tmp_path):
    with pytest.raises(DataError, match="no folder Data/Images/Normal"):
        reader(tmp_path).records(None)
    make_visa(tmp_path)
    (tmp_path / "candle/Data/Images/Other").mkdir()
    with pytest.raises(DataError, match="neither Normal nor Anomaly"):
        reader(tmp_path).records("candle")


def test_an_orphan_mask_is_refused(tmp_path):
    make_visa(tmp_path)
    write_png(tmp_path / "candle/Data/Masks/Anomaly/099.png", spot())
    with pytest.raises(DataError, match="1 masks have no image"):
        reader(tmp_path).records("candle")
