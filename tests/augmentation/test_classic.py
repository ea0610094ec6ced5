import numpy as np
import pytest

from blemish.augmentation.classic import PRESETS, Changes, find_changes
from blemish.errors import UnknownNameError

pytest.importorskip("torchvision")


def view(height=60, width=40):
    """A grey image whose mask is exactly where it is red, with an invalid border at the right."""
    image = np.full((height, width, 3), 0.5, np.float32)
    mask = np.zeros((height, width), bool)
    mask[10:25, 8:16] = True
    image[mask] = (1.0, 0.0, 0.0)
    valid = np.ones((height, width), bool)
    valid[:, -6:] = False
    for array in (image, mask, valid):
        array.setflags(write=False)
    return image, valid, mask


def is_red(image):
    return (image[..., 0] > 0.75) & (image[..., 1] < 0.25)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(6))
def test_the_mask_goes_where_the_defect_goes(preset, seed):
    image, valid, mask = view()
    changes = Changes(**{**vars(PRESETS[preset]), "chance": 1.0, "blur": False})
    changed, still, moved = changes.apply(image, valid, mask, np.random.default_rng(seed))
    red = is_red(changed) & still
    # They may disagree on the outline, where colours are mixed.
    assert np.count_nonzero(red ^ moved) <= 0.15 * max(np.count_nonzero(red), 40)
    assert not (moved & ~still).any()
    assert changed.shape == image.shape
    assert changed.dtype == np.float32
    assert 0 <= changed.min() <= changed.max() <= 1


def test_what_came_from_padding_or_goes_there_is_not_valid():
    image, valid, mask = view()
    _, still, _ = Changes(flip_across=True).apply(image, valid, mask, np.random.default_rng(0))
    assert not still[:, :6].any()
    assert not still[:, -6:].any()
    assert still[:, 6:-6].all()


def test_flips_are_exact_and_pixel_changes_move_nothing():
    image, valid, mask = view()
    valid = np.ones_like(valid)
    random = np.random.default_rng(0)
    across, _, moved = Changes(flip_across=True).apply(image, valid, mask, random)
    np.testing.assert_array_equal(across, image[:, ::-1])
    np.testing.assert_array_equal(moved, mask[:, ::-1])
    changed, still, same = PRESETS["pixel_only"].apply(image, valid, mask, random)
    assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(same, mask)
    assert still.all()


def test_a_quarter_turn_of_a_narrow_view_is_filled_with_its_mirror_image():
    image = np.full((90, 20, 3), 0.25, np.float32)
    valid = np.ones((90, 20), bool)
    turned, still, _ = Changes(rotate=90.0).apply(image, valid, ~valid, np.random.default_rng(3))
    np.testing.assert_allclose(turned, 0.25, atol=1e-5)
    assert still.mean() > 0.99


def test_the_same_generator_gives_the_same_change_and_chance_leaves_some_alone():
    image, valid, mask = view()
    one, two = (PRESETS["thesis"].apply(image, valid, mask, np.random.default_rng(5)) for _ in "ab")
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    random = np.random.default_rng(0)
    found = [PRESETS["thesis"].apply(image, valid, mask, random)[0] for _ in range(60)]
    untouched = sum(np.array_equal(f, image) for f in found)
    # Seven draws of 0.3: 8 % are left as they are.
    assert 0 < untouched < 20


def test_one_change_can_be_asked_for_alone():
    assert find_changes("none") is None
    assert find_changes("on") == PRESETS["aligned"]
    only = find_changes("thesis:rotate")
    assert (only.names, only.rotate, only.chance) == (["rotate"], 90.0, 0.3)
    with pytest.raises(UnknownNameError, match="Did you mean 'aligned'"):
        find_changes("alinged")
    with pytest.raises(UnknownNameError, match="Known: brightness, contrast, gamma"):
        find_changes("pixel_only:rotate")
