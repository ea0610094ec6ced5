import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from blemish.maps import Post, find_regions, pool_score, smooth, smooth_axis
from blemish.resampling import linear_matrix


def noise(height=20, width=30):
    return np.random.default_rng(0).random((height, width)).astype(np.float32)


def test_no_filter_changes_nothing():
    values = noise()
    assert smooth(values, None, Post()) is values


def test_blur_is_a_gaussian():
    expected = ndimage.gaussian_filter(noise(), 2.0, mode="nearest")
    np.testing.assert_array_equal(smooth(noise(), None, Post(blur=2.0)), expected)
    everything = np.ones((20, 30), bool)
    np.testing.assert_array_equal(smooth(noise(), everything, Post(blur=2.0)), expected)


def test_boxes_are_applied_in_turn():
    twice = ndimage.uniform_filter(noise(), 3, mode="constant")
    twice = ndimage.uniform_filter(twice, 5, mode="constant")
    np.testing.assert_array_equal(smooth(noise(), None, Post(boxes=(3, 5))), twice)


@pytest.mark.parametrize("post", [Post(blur=3.0), Post(boxes=(5,)), Post(blur=1.0, boxes=(3,))])
def test_what_is_not_valid_neither_raises_nor_lowers_the_rest(post):
    valid = np.zeros((20, 30), bool)
    valid[:, :12] = True
    found = smooth(np.where(valid, np.float32(2), np.float32(0)), valid, post)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[valid], 2, rtol=1e-5)
    assert not found[~valid].any()


def test_the_maximum_is_the_usual_pool():
    assert pool_score(noise(), None, Post()) == noise().max()


def test_only_valid_pixels_are_pooled():
    values = noise()
    values[:, 15:] = 9
    valid = np.zeros((20, 30), bool)
    valid[:, :15] = True
    assert pool_score(values, valid, Post()) == values[:, :15].max()
    assert pool_score(values, np.zeros_like(valid), Post()) == 0.0


def test_top_share_is_the_mean_of_the_largest_pixels():
    values = np.arange(100, dtype=np.float32).reshape(10, 10)
    assert pool_score(values, None, Post(pool="top_share", pool_value=0.1)) == 94.5
    assert pool_score(values, None, Post(pool="top_share", pool_value=1e-6)) == 99
    assert pool_score(values, None, Post(pool="top_share", pool_value=1.0)) == 49.5


def test_mean_pool_is_the_largest_mean_of_a_window():
    values = np.zeros((9, 9), np.float32)
    values[4, 4] = 9
    assert pool_score(values, None, Post(pool="mean_pool", pool_value=3)) == pytest.approx(1)


def test_json_brings_the_steps_back():
    post = Post(2.0, (3, 5), "image", "top_share", 0.01)
    assert Post.from_json(post.to_json()) == post


def test_regions_of_a_hand_worked_map():
    values = np.zeros((6, 8), np.float32)
    values[1, 1], values[2, 2] = 3, 2  # touch at a corner: one region
    values[4:6, 5:8] = 1.5
    mask = values > 1
    large, small = find_regions(values, mask, 1.0)
    assert (large.box, large.area, large.peak) == ((1, 1, 3, 3), 2, 3.0)
    assert (small.box, small.area, small.peak) == ((5, 4, 8, 6), 6, 1.5)
    # Excess above 1: 2 + 1 against 6 × 0.5.
    assert large.share == pytest.approx(0.5)
    assert small.share == pytest.approx(0.5)


def test_no_mask_no_region():
    assert find_regions(noise(), np.zeros((20, 30), bool), 0.5) == ()


def test_shares_fall_back_to_areas_where_nothing_rises_above_the_threshold():
    values = np.full((4, 8), 1.0, np.float32)
    mask = np.zeros((4, 8), bool)
    mask[0, 0:3] = mask[0, 5] = True
    regions = find_regions(values, mask, 1.0)
    assert [r.share for r in regions] == [0.75, 0.25]


@given(st.integers(0, 1000), st.floats(0.1, 0.95))
def test_regions_share_all_of_the_mask_and_all_of_the_score(seed, threshold):
    values = ndimage.gaussian_filter(np.random.default_rng(seed).random((25, 25)), 1)
    values = ((values - values.min()) / np.ptp(values)).astype(np.float32)
    mask = values > threshold
    regions = find_regions(values, mask, threshold)
    assert sum(r.area for r in regions) == mask.sum()
    assert sum(r.share for r in regions) == pytest.approx(1)
    assert [r.share for r in regions] == sorted((r.share for r in regions), reverse=True)
    for region in regions:
        left, top, right, bottom = region.box
        inside = values[top:bottom, left:right][mask[top:bottom, left:right]]
        assert inside.max() >= np.float32(region.peak) > threshold


@pytest.mark.parametrize(
    "post",
    [Post(), Post(blur=2.0), Post(boxes=(5, 5, 7)), Post(blur=1.0, boxes=(3,)), Post(boxes=(4,))],
)
def test_filters_behind_an_interpolation_are_part_of_its_matrices(post):
    grid = noise(6, 8)
    rows, columns = linear_matrix(6, 50), linear_matrix(8, 70)
    expected = smooth(rows @ grid @ columns.T, None, post)
    found = smooth_axis(rows, post) @ grid @ smooth_axis(columns, post).T
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
