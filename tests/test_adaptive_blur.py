import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from blemish.adaptive_blur import (
    LARGEST,
    RULES,
    adaptive_radius,
    blur,
    mean_plus_deviation,
    radius_of_boxes,
    radius_of_runs,
    run_lengths,
)


def block(height: int = 20, width: int = 40, side: int = 224) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[60 : 60 + height, 70 : 70 + width] = True
    return mask


def disc(radius: int, side: int = 224) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return y**2 + x**2 <= radius**2


def with_salt(mask: np.ndarray, share: float = 0.01) -> np.ndarray:
    return mask | (np.random.default_rng(0).random(mask.shape) < share)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_are_those_of_a_plain_loop(mask):
    for found, lines in zip(run_lengths(mask), (mask, mask.T), strict=True):
        expected = [
            len(list(run)) for line in lines for on, run in itertools.groupby(line.tolist()) if on
        ]
        assert found.tolist() == expected


def test_the_radius_of_a_block_is_half_its_longer_side():
    assert radius_of_runs(block()) == 20
    assert adaptive_radius(block().astype(np.float32)) == 20


def test_specks_do_not_change_the_radius_of_a_block():
    assert radius_of_runs(with_salt(block())) == 20
    # what the earlier program made of it
    assert radius_of_boxes(with_salt(block())) == 1


@pytest.mark.parametrize(("radius", "expected"), [(5, 4), (10, 8), (20, 16), (40, LARGEST)])
def test_the_radius_of_a_disc_is_four_fifths_of_its_own(radius, expected):
    assert radius_of_runs(disc(radius)) == expected


def test_a_large_disc_would_ask_for_32_pixels_without_the_limit():
    rows, columns = run_lengths(disc(40))
    longest = max(rows[rows > 3].mean(), columns[columns > 3].mean())
    assert round(longest / 2) == 32


def test_an_empty_map_has_radius_1():
    assert radius_of_runs(np.zeros((9, 9), bool)) == 1
    assert radius_of_boxes(np.zeros((9, 9), bool)) == 1
    for rule in ("runs", "least_run", "boxes"):
        assert adaptive_radius(np.zeros((9, 9), np.float32), None, rule) == 1


def test_short_runs_count_where_there_are_no_others():
    mask = np.zeros((30, 30), bool)
    mask[3, 4:7] = mask[20, 4:7] = True
    assert radius_of_runs(mask) == 2


def test_the_rules_measure_what_they_say():
    values = block().astype(np.float32)
    assert adaptive_radius(values, None, "least_run") == 5
    assert adaptive_radius(values, None, "boxes") == 20
    assert adaptive_radius(values, None, "none") == 0
    assert set(RULES) == {"runs", "least_run", "boxes", "none"}


def test_what_is_not_valid_does_not_count():
    values = block().astype(np.float32)
    valid = np.zeros(values.shape, bool)
    valid[:, :80] = True
    assert adaptive_radius(values, valid) == 10
    values[~valid] = 77
    assert adaptive_radius(values, valid) == 10


def test_mean_plus_deviation_is_the_population_one():
    assert mean_plus_deviation(np.array([[0.0, 2.0]], np.float32)) == 2.0
    assert mean_plus_deviation(np.ones((2, 2), np.float32), np.zeros((2, 2), bool)) == 0.0


@given(st.integers(1, 30))
def test_a_constant_map_stays_constant_up_to_the_border(radius):
    np.testing.assert_allclose(blur(np.full((20, 31), 0.7, np.float32), radius), 0.7, rtol=1e-5)


def test_the_blur_is_the_dense_normalised_kernel():
    values = np.random.default_rng(1).random((40, 50)).astype(np.float32)
    radius = 7
    at = np.arange(-radius, radius + 1)
    kernel = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * (radius / 3) ** 2))
    expected = ndimage.convolve(values, kernel / kernel.sum(), mode="reflect")
    np.testing.assert_allclose(blur(values, radius), expected, rtol=1e-4)


def test_pixels_outside_neither_raise_nor_lower_what_is_inside():
    valid = np.zeros((40, 40), bool)
    valid[:, :25] = True
    values = np.where(valid, 0.5, 0).astype(np.float32)
    smoothed = blur(values, 6, valid)
    np.testing.assert_allclose(smoothed[valid], 0.5, rtol=1e-5)
    assert not smoothed[~valid].any()


def test_no_blur_changes_nothing():
    values = block().astype(np.float32)
    assert blur(values, 0) is values


def test_the_radius_takes_under_3_ms_at_512_pixels():
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((512, 512)), 3)
    values = values.astype(np.float32)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        adaptive_radius(values)
        times.append(time.perf_counter() - started)
    # Measured: below. On a busy machine twice that is no regression.
    assert min(times) < 0.006
