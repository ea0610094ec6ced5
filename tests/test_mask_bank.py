"""Masks: how many patches, which, and how evenly."""

import numpy as np
import pytest

from blemish.errors import OptionError
from blemish.mask_bank import MASKINGS, complementary, count_visible, draw_masks


def shown(kind, grid=(16, 16), visible=64, count=500, seed=0):
    return ~draw_masks(kind, grid, visible, count, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", MASKINGS)
@pytest.mark.parametrize(("grid", "visible"), [((16, 16), 64), ((4, 10), 7), ((2, 2), 3)])
def test_every_mask_hides_the_same_number_of_patches(kind, grid, visible):
    masks = shown(kind, grid, visible, 50)
    assert masks.shape == (50, grid[0] * grid[1])
    assert set(masks.sum(axis=1)) == {visible}


def test_masks_of_256_patches_hide_192():
    assert count_visible((16, 16), 0.75) == 64
    assert set((~shown("block")).sum(axis=1)) == {192}


@pytest.mark.parametrize("kind", MASKINGS)
def test_masks_derive_from_the_seed(kind):
    assert np.array_equal(shown(kind), shown(kind))
    assert not np.array_equal(shown(kind), shown(kind, seed=1))
    assert len(np.unique(shown(kind), axis=0)) > 400


def test_visible_patches_of_blocks_have_visible_neighbours():
    def neighbours(kind):
        masks = shown(kind).reshape(-1, 16, 16)
        return (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()

    assert neighbours("block") > 0.65
    assert neighbours("random") < 0.3


def test_blocks_by_centre_show_corners_far_more_often_than_blocks_by_corner():
    def corner(kind):
        return shown(kind, count=4000).mean(axis=0).reshape(16, 16)[[0, 0, -1, -1], [0, -1, 0, -1]]

    assert corner("corner").mean() < 0.03
    assert corner("block").min() > 0.06


@pytest.mark.parametrize("passes", [1, 2, 4])
@pytest.mark.parametrize("grid", [(16, 16), (2, 2), (6, 10), (4, 22)])
def test_the_parts_of_an_image_are_of_one_size_and_cover_it_once(grid, passes):
    sets = complementary(grid, passes)
    assert sets.shape == (passes, grid[0] * grid[1] // passes)
    assert sorted(sets.ravel()) == list(range(grid[0] * grid[1]))


def test_parts_are_blocks_of_four_by_four_of_256_patches():
    first = np.zeros(256, bool)
    first[complementary((16, 16), 4)[0]] = True
    blocks = first.reshape(4, 4, 4, 4).swapaxes(1, 2).reshape(16, 16)
    assert sorted(blocks.sum(axis=1)) == [0] * 12 + [16] * 4


def test_further_partitions_are_others():
    sets = complementary((16, 16), 4, partitions=3)
    assert len(np.unique(sets, axis=0)) == 12
    for number in range(3):
        assert sorted(sets[4 * number : 4 * number + 4].ravel()) == list(range(256))


@pytest.mark.parametrize(("ratio", "left"), [(1.0, 0), (0.995, 0), (0.0, 64), (0.004, 64)])
def test_a_ratio_that_leaves_no_or_all_patches_is_refused(ratio, left):
    with pytest.raises(OptionError, match=rf"mask_ratio={ratio} leaves {left} of 8×8 = 64"):
        count_visible((8, 8), ratio)
