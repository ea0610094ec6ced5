import numpy as np
import pytest

from blemish.preparation.outline import find_outlines, otsu, smallest_rectangle
from blemish.preparation.placement import Rectangle
from scenes import PLACE, photo

TURNED = Rectangle(250, 350, 120, 480, -9)


@pytest.mark.parametrize("place", [PLACE, TURNED])
@pytest.mark.parametrize("by_colour", [False, True])
def test_a_part_is_found_where_it_lies(place, by_colour):
    (outline,) = find_outlines(photo(place), by_colour=by_colour)
    found = outline.place
    assert np.hypot(found.x - place.x, found.y - place.y) < 3
    assert abs(found.width - place.width) < 5
    assert abs(found.height - place.height) < 5
    assert abs(found.angle - place.angle) < 0.6
    assert outline.filled == pytest.approx(1, abs=0.03)
    assert not outline.at_border


def test_a_bare_bench_holds_nothing():
    assert find_outlines(photo()) == []


def test_what_reaches_the_border_is_told():
    (outline,) = find_outlines(photo(Rectangle(240, 560, 120, 480, 0)))
    assert outline.at_border


def test_the_larger_of_two_comes_first():
    found = find_outlines(photo(Rectangle(120, 360, 80, 320, 0), Rectangle(340, 360, 120, 480, 0)))
    assert len(found) == 2
    assert found[0].area > found[1].area
    assert abs(found[0].place.x - 340) < 3


def test_a_thin_cable_is_no_part():
    assert find_outlines(photo(Rectangle(240, 360, 4, 600, 20))) == []


@pytest.mark.parametrize("angle", [-80, -30, 0.1, 12, 44])
def test_the_smallest_rectangle_around_a_rectangle_is_itself(angle):
    place = Rectangle(50, 70, 20, 90, angle)
    inner = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2)) * (20, 90) @ place.axes + (50, 70)
    found = smallest_rectangle(np.concatenate([inner, place.corners]))
    assert (found.width, found.height) == pytest.approx((20, 90))
    assert found.angle == pytest.approx(angle)


def test_otsu_separates_two_levels():
    values = np.repeat([20.0, 200.0], [900, 100]).astype(np.float32)
    assert 20 <= otsu(values) < 200
