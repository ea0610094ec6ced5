from dataclasses import replace

import numpy as np
import pytest

from blemish.errors import OptionError, UnknownNameError
from blemish.preparation.locating import CropOptions, locate, read_crop_options, upright
from blemish.preparation.placement import Frame, Rectangle
from scenes import PLACE, photo

OPTIONS = CropOptions(size="60x240")


def reason(image, options=OPTIONS):
    found = locate(image, options).reason
    assert found.count(". ") == 0, "one sentence"
    return found


def test_a_part_is_located():
    found = locate(photo(replace(PLACE, angle=5)), OPTIONS)
    assert found.reason == ""
    assert found.place is not None
    assert np.abs(found.place.corners - replace(PLACE, angle=5).corners).max() < 0.5


def test_no_part():
    assert "no part found" in reason(photo())


def test_two_parts():
    one, other = (Rectangle(x, 360, 80, 320, 0) for x in (120, 340))
    assert "2 parts in one photo, at 340,360 and 120,360" in reason(photo(one, other)).replace(
        "at 120,360 and 340,360", "at 340,360 and 120,360"
    )


def test_a_part_that_the_border_cuts():
    assert "cut by the border" in reason(photo(replace(PLACE, y=560)))


def test_a_part_that_lies_across():
    lying = replace(PLACE, width=90, height=360, angle=88)
    assert "turned by 88°" in reason(photo(lying)) or "turned by -92°" in reason(photo(lying))


def test_a_part_of_another_shape():
    assert "1.99 times as high as wide" in reason(photo(Rectangle(240, 360, 200, 400, 0)))


def test_a_covered_part_has_another_shape():
    slip = Rectangle(PLACE.x + 60, PLACE.y - 200, 120, 80, 10)
    assert "times as high as wide" in reason(photo(PLACE, over=slip))


def test_a_part_without_straight_edges():
    image = photo(PLACE)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    round_ = ((columns - 240) / 60) ** 2 + ((rows - 360) / 240) ** 2 <= 1
    assert "show an edge" in reason(np.where(round_[..., None], image, image[:1, :1]))


def test_where_edges_do_not_close_colour_helps():
    image = photo().astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    away = np.hypot((columns - 240) / 60, (rows - 360) / 240)
    soft = image - 120 * np.clip(2.5 - 1.6 * away, 0, 1)[..., None]  # no edge anywhere
    assert "no part found" not in reason(soft.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("angle", [0, 3, -3, 93, -87])
def test_a_lying_frame_takes_the_long_side_across(angle):
    place = upright(Rectangle(0, 0, 50, 200, angle), Frame(200, 50))
    assert (place.width, place.height) == (200, 50)
    assert place.angle == pytest.approx((angle - 90 + 90) % 180 - 90)


def test_a_square_part_is_turned_as_little_as_can_be():
    assert upright(Rectangle(0, 0, 50, 50.1, 80), Frame(10, 10)).angle == pytest.approx(-10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "240"}, "size='240' is not WIDTHxHEIGHT"),
        ({"size": "0x5"}, "leaves no room"),
        ({"margin": "120x0"}, "leaves no room"),
        ({"max_angle": "90"}, "above the largest value 45"),
    ],
)
def test_options_that_cannot_be_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        read_crop_options(**values)


def test_an_unknown_option_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="max_angle"):
        read_crop_options(max_angel=3)
