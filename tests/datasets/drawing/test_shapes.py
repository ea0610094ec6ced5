import numpy as np
import pytest

from blemish.datasets.drawing import shapes

XS = shapes.centres(0, 40, 2)
YS = shapes.centres(0, 30, 2)


def test_pixel_centres_lie_half_a_pixel_inside():
    assert shapes.centres(0, 3, 1).tolist() == [0.5, 1.5, 2.5]
    assert shapes.centres(1, 2, 2).tolist() == [1.25, 1.75]


@pytest.mark.parametrize("radius", [0.0, 4.0])
def test_the_coverage_of_a_box_adds_up_to_its_area(radius: float):
    distance = shapes.box_distance(XS, YS, (5.3, 6.1, 30.2, 22.7), radius)
    area = shapes.cover(distance, 2).sum() / 4
    assert area == pytest.approx(24.9 * 16.6 - (4 - np.pi) * radius**2, rel=0.01)


def test_distance_to_a_straight_line_has_a_side_and_a_place():
    line = shapes.bend((10, 15), (20, 15), (30, 15))
    distance, along = shapes.curve_distance(XS, YS, line)
    assert np.abs(distance[0, 40]) == pytest.approx(14.75, abs=0.01)
    assert distance[0, 40] * distance[-1, 40] < 0
    assert along[30, 40] == pytest.approx(0.5, abs=0.03)
    assert distance[29, 0] == pytest.approx(-np.hypot(9.75, 0.25), abs=0.05) or distance[
        29, 0
    ] == pytest.approx(np.hypot(9.75, 0.25), abs=0.05)


def test_resizing_to_the_same_shape_changes_nothing():
    values = np.random.default_rng(0).random((4, 5), np.float32)
    assert shapes.resized(values, (4, 5)) is values
    assert shapes.resized(values, (8, 15)).shape == (8, 15)


def test_noise_follows_its_generator():
    one, two = (shapes.smooth_noise(np.random.default_rng(3), (4, 3), (40, 30)) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.dtype == np.float32


def test_letters_are_five_by_seven_dots_and_unknown_ones_blank():
    assert shapes.text_bits("+").astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [1, 1, 1, 1, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert shapes.text_bits("BL-2").shape == (7, 23)
    assert not shapes.text_bits("?").any()


def test_dots_cover_the_area_of_their_discs():
    xs, ys = shapes.centres(0, 40, 8), shapes.centres(0, 30, 8)
    bits = np.array([[True, False, True], [False, True, False]])
    printed = shapes.dots(xs, ys, bits, (5, 6), 8, 3, 8)
    assert printed.sum() / 64 == pytest.approx(3 * np.pi * 9, rel=0.02)
    assert printed[:, xs < 5].max() == 0
