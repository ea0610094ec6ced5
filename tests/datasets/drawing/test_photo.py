import numpy as np
import pytest

from blemish.datasets.drawing import photo
from blemish.datasets.drawing.camera import Pose, Shot
from blemish.datasets.drawing.plate import Canvas

SHOT = Shot(gain=1, slopes=(0, 0, 0), warmth=0, side=0, noise=0, seed=1)


@pytest.mark.parametrize("size", [(400, 600), (600, 480), (320, 480), (900, 1500)])
def test_a_plate_lies_wholly_in_the_photo(size: tuple[int, int]):
    poses = [photo.sample_pose(np.random.default_rng(n), size) for n in range(60)]
    for pose in poses:
        assert (pose.corners > 0).all()
        assert (pose.corners < size).all()
    angles = [pose.angle for pose in poses]
    assert min(angles) < -7
    assert max(angles) > 7
    assert max(map(abs, angles)) <= photo.MAX_TURN


def test_clutter_keeps_clear_of_the_plate():
    size, drawn = (300, 450), []
    for seed in range(8):
        pose = photo.sample_pose(np.random.default_rng(seed), size)
        # A plate of one colour: whatever else is seen inside lies on it.
        shape = (round(1200 * pose.scale), round(240 * pose.scale))
        canvas = Canvas(np.ones((3, *shape), np.float32), np.ones(shape, np.float32), pose.scale)
        image = photo.draw_photo(np.random.default_rng(seed), canvas, pose, size, SHOT)
        ys, xs = np.mgrid[:450, :300] + 0.5
        units = np.stack((xs, ys, np.ones_like(xs)), -1) @ np.linalg.inv(pose.matrix).T
        inside = (np.abs(units[..., 0] - 120) < 106) & (np.abs(units[..., 1] - 600) < 577)
        assert (image[inside] == 255).all()
        drawn.append(image[~inside].std())
    assert min(drawn) > 5


def test_every_thing_can_be_drawn_and_tells_where_it_is():
    for draw in set(photo._THINGS):
        picture = photo.Pillow.new("RGB", (200, 200), (128, 128, 128))
        for seed in range(6):
            rng, twin = (np.random.default_rng(seed) for _ in range(2))
            centre = np.array((100.0, 100.0))
            points = draw(rng, None, centre, 0.5, 0.3)
            assert np.array_equal(points, draw(twin, picture, centre, 0.5, 0.3))
            assert points.shape[1] == 2
        changed = (np.asarray(picture) != 128).any(-1)
        assert 0.001 < changed.mean() < 0.6


def test_there_may_be_no_room_for_clutter():
    picture = photo.Pillow.new("RGB", (40, 40), (128, 128, 128))
    photo._add_clutter(np.random.default_rng(0), picture, Pose(20, 20, 0, 1.0))
    assert (np.asarray(picture) == 128).all()
