import numpy as np
import pytest

from blemish.preparation.placement import Frame, Rectangle, cut, cut_mask, map_to_photo, to_photo
from scenes import PLACE, SIZE, photo, spot_mask

FRAME = Frame(60, 200, (5, 10))
TURNED = Rectangle(233.5, 351.25, 125.0, 470.0, 8.0)


def test_corners_go_clockwise_from_the_upper_left():
    corners = Rectangle(10, 20, 4, 8, 0).corners
    np.testing.assert_allclose(corners, [(8, 16), (12, 16), (12, 24), (8, 24)])
    turned = Rectangle(10, 20, 4, 8, 90).corners  # clockwise: the upper left is now at the right
    np.testing.assert_allclose(turned, [(14, 18), (14, 22), (6, 22), (6, 18)], atol=1e-9)


@pytest.mark.parametrize("place", [PLACE, TURNED])
def test_the_corners_of_the_part_in_the_frame_are_those_in_the_photo(place):
    part = np.array([(5, 10), (55, 10), (55, 190), (5, 190)], float)
    np.testing.assert_allclose(to_photo(part, place, FRAME), place.corners, atol=1e-9)


@pytest.mark.parametrize("place", [PLACE, TURNED])
def test_a_cut_out_stands_upright_inside_its_margin(place):
    found = cut(photo(place), place, FRAME).astype(int)
    assert found.shape == (200, 60, 3)
    assert abs(found[50, 30] - (70, 40, 30)).max() < 6
    assert abs(found[165, 30] - (210, 200, 190)).max() < 6
    assert abs(found[5, 30] - (150, 160, 140)).max() < 6
    edge = found[50, :, 2]
    np.testing.assert_allclose(edge[:4].mean() - edge[6:10].mean(), 110, atol=6)


def test_each_pixel_is_the_mean_of_what_it_covers():
    noise = np.random.default_rng(0).integers(0, 256, (200, 120, 3)).astype(np.uint8)
    place = Rectangle(60, 100, 120, 200, 0)
    found = cut(noise, place, Frame(12, 20)).astype(float)
    blocks = noise.reshape(20, 10, 12, 10, 3).mean(axis=(1, 3))
    away = found - blocks
    assert away.std() < 0.4 * blocks.std(), "no pixel counts much more than another"
    assert abs(away.mean()) < 0.7  # Pillow rounds down


def test_a_mask_is_cut_like_its_photo():
    mask = cut_mask(spot_mask(TURNED), TURNED, FRAME)
    rows, columns = np.nonzero(mask)
    assert abs(columns.mean() + 0.5 - 30) < 0.5
    assert abs(rows.mean() + 0.5 - (10 + 0.25 * 180)) < 0.5


def test_a_map_goes_back_to_where_its_photo_shows_the_place():
    values = np.zeros((200, 60), np.float32)
    values[55, 20] = 1  # its centre is (20.5, 55.5)
    back = map_to_photo(values, TURNED, FRAME, SIZE[::-1])
    assert back.shape == SIZE[::-1]
    rows, columns = np.nonzero(back > 0)
    centre = np.average(np.stack([columns, rows], 1) + 0.5, axis=0, weights=back[rows, columns])
    expected = to_photo(np.array([(20.5, 55.5)]), TURNED, FRAME)[0]
    np.testing.assert_allclose(centre, expected, atol=0.1)


def test_a_map_of_ones_covers_the_cut_out_and_nothing_else():
    back = map_to_photo(np.ones((200, 60), np.float32), PLACE, FRAME, SIZE[::-1])
    scale = 120 / 50 * 480 / 180
    assert back.max() == pytest.approx(1)
    assert back.sum() == pytest.approx(60 * 200 * scale, rel=0.02)


def test_a_map_that_lies_outside_the_photo_puts_nothing_in():
    far = Rectangle(-900, -900, 120, 480, 0)
    assert not map_to_photo(np.ones((200, 60), np.float32), far, FRAME, SIZE[::-1]).any()
