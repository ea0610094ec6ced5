import numpy as np
import pytest

from blemish.augmentation.cut_paste import (
    PLACEMENTS,
    Pasting,
    Piece,
    cut,
    cut_paste,
    find_object,
    paste,
    turn_whole,
)
from blemish.errors import DataError

RED = (200, 0, 0)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def defect(top: int = 20, left: int = 30, height: int = 8, width: int = 12, side: int = 80):
    """A grey image with one red block, and its mask."""
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    image = np.full((side, side, 3), 120, np.uint8)
    image[mask] = RED
    return image, mask


def background(side: int = 80) -> np.ndarray:
    return generator(5).integers(60, 90, (side, side, 3)).astype(np.uint8)


def on_table(top: int, left: int, side: int = 80):
    """A bright block (the object) on a dark table, and where it is."""
    image = np.full((side, side, 3), 20, np.uint8)
    there = np.zeros((side, side), bool)
    there[top : top + 30, left : left + 30] = True
    image[there] = 180
    return image, there


def test_an_unchanged_piece_is_the_smallest_box_around_the_defect():
    image, mask = defect()
    piece = cut(image, mask)
    assert (piece.top, piece.left) == (20, 30)
    assert piece.mask.shape == (8, 12)
    assert piece.mask.all()
    assert (piece.pixels == RED).all()


def test_turning_by_a_right_angle_swaps_the_sides_exactly():
    image, mask = defect(height=9, width=13)
    piece = cut(image, mask, angle=90)
    assert piece.mask.shape == (13, 9)
    assert piece.mask.all()


@pytest.mark.parametrize("angle", [-20, 13, 45])
@pytest.mark.parametrize("scale", [0.7, 1.3])
def test_no_corner_is_cut_off_by_turning_and_zooming(angle, scale):
    image, mask = defect(20, 20, 30, 40)
    piece = cut(image, mask, angle, scale)
    assert piece.mask.sum() == pytest.approx(30 * 40 * scale**2, rel=0.05)


def test_zoomed_pixels_are_interpolated_from_the_image_and_not_from_nothing():
    image, mask = defect()
    piece = cut(image, mask, 10, 1.3)
    # Grey from around the defect may bleed in at its border, black may not.
    assert piece.pixels[piece.mask][:, 0].min() >= 120


def test_a_defect_too_small_to_survive_zooming_is_kept_as_it_is():
    image, mask = defect(10, 11, 1, 1)
    for scale in (0.3, 0.7):
        assert cut(image, mask, 17, scale).mask.any()


def test_an_empty_mask_cannot_be_cut():
    image, mask = defect()
    with pytest.raises(DataError, match="without a marked pixel"):
        cut(image, np.zeros_like(mask))


def test_pasting_changes_the_pasted_pixels_only():
    image, mask = defect()
    ground = background()
    before = ground.copy()
    pasted, where = paste(cut(image, mask), ground, 3, 4)
    assert where.sum() == mask.sum()
    assert (pasted[where] == RED).all()
    np.testing.assert_array_equal(pasted[~where], before[~where])
    np.testing.assert_array_equal(ground, before)


@pytest.mark.parametrize(("place", "left"), [((-4, 0), 48), ((76, 76), 16), ((200, 0), 0)])
def test_what_lies_beyond_the_border_is_lost(place, left):
    image, mask = defect()
    _, where = paste(cut(image, mask), background(), *place)
    assert where.sum() == left


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_mask_is_where_the_image_differs_from_the_good_one(placement):
    image, mask = defect()
    ground, valid = background(), np.ones((80, 80), bool)
    for seed in range(5):
        found = cut_paste(image, mask, ground, valid, generator(seed), Pasting(placement=placement))
        assert found is not None
        np.testing.assert_array_equal((found[0] != ground).any(axis=2), found[1])


def test_the_same_seed_pastes_the_same():
    image, mask = defect()
    one, two, other = (
        cut_paste(image, mask, background(), np.ones((80, 80), bool), generator(s))
        for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[0] != other[0]).any()


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def test_placements_keep_their_distance():
    image, mask = defect()
    valid = np.ones((80, 80), bool)
    farthest = {}
    for placement in PLACEMENTS:
        how = Pasting(placement=placement)
        places = [
            centre(cut_paste(image, mask, background(), valid, generator(s), how)[1])
            for s in range(30)
        ]
        farthest[placement] = np.abs(np.asarray(places) - centre(mask)).max()
    assert farthest["original"] == 0
    assert farthest["near"] <= 8 + 3  # a tenth of the image, and the box moves when it turns
    assert farthest["uniform"] > 15
    assert farthest["object"] > 15  # a texture: anywhere


def test_a_defect_of_an_object_is_pasted_onto_the_object():
    image, there = on_table(10, 10)
    mask = np.zeros_like(there)
    mask[20:26, 20:26] = True
    image[mask] = RED
    ground, object_ = on_table(45, 40)
    for seed in range(10):
        _, where = cut_paste(image, mask, ground, np.ones_like(mask), generator(seed))
        assert object_[where].mean() >= 0.8


def test_a_defect_beside_the_object_may_stay_beside_it():
    image, _ = on_table(10, 10)
    mask = np.zeros((80, 80), bool)
    mask[60:66, 60:66] = True
    image[mask] = (30, 20, 20)
    ground, object_ = on_table(45, 40)
    on = [
        object_[cut_paste(image, mask, ground, np.ones_like(mask), generator(s))[1]].mean()
        for s in range(10)
    ]
    assert min(on) < 0.5


def test_the_object_is_found_only_before_a_plain_background():
    image, there = on_table(20, 25)
    assert (find_object(image) == there).mean() > 0.95
    assert find_object(background()) is None
    assert find_object(np.full((40, 40, 3), 7, np.uint8)) is None
    ramp = np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], 80, axis=0)
    assert find_object(np.repeat(ramp, 3, axis=2)) is None


def test_a_defect_larger_than_the_image_is_made_to_fit():
    image, mask = defect(1, 1, 76, 78)
    for seed in range(5):
        found = cut_paste(image, mask, background(), np.ones((80, 80), bool), generator(seed))
        assert found is not None
        assert found[1].sum() > 1000


def test_a_defect_as_large_as_the_image_stays_where_it_was():
    image, mask = defect(0, 0, 80, 80)
    how = Pasting(zoom=(3.0, 3.0), rotation=45)
    found = cut_paste(image, mask, background(), np.ones((80, 80), bool), generator(), how)
    assert found is not None


def test_nothing_is_pasted_where_nothing_is_valid():
    image, mask = defect()
    assert cut_paste(image, mask, background(), np.zeros((80, 80), bool), generator()) is None
    half = np.zeros((80, 80), bool)
    half[:, :40] = True
    for seed in range(5):
        found = cut_paste(image, mask, background(), half, generator(seed))
        assert found is not None
        assert not found[1][~half].any()


def test_turning_a_whole_image_takes_its_mask_along():
    image, mask = defect(30, 30, 16, 20)
    turned, where = turn_whole(image, mask, generator(2))
    assert turned.shape == image.shape
    assert where.any()
    red = turned[:, :, 1] < 60
    assert (red == where).mean() > 0.98


def test_a_piece_remembers_where_it_came_from():
    image, mask = defect()
    piece = cut(image, mask, 0, 1.2)
    assert isinstance(piece, Piece)
    assert abs(piece.top - 20) <= 2
    assert abs(piece.left - 30) <= 2
