"""Errors of what a network draws again."""

import numpy as np
import pytest

from blemish.error_maps import ceiling, glow, hold_out, usual_error
from helpers import drawn_samples


def test_the_usual_error_is_measured_on_parts_that_were_not_trained_on():
    samples = drawn_samples(20)
    learn, held = hold_out(samples, 0)
    assert (len(learn), len(held)) == (17, 3)
    assert not {r.key for r in learn.data} & {r.key for r in held.data}
    few = drawn_samples(3)
    assert hold_out(few, 0) == (few, few)


def test_the_difference_glows_from_black_to_white():
    assert glow(np.float32([[[0, 1 / 3, 2 / 3, 1, 9]]])).round(3).tolist() == [
        [[[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]]
    ]


def test_the_usual_error_is_that_of_each_place_or_of_all():
    errors = np.zeros((4, 20, 20), np.float32)
    errors[:, :, :10] = 2.0
    valid = np.ones(errors.shape, bool)
    by_place = usual_error(errors, valid, by_place=True)
    assert by_place[10, 2] == pytest.approx(2.1, rel=1e-3), "a tenth of the mean is the floor"
    assert by_place[10, 17] == pytest.approx(0.1, rel=0.2)
    assert usual_error(errors, valid, by_place=False).tolist() == [[1.0]]


def test_what_is_not_valid_is_not_usual():
    errors, valid = np.ones((2, 8, 8), np.float32), np.ones((2, 8, 8), bool)
    valid[:, :, 4:] = False
    errors[~valid] = 99
    assert usual_error(errors, valid, by_place=False).tolist() == [[1.0]]
    assert ceiling(errors, valid) == 1
    assert ceiling(errors, np.zeros_like(valid)) == 1
