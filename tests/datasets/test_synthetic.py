import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from blemish.datasets.base import image_digest
from blemish.datasets.opening import open_dataset
from blemish.datasets.splits import calibration_split, split_off_test
from blemish.datasets.synthetic import Made, SyntheticManifest, is_marked, write_marked
from blemish.detector import Detector
from blemish.errors import DataError, OptionError, OverlapError
from blemish.evaluation import evaluate
from blemish.images import read_image, write_png
from drawn import draw_defective, draw_good

SETTINGS = {"false_alarms": 0.4, "calibration": "split", "calibration_share": 0.25}


@pytest.fixture
def photos(tmp_path):
    """Twelve good photos for training, and a test set."""
    root = tmp_path / "photos"
    for i in range(12):
        write_png(root / f"train/good/{i:02d}.png", draw_good(i))
    for i in range(3):
        write_png(root / f"test/good/{i:02d}.png", draw_good(50 + i))
        write_png(root / f"test/blob/{i:02d}.png", draw_defective(60 + i))
    return root


def make(folder, origins, count=4, seed=900):
    """A folder of synthetic images that were made from photos with these digests."""
    made = []
    for i in range(count):
        image = draw_good(seed + i)
        write_marked(folder / f"images/{i:05d}.png", image)
        made.append(Made(f"images/{i:05d}.png", image_digest(image), {"number": i}))
    SyntheticManifest({"gan": "dcgan"}, tuple(origins), tuple(made)).write(folder)
    return folder


@pytest.fixture
def drawn(photos, tmp_path):
    """Made from the photos that detectors of this share and seed learn from."""
    learn, _ = calibration_split(open_dataset(photos), 0.25, 0)
    return make(tmp_path / "drawn", learn.hashes.values())


def test_a_folder_is_read_as_what_it_is(drawn):
    data = open_dataset(drawn)
    assert (data.reader, len(data)) == ("synthetic", 4)
    assert [r.key for r in open_dataset(drawn / "synthetic.json")] == [r.key for r in data]
    assert all(r.synthetic and r.split == "train" and not r.defective for r in data)
    np.testing.assert_array_equal(data.image(data.records[1]), draw_good(901))
    assert len(open_dataset(f"synthetic:{drawn}", most=2)) == 2
    with pytest.raises(DataError, match="synthetic:FOLDER"):
        open_dataset("synthetic")


def test_they_are_learned_from_and_calibrate_nothing(photos, drawn):
    data = open_dataset(photos, synthetic=str(drawn))
    assert len(data) == 18 + 4
    learn, calibrate = calibration_split(data, 0.25, 0)
    plain = calibration_split(open_dataset(photos), 0.25, 0)
    assert [r.key for r in calibrate] == [r.key for r in plain[1]]
    assert sum(r.synthetic for r in learn) == 4
    detector = Detector("patchcore", "tiny", **SETTINGS).fit(data)
    assert detector.card()["data"]["calibration"] == 3
    # Known by their own pixels and by those of the photos that they were made from.
    assert data.origins <= set(detector.learned)
    synthetic = {data.hashes[r.key] for r in data if r.synthetic}
    assert synthetic <= set(detector.learned)
    assert not synthetic & set(detector._fitted.calibrated)


def test_a_detector_can_learn_from_them_alone(photos, drawn):
    data = open_dataset(photos, synthetic=str(drawn))
    learn, calibrate = calibration_split(data, 0.99, 0)
    assert all(r.synthetic for r in learn)
    assert len(calibrate) == 12


def test_photos_that_they_were_made_from_do_not_calibrate(photos, tmp_path):
    data = open_dataset(photos)
    one = data.hashes[calibration_split(data, 0.25, 0)[1].records[0].key]
    some = make(tmp_path / "some", [one])
    detector = Detector("patchcore", "tiny", **SETTINGS)
    detector.fit(open_dataset(photos, synthetic=str(some)))
    assert detector.card()["data"]["calibration"] == 2
    assert one not in detector._fitted.calibrated
    every = make(tmp_path / "every", data.hashes.values())
    with pytest.raises(DataError, match=r"All 3 calibration images were learned from before"):
        Detector("patchcore", "tiny", **SETTINGS).fit(open_dataset(photos, synthetic=str(every)))
    with pytest.raises(OptionError, match=r"calibration=cross goes neither .* synthetic images"):
        Detector("patchcore", "tiny", calibration="cross", false_alarms=0.4).fit(
            open_dataset(photos, synthetic=str(some))
        )
    # Where nobody asked for it, several fits are not chosen.
    auto = Detector("patchcore", "tiny", false_alarms=0.4, calibration_share=0.25)
    auto.fit(open_dataset(photos, synthetic=str(some)))
    assert auto.card()["data"]["learned"] < 12 + 4


def test_photos_that_they_were_made_from_do_not_test_either(photos, tmp_path):
    data = open_dataset(photos)
    test = next(data.hashes[r.key] for r in data.select("test"))
    drawn = make(tmp_path / "drawn", [test])
    detector = Detector("patchcore", "tiny", **SETTINGS)
    detector.fit(open_dataset(photos, synthetic=str(drawn)))
    with pytest.raises(OverlapError, match="was used to train"):
        evaluate(detector, data)


def test_they_never_test(photos, drawn):
    data = open_dataset(photos, synthetic=str(drawn))
    detector = Detector("patchcore", "tiny", **SETTINGS).fit(data)
    moved = tuple(replace(r, split="test") if r.synthetic else r for r in data)
    with pytest.raises(OverlapError, match="is synthetic, and figures on images that were never"):
        evaluate(detector, replace(data, records=moved))
    defective = [replace(r, defective=r.split == "test") for r in data]
    for seed in range(5):
        again = split_off_test(defective, 0.9, seed)
        assert all(r.split == "train" for r in again if r.synthetic)


@pytest.mark.parametrize("where", ["train/good", "test/good"])
def test_one_that_was_copied_among_photos_is_found(photos, drawn, where):
    detector = Detector("patchcore", "tiny", **SETTINGS).fit(open_dataset(photos))
    shutil.copy(drawn / "images/00000.png", photos / where / "new.png")
    data = open_dataset(photos)
    act = partial(detector.fit, data) if "train" in where else partial(evaluate, detector, data)
    with pytest.raises(OverlapError, match=r"new.png is a synthetic image among photos"):
        act()


def test_the_mark_changes_no_pixel_and_photos_have_none(photos, drawn):
    assert is_marked(drawn / "images/00002.png")
    np.testing.assert_array_equal(read_image(drawn / "images/00002.png"), draw_good(902))
    assert not is_marked(photos / "train/good/00.png")
    assert not is_marked(drawn / "synthetic.json")


def change(text):
    content = json.loads(text)
    content["origins"] = []
    return json.dumps(content)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change, "was changed after it was written: its checksum does not fit"),
        (lambda t: t.replace("00003", "00002"), "was changed after it was written"),
        (lambda t: t.replace("synthetic/1", "synthetic/2"), "is of the schema"),
        (lambda t: t[:40], "is no manifest of synthetic images"),
        (lambda t: "[]", "is no manifest of synthetic images"),
    ],
)
def test_a_manifest_that_was_edited_by_hand_is_refused(photos, drawn, edit, message):
    path = drawn / "synthetic.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(DataError, match=message):
        open_dataset(photos, synthetic=str(drawn))


def test_images_that_were_changed_or_are_gone_are_refused(photos, drawn):
    write_marked(drawn / "images/00001.png", draw_good(1))
    data = open_dataset(photos, synthetic=str(drawn))
    with pytest.raises(DataError, match=r"00001.png is not the image that synthetic.json .* desc"):
        Detector("patchcore", "tiny", **SETTINGS).fit(data)
    (drawn / "images/00003.png").unlink()
    with pytest.raises(DataError, match=r"names images/00003.png, which is not there"):
        open_dataset(photos, synthetic=str(drawn))
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(photos, synthetic=str(photos))


def test_a_table_can_mark_synthetic_images_for_training_only(photos):
    table = photos / "table.csv"
    table.write_text("image,label,split,synthetic\ntrain/good/00.png,good,train,no\n"
                     "train/good/01.png,good,train,yes\n")  # fmt: skip
    assert [r.synthetic for r in open_dataset(table)] == [False, True]
    table.write_text("image,label,split,synthetic\ntrain/good/00.png,good,test,yes\n"
                     "train/good/01.png,good,train,perhaps\n")  # fmt: skip
    with pytest.raises(DataError) as error:
        open_dataset(table)
    assert "line 2: a synthetic image cannot be in test, only in train" in str(error.value)
    assert "line 3: synthetic 'perhaps' is not yes or no" in str(error.value)
