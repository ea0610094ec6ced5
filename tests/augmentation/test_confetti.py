"""Confetti: seeded, marked where it changes something, and within the sizes that it promises."""

import numpy as np
import pytest
from scipy import ndimage

from blemish.augmentation.confetti import BLACK, COLOURED, confetti

GREY = np.full((256, 320, 3), 128, np.uint8)


def strew(image=GREY, seed=0):
    return confetti(image, np.random.default_rng(seed))


def test_the_mask_is_where_the_image_has_changed():
    before = GREY.copy()
    changed, mask = strew()
    np.testing.assert_array_equal(GREY, before)
    np.testing.assert_array_equal(mask, (changed != GREY).any(axis=2))
    assert changed.dtype == np.uint8
    assert mask.dtype == bool
    assert 0.002 < mask.mean() < 0.3


def test_the_same_seed_strews_the_same():
    np.testing.assert_array_equal(strew(seed=3)[0], strew(seed=3)[0])
    assert (strew(seed=3)[0] != strew(seed=4)[0]).any()


def test_there_are_as_many_blobs_as_the_probabilities_say():
    counts = [ndimage.label(strew(seed=s)[1])[1] for s in range(60)]
    pixels = GREY.shape[0] * GREY.shape[1]
    assert min(counts) >= 1
    # At least one of each kind; some touch and count as one.
    most = sum(np.exp(-share * pixels) + share * pixels for share in (COLOURED, BLACK))
    assert 0.6 * most < np.mean(counts) < 1.1 * most


def test_blobs_are_soft_and_of_their_size():
    _, mask = strew(np.full((256, 256, 3), 255, np.uint8), seed=1)
    boxes = ndimage.find_objects(ndimage.label(mask)[0])
    sides = [s.stop - s.start for box in boxes for s in box]
    assert min(sides) >= 8
    assert max(sides) <= 2 * (54 * 1.42 + 24), "two that touch"


@pytest.mark.parametrize("value", [0, 255])
def test_on_black_and_on_white_something_is_seen(value):
    seen = [strew(np.full((256, 256, 3), value, np.uint8), seed=s)[1].any() for s in range(10)]
    assert all(seen)


def test_images_smaller_than_a_blob_work():
    changed, mask = strew(np.full((5, 7, 3), 200, np.uint8))
    assert changed.shape == (5, 7, 3)
    assert mask.shape == (5, 7)
