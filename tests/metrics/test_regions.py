import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import measure

from blemish.metrics.regions import find_regions, good_pixels

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
@settings(deadline=None)
def test_regions_are_those_of_scikit_image(truth):
    values = np.arange(truth.size, dtype=np.float32).reshape(truth.shape)
    found = find_regions(values, truth, None)
    labels = measure.label(truth, connectivity=2)
    own = sorted(sorted(found.values[found.regions == r]) for r in range(found.areas.size))
    theirs = sorted(sorted(values[labels == r]) for r in range(1, labels.max() + 1))
    assert own == theirs
    assert found.areas.tolist() == [int(np.sum(found.regions == r)) for r in range(len(theirs))]
    assert found.lost == 0


@given(MASKS, st.integers(0, 1000))
@settings(deadline=None)
def test_good_and_anomalous_pixels_are_all_valid_pixels(truth, seed):
    valid = np.random.default_rng(seed).random(truth.shape) > 0.3
    values = np.arange(truth.size, dtype=np.float32).reshape(truth.shape)
    found = find_regions(values, truth, valid)
    good = good_pixels(values, truth, valid)
    assert sorted([*found.values, *good]) == sorted(values[valid])
    assert np.all(found.areas > 0)
    assert found.areas.sum() == found.values.size
    assert found.areas.size + found.lost == measure.label(truth, connectivity=2).max()


def test_an_ignored_stripe_does_not_make_two_defects_of_one():
    truth = np.ones((3, 5), bool)
    valid = truth.copy()
    valid[:, 2] = False
    found = find_regions(np.zeros((3, 5), np.float32), truth, valid)
    assert found.areas.tolist() == [12]


def test_pixels_that_touch_at_a_corner_are_one_region():
    assert find_regions(np.zeros((4, 4), np.float32), np.eye(4, dtype=bool), None).areas.size == 1


def test_the_good_pixels_of_a_good_image_are_not_copied():
    values = np.zeros((4, 4), np.float32)
    assert np.shares_memory(good_pixels(values, np.zeros((4, 4), bool), None), values)
