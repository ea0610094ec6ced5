"""Batches that are moved on their device."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.augmentation.moving import move  # noqa: E402


def moved(kind, height=24, width=24, count=64):
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = torch.stack([rows, columns, rows + columns]).float()[None] / (height + width)
    valid = torch.ones(1, 1, height, width)
    valid[..., height - 4 :, :] = 0
    images = x.expand(count, -1, -1, -1)
    return x[0], *move(images, valid.expand(count, -1, -1, -1), kind)


def test_textures_take_each_symmetry_of_a_square_and_no_other():
    x, found, _ = moved("texture")
    symmetries = [torch.rot90(y, k, (1, 2)) for y in (x, x.flip(2)) for k in range(4)]
    apart = torch.stack([(found - s).abs().amax(dim=(1, 2, 3)) for s in symmetries])
    assert apart.min(dim=0).values.max() < 1e-4, "each is one of the eight"
    assert set(apart.argmin(dim=0).tolist()) == set(range(8))


def test_a_rectangle_is_never_turned_by_a_right_angle():
    x, found, _ = moved("texture", 16, 24)
    symmetries = [x, x.flip(1), x.flip(2), x.flip(1, 2)]
    apart = torch.stack([(found - s).abs().amax(dim=(1, 2, 3)) for s in symmetries])
    assert apart.min(dim=0).values.max() < 1e-4


def test_objects_move_a_little_and_keep_their_hand():
    x, found, _ = moved("object", 60, 60)
    inner = (slice(None), slice(None), slice(15, 45), slice(15, 45))
    # A pixel moves by at most 3 % of 60 plus 5 degrees of its distance: under 5 pixels.
    assert (found - x)[inner].abs().max() < 2 * 5 / 120
    assert (found[:, 0, 40] > found[:, 0, 20]).all(), "below stays below"
    assert (found[:, 1, :, 40] > found[:, 1, :, 20]).all(), "right stays right"
    assert len(np.unique(found[:, 0, 30, 30].numpy().round(4))) > 50, "each in its own way"


def test_what_comes_in_from_beyond_the_border_is_the_image_mirrored():
    _, found, _ = moved("object", 60, 60)
    assert found.amin(dim=(2, 3))[:, 2].max() < 0.1
    bright = torch.full((32, 3, 20, 20), 0.8)
    assert move(bright, torch.ones(32, 1, 20, 20), "object")[0].min() > 0.799


def test_valid_pixels_go_with_their_image():
    _, found, valid = moved("texture")
    below = found[:, 0] > 19.5 / 48  # rows 20 and more were not valid
    assert torch.equal(valid[:, 0] == 0, below)


def test_none_changes_nothing():
    x, found, _ = moved("none")
    assert torch.equal(found[3], x)
