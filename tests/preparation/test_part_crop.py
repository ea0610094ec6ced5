import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from blemish.datasets.base import DataSet
from blemish.datasets.opening import open_dataset
from blemish.errors import DataError
from blemish.images import read_image
from blemish.preparation.crop_files import read_crops
from blemish.preparation.locating import CropOptions
from blemish.preparation.part_crop import crop_parts
from scenes import PLACE, Rectangle, cards, photo, record, spot_mask

pytestmark = pytest.mark.usefixtures("coarser")
OPTIONS = CropOptions(size="60x240")


def with_files(data, folder):
    """The same photos as files."""
    records = []
    for r in data:
        path = folder / r.key
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.image(r)).save(path)
        records.append(replace(r, image=path))
    return replace(data, records=tuple(records))


def joined(*records):
    return DataSet("cards", (*cards(5, 0), *records))


@pytest.fixture(scope="module")
def cropped(tmp_path_factory, coarser):
    return crop_parts(cards(), tmp_path_factory.mktemp("crops"), OPTIONS)


def test_every_photo_becomes_an_upright_image_in_a_data_set(cropped):
    data = open_dataset(cropped.folder / "manifest.csv")
    assert len(data) == len(cropped.accepted) == 8
    assert [r.split for r in data].count("test") == 2
    assert {r.group for r in data} == {f"part {i}" for i in range(8)}
    for entry in data:
        image = data.image(entry)
        assert image.shape == (240, 60, 3)
        assert abs(image[60, 30].astype(int) - (70, 40, 30)).max() < 8
        assert entry.mm_per_pixel == pytest.approx(0.5 * 2, rel=0.02)


def test_masks_are_cut_along(cropped):
    data = open_dataset(cropped.folder / "manifest.csv")
    for entry in data.select(defective=True):
        rows, columns = np.nonzero(data.mask(entry, (240, 60)))
        assert abs(rows.mean() + 0.5 - 60) < 1
        assert abs(columns.mean() + 0.5 - 30) < 1


def test_the_side_file_says_where_each_part_lay(cropped):
    frame, options, crops = read_crops(cropped.folder)
    assert (frame.width, frame.height) == (60, 240)
    assert options == OPTIONS
    corners = json.loads((cropped.folder / "corners.json").read_text())["photos"][0]["corners"]
    true = Rectangle(240.0, 360.0, 120.0, 480.0, 3.0).corners
    np.testing.assert_allclose(corners, true, atol=0.4)
    assert crops["train/good/000.bmp"].shape == (720, 480)


def test_there_is_a_contact_sheet(cropped):
    assert read_image(cropped.folder / "accepted-1.jpg").shape[1] == 1600
    assert not (cropped.folder / "rejected-1.jpg").exists()


def test_photos_that_cannot_be_used_are_listed_and_kept_out(tmp_path):
    slip = Rectangle(PLACE.x + 60, PLACE.y - 200, 120, 80, 10)
    small = Rectangle(240, 360, 90, 360, 0)
    flipped = replace(PLACE, angle=180)
    broken = tmp_path / "broken.bmp"
    broken.write_bytes(b"BM no image")
    elsewhere = np.zeros((720, 480), bool)
    elsewhere[5:9, 5:9] = True
    done = crop_parts(
        joined(
            record(10, photo()),
            record(11, photo(PLACE, over=slip)),
            record(12, photo(small)),
            record(13, photo(flipped)),
            record(14, photo(), path=broken),
            record(15, photo(PLACE), mask=elsewhere),
        ),
        tmp_path / "crops",
        OPTIONS,
    )
    reasons = {c.key[-7:-4]: c.found.reason for c in done.rejected}
    assert sorted(reasons) == ["010", "011", "012", "013", "014", "015"]
    for number, words in {
        "010": "no part found",
        "011": "times as high as wide",
        "012": "% of the median of all photos (tolerance area=0.15)",
        "013": "stands on its head",
        "014": "cannot be read",
        "015": "lies outside the cut-out",
    }.items():
        assert words in reasons[number]
    listed = list(csv.DictReader((done.folder / "rejected.csv").read_text("utf-8").splitlines()))
    assert {row["photo"]: row["reason"] for row in listed} == {
        c.key: c.found.reason for c in done.rejected
    }
    assert len(open_dataset(done.folder / "manifest.csv")) == 5
    assert len(list((done.folder / "images").rglob("*.png"))) == 5
    assert (done.folder / "rejected-1.jpg").exists()


def test_a_covered_corner_is_noticed_though_the_rectangle_fits(tmp_path):
    slip = Rectangle(PLACE.x + 58, PLACE.y - 150, 12, 60, 0)  # covers some of one side
    done = crop_parts(joined(record(10, photo(PLACE, over=slip))), tmp_path, OPTIONS)
    (crop,) = done.rejected
    assert crop.key.endswith("010.bmp")


def test_a_photo_is_decoded_once(tmp_path):
    data = with_files(cards(3, 1), tmp_path / "photos")
    first = crop_parts(data, tmp_path / "crops", OPTIONS)
    again = crop_parts(data, tmp_path / "crops", OPTIONS)
    assert (first.decoded, again.decoded) == (4, 0)
    assert again.crops == first.crops
    (tmp_path / "crops/images/train/good/001.png").unlink()
    assert crop_parts(data, tmp_path / "crops", OPTIONS).decoded == 1, "it was deleted"
    Image.fromarray(photo(PLACE, seed=9)).save(data.records[0].image)
    assert crop_parts(data, tmp_path / "crops", OPTIONS).decoded == 1
    other = crop_parts(data, tmp_path / "crops", CropOptions(size="30x120"))
    assert other.decoded == 4


def test_a_second_run_asks_again_who_is_unlike_the_others(tmp_path):
    small = record(10, photo(Rectangle(240, 360, 90, 360, 0)))
    data = with_files(joined(small), tmp_path / "photos")
    first = crop_parts(data, tmp_path / "crops", OPTIONS)
    assert len(first.rejected) == 1
    again = crop_parts(data, tmp_path / "crops", OPTIONS)
    assert again.crops == first.crops
    alone = replace(data, records=data.records[-1:])
    assert len(crop_parts(alone, tmp_path / "crops", OPTIONS).accepted) == 1
    assert len(list((tmp_path / "crops/images").rglob("*.png"))) == 1, "those of others are gone"


def test_when_all_are_rejected_nothing_is_left_to_learn_from(tmp_path):
    with pytest.raises(DataError, match="All 1 photos were rejected; the first"):
        crop_parts(DataSet("bare", (record(0, photo()),)), tmp_path, OPTIONS)


def test_two_photos_never_share_a_file(tmp_path):
    one = record(0, photo(PLACE))
    twin = replace(one, key=one.key.replace(".bmp", ".tif"))
    with pytest.raises(DataError, match=r"Two photos would become train/good/000\.png"):
        crop_parts(DataSet("twins", (one, twin)), tmp_path, OPTIONS)


def test_a_damaged_side_file_is_refused(cropped, tmp_path):
    (tmp_path / "corners.json").write_text('{"schema": "other"}')
    with pytest.raises(DataError, match="delete it and cut the parts out again"):
        read_crops(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_crops(tmp_path / "nowhere")


def test_spots_lie_where_they_are_drawn():
    assert spot_mask(PLACE).sum() == pytest.approx(np.pi * 64, rel=0.05)
