import numpy as np
import pytest

from blemish import options
from blemish.errors import DataError, ImageError, OptionError
from blemish.images import write_png
from blemish.settings import Settings, make_geometry, split_options

SHAPES = [(100, 200)]


def geometry(shapes=SHAPES, multiple=1, default_size=None, **values):
    settings = options.build(Settings, values, "the detector")
    return make_geometry(settings, shapes, multiple, default_size)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), ("200x100", (100, 200)), (" 200X100 ", (100, 200)), ("200×100", (100, 200))],
)
def test_sizes_are_written_width_times_height(text, size):
    assert geometry(image_size=text).size == size


def test_auto_is_the_size_of_the_images_unless_the_method_says_otherwise():
    assert geometry([(96, 208)]).size == (96, 208)
    assert geometry([(96, 208)], default_size=(32, 32)).size == (32, 32)
    assert geometry([(96, 208)], default_size=(32, 32), image_size="64").size == (64, 64)


def test_auto_with_a_number_keeps_the_aspect_and_bounds_the_pixels():
    # 240×1200 plates: a square of 128 would leave them 26 pixels wide.
    assert geometry([(1200, 240)], image_size="auto:128").size == (288, 56)
    assert geometry([(1000, 1000)], image_size="auto:128", default_size=(9, 9)).size == (128, 128)
    assert geometry([(40, 64)], image_size="auto:128").size == (40, 64)


def test_auto_looks_at_the_crop():
    assert geometry([(96, 224)], crop="0,0,0.5,1").size == (96, 112)


@pytest.mark.parametrize(
    "text", ["0", "x100", "100x", "100x0", "-5", "large", "", "1.5", "auto:0", "auto:9x9"]
)
def test_a_size_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match="such as 256x512"):
        geometry(image_size=text)


def test_a_crop_needs_four_numbers():
    with pytest.raises(OptionError, match="four numbers: left,top,right,bottom"):
        geometry(crop="0,0,1")


def test_every_setting_of_the_geometry_arrives(tmp_path):
    roi = np.zeros((10, 20), bool)
    roi[2:5] = True
    path = write_png(tmp_path / "roi.png", roi)
    found = geometry(
        multiple=8,
        image_size="64x32",
        fit="stretch",
        interpolation="area",
        crop="0,0.1,1,0.9",
        tile=16,
        overlap="50%",
        roi=path,
    )
    assert found.to_json() == {
        "size": (32, 64),
        "fit": "stretch",
        "interpolation": "area",
        "crop": (0.0, 0.1, 1.0, 0.9),
        "tile": 16,
        "overlap": 0.5,
        "multiple": 8,
    }
    np.testing.assert_array_equal(found.roi, roi)


def test_an_empty_or_missing_region_of_interest_is_refused(tmp_path):
    with pytest.raises(DataError, match="region of interest is empty"):
        geometry(roi=write_png(tmp_path / "roi.png", np.zeros((4, 4), bool)))
    with pytest.raises(ImageError):
        geometry(roi=tmp_path / "missing.png")


def test_options_are_parted_by_name():
    own, rest = split_options({"seed": 1, "coreset": 0.1, "roi": None})
    assert own == {"seed": 1, "roi": None}
    assert rest == {"coreset": 0.1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calibration_share", 0),
        ("tile", -1),
        ("overlap", 0.95),
        ("seed", -1),
        ("batch_size", 0),
        ("bit_depth", 7),
        ("fit", "crop"),
        ("precision", "16"),
        ("pixel_rule", "all"),
    ],
)
def test_settings_have_limits(name, value):
    with pytest.raises(OptionError, match=f"option {name} of the detector"):
        geometry(**{name: value})
