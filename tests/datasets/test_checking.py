import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.datasets.base import DataSet, Record
from blemish.datasets.checking import check_dataset
from blemish.datasets.opening import open_dataset
from blemish.images import write_png
from helpers import make_images, make_masks, numbers, paint, spot


def big(seed: int) -> np.ndarray:
    return paint(seed, 40, 48)


def good(key: str, seed: int, split: str = "train", **fields: object) -> Record:
    return replace(Record(key, lambda: big(seed), False, "good", key, split), **fields)


def bad(key: str, seed: int, size: int | None = 2, **fields: object) -> Record:
    mask = None if size is None else lambda: spot(40, 48, size)
    record = Record(key, lambda: big(seed), True, "dent", key, "test", mask)
    return replace(record, **fields)


def plenty(count: int = 600) -> list[Record]:
    return [good(f"g{i}", i) for i in range(count)]


def sound(*more: Record) -> DataSet:
    """Nothing is wrong with it but what is added."""
    return DataSet("p", (*plenty(), good("t", 1001, "test"), bad("d", 1002), *more))


def problems(data: DataSet) -> tuple[str, ...]:
    report = check_dataset(data)
    assert not report.warnings, report.warnings
    return report.problems


def warnings(data: DataSet) -> tuple[str, ...]:
    report = check_dataset(data)
    assert not report.problems, report.problems
    return report.warnings


def test_a_sound_data_set_has_no_problem_and_no_warning():
    report = check_dataset(sound())
    assert report.usable
    assert report.problems == report.warnings == ()
    assert report.counts == {"train": {"good": 600}, "test": {"good": 1, "dent": 1}}
    assert report.groups == {"train": 600, "test": 2}
    assert report.sizes["most_common"] == {"48×40": 602}
    assert report.colours == {"colour": 602}
    assert report.masks == {"marked": 1, "empty": 0, "missing": 0}
    assert report.defect_area == {
        "smallest_px": 4,
        "median_px": 4,
        "largest_px": 4,
        "median_share": pytest.approx(4 / 1920),
    }


def test_progress_counts_every_image_in_the_calling_thread():
    calls = []
    check_dataset(DataSet("p", tuple(plenty(5))), lambda *call: calls.append(call))
    assert calls == [(i, 5, "checking images") for i in range(1, 6)]


def test_the_report_is_json_and_text_with_everything_in_it(tmp_path):
    make_images(tmp_path / "good", numbers(4))
    make_images(tmp_path / "dent", ["d"])
    make_masks(tmp_path / "mask/dent", ["d"])
    (tmp_path / "good/broken.png").write_text("text")
    report = check_dataset(open_dataset(tmp_path, test_share=0))
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["bits"] == {"8": 5}
    assert plain["unreadable"][0][0] == "good/broken.png"
    assert plain["counts"]["test"] == {"dent": 1}
    text = report.text()
    for line in (
        f"{tmp_path.name}: 6 images, read as folder",
        "train     5     –      5",
        "size     8×6 pixels",
        "pixels   colour; 8 bits; PNG",
        "masks    1 marked, 0 empty, 0 missing",
        "defects  4 to 4 pixels, median 4 = 8.33% of the image",
        "1 problems:",
        "broken.png is not an image",
        "not usable as it is",
    ):
        assert line in text
    assert "\nusable" in check_dataset(sound()).text()


# -- problems --------------------------------------------------------------------------------


def test_all_unreadable_files_are_listed_not_only_the_first(tmp_path):
    make_images(tmp_path / "good", numbers(3))
    whole = (tmp_path / "good/000.png").read_bytes()
    (tmp_path / "good/cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "good/text.png").write_text("text")
    (tmp_path / "good/empty.png").touch()
    report = check_dataset(open_dataset(tmp_path))
    assert [key for key, _ in report.unreadable] == [
        "good/cut.png",
        "good/empty.png",
        "good/text.png",
    ]
    assert "3 images or masks cannot be used (first: good/cut.png)" in report.problems[0]
    assert not report.usable


def test_a_mask_of_another_size_is_a_problem_with_both_sizes():
    report = check_dataset(sound(bad("e", 1003, mask=lambda: spot(40, 47))))
    assert "mask of e is 47×40 pixels, its image 48×40" in report.unreadable[0][1]
    assert len(report.problems) == 1
    assert report.masks["missing"] == 1


def test_the_same_image_in_train_and_test_is_a_problem():
    found = problems(sound(good("copy", 3, "test")))
    assert found == ("1 images are in both train and test (first: g3 = copy); delete one of each.",)


def test_the_same_part_in_train_and_test_is_a_problem():
    found = problems(sound(bad("e", 1003, group="g7")))
    assert "1 parts have photos in both training and test (first: g7)" in found[0]
    found = problems(sound(good("v", 1003, "val", group="t")))
    assert "first: t" in found[0]


def test_the_same_image_once_good_and_once_defective_is_a_problem():
    found = problems(sound(bad("e", 1001)))
    assert len(found) == 1
    assert any("t and e are the same image, once good and once defective" in p for p in found)


def test_a_good_image_with_a_marked_mask_is_a_problem():
    found = problems(sound(good("m", 1003, mask=lambda: spot(40, 48, 3))))
    assert found == ("m is good but its mask marks 9 pixels; empty the mask or move the image.",)
    assert check_dataset(sound(good("m", 1003, mask=lambda: spot(40, 48, 0)))).usable


def test_too_few_good_parts_are_a_problem():
    one = [good("a", 1, group="g"), good("b", 2, group="g"), good("t", 3, "test"), bad("d", 4)]
    assert "good training images of 1 parts" in problems(DataSet("p", tuple(one)))[0]
    none = check_dataset(DataSet("p", (bad("d", 4), good("t", 3, "test"))))
    assert "good training images of 0 parts" in none.problems[0]


# -- warnings --------------------------------------------------------------------------------


def test_warnings_of_the_reader_come_along():
    assert warnings(replace(sound(), warnings=("as listed",))) == ("as listed",)


def test_the_same_image_twice_in_one_split_is_a_warning():
    report = check_dataset(sound(good("copy", 3)))
    assert report.usable
    assert report.duplicates == (("g3", "copy"),)
    assert "1 images repeat another one of the same split (first: copy = g3)" in report.warnings[0]


def test_mixed_sizes_and_small_images_are_warnings():
    found = warnings(sound(good("s", 1003, image=lambda: paint(1, 20, 64))))
    assert "2 sizes, 602 of 603 are 48×40" in found[0]
    assert "1 images are smaller than 32 pixels on a side (first: s)" in found[1]
    text = check_dataset(sound(good("s", 1, image=lambda: paint(1, 32, 64)))).text()
    assert "48–64 × 32–40 pixels, 2 sizes, most often 48×40 (602 images)" in text


def test_grey_among_colour_is_a_warning_that_names_the_odd_one():
    flat = np.repeat(big(5)[..., :1], 3, axis=2)
    found = warnings(sound(good("flat", 1003, image=lambda: flat)))
    assert found == (
        "1 of 603 images are grey, the others coloured (such as flat); use one camera setting for "
        "all.",
    )


def test_16_bit_images_with_a_wrong_or_mixed_depth_are_warnings(tmp_path):
    (tmp_path / "good").mkdir()
    for i in range(3):
        dark = np.random.default_rng(i).integers(0, 4096, (40, 48)).astype(np.uint16)
        Pillow.fromarray(dark).save(tmp_path / f"good/{i}.png")
    report = check_dataset(open_dataset(tmp_path))
    assert report.bits == {16: 3}
    assert any("at most 6.6% of the range" in w and "bit_depth" in w for w in report.warnings)
    assert not any(
        "bit_depth" in w for w in check_dataset(open_dataset(tmp_path, bit_depth=12)).warnings
    )
    write_png(tmp_path / "good/8.png", big(1)[..., 0])
    report = check_dataset(open_dataset(tmp_path, bit_depth=12))
    assert any("3 of 4 images have 16 bits" in w for w in report.warnings)


def test_empty_and_inverted_masks_are_warnings():
    found = warnings(sound(bad("e", 1003, size=0)))
    assert "1 defective images have an empty mask (first: e)" in found[0]
    found = warnings(sound(bad("e", 1003, mask=lambda: ~spot(40, 48))))
    assert "1 masks cover more than half of the image (first: e)" in found[0]


def test_unmarked_defects_are_counted():
    report = check_dataset(sound(bad("e", 1003, size=None)))
    assert report.masks == {"marked": 1, "empty": 0, "missing": 1}
    none = check_dataset(DataSet("p", (*plenty(), good("t", 1001, "test"), bad("d", 7, size=None))))
    assert none.defect_area is None


def test_a_test_split_that_cannot_measure_is_a_warning():
    for extra, sentence in {
        (): "no test images",
        (bad("d", 1002),): "no good test images",
        (good("t", 1001, "test"),): "no defective test images",
    }.items():
        assert sentence in warnings(DataSet("p", (*plenty(), *extra)))[0]


@pytest.mark.parametrize(
    ("parts", "rate", "lowest"),
    [(100, "1%", "4.8%"), (494, "1%", None), (90, "5%", "5.3%"), (2, "5%", "50.0%")],
)
def test_too_few_good_parts_for_a_false_alarm_rate_are_a_warning(parts, rate, lowest):
    data = DataSet("p", (*plenty(parts), good("t", 1001, "test"), bad("d", 1002)))
    found = warnings(data)
    if lowest is None:
        assert found == ()
    else:
        assert f"a false-alarm rate of {rate} needs" in found[0]
        assert f"lowest rate that can be promised is {lowest}" in found[0]
    assert not warnings(sound())


def test_the_digests_are_kept_for_what_comes_next(monkeypatch):
    data = DataSet("p", tuple(plenty(3)))
    check_dataset(data)
    monkeypatch.setattr(DataSet, "image", lambda *_: pytest.fail("read again"))
    assert len(set(data.hashes.values())) == 3
