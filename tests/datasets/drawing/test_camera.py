import numpy as np
import pytest

from blemish.datasets.drawing import camera
from blemish.datasets.drawing.plate import OUTLINE

SHOT = camera.Shot(gain=1, slopes=(0, 0, 0), warmth=0, side=0, noise=0, seed=1)


def test_the_nominal_pose_is_the_frame_itself():
    assert np.allclose(camera.Pose().matrix, np.eye(3))
    left, top, right, bottom = OUTLINE
    assert camera.Pose().corners.tolist() == [
        [left, top],
        [right, top],
        [right, bottom],
        [left, bottom],
    ]


def test_a_turn_is_clockwise_about_the_centre():
    corners = camera.Pose(50, 60, angle=90, scale=0.1).corners
    # The anode lies on the right, its left corner above the right one.
    assert np.allclose(corners[0], (50 + 58, 60 - 10.8))
    assert np.allclose(corners[1], (50 + 58, 60 + 10.8))


def test_a_canvas_in_its_nominal_pose_is_not_changed():
    array = np.random.default_rng(0).integers(0, 256, (1200, 240), np.uint8)
    picture = camera.Pillow.fromarray(array)
    assert np.array_equal(camera.place(picture, camera.Pose(), 1.0, (0, 0, 240, 1200)), array)
    part = camera.place(picture, camera.Pose(), 1.0, (10, 20, 30, 50))
    assert np.array_equal(part, array[20:50, 10:30])


def test_a_mark_lands_where_the_matrix_says():
    array = np.zeros((2400, 480), np.float32)
    array[1600:1620, 100:120] = 1
    pose = camera.Pose(130, 590, angle=4, scale=0.9)
    y, x = np.argwhere(camera.place_mask(array, pose, 2.0, (0, 0, 260, 1200))).mean(0) + 0.5
    assert np.allclose((x, y), (pose.matrix @ (55, 805, 1))[:2], atol=0.3)


def test_a_plain_shot_keeps_the_scene():
    scene = np.random.default_rng(0).integers(0, 256, (33, 21, 3), np.uint8)
    assert np.array_equal(camera.expose(SHOT, scene), scene)


def test_light_gain_slope_and_warmth_do_what_they_say():
    scene = np.full((101, 51, 3), 100, np.uint8)
    shot = camera.Shot(gain=1.2, slopes=(0.1, 0, 0), warmth=0.05, side=0.1, noise=0, seed=1)
    image = camera.expose(shot, scene).astype(int)
    assert image[50, 25].tolist() == [126, 120, 114]
    assert image[100, 25, 1] == 132
    assert image[0, 25, 1] == 108


def test_noise_has_the_strength_that_was_asked_for():
    scene = np.full((300, 200, 3), 128, np.uint8)
    shot = camera.Shot(gain=1, slopes=(0, 0, 0), warmth=0, side=0, noise=0.02, seed=5)
    image = camera.expose(shot, scene)
    assert image[..., 1].std() == pytest.approx(5.1, rel=0.05)
    assert image[..., 0].std() > image[..., 1].std()
    assert image.mean() == pytest.approx(128, abs=0.2)


def test_strips_leave_no_seams(monkeypatch: pytest.MonkeyPatch):
    scene = np.random.default_rng(2).integers(0, 256, (90, 20, 3), np.uint8)
    shot = camera.Shot(gain=1, slopes=(0.1, 0.1, 0.05), warmth=0.01, side=0.2, noise=0, seed=1)
    whole = camera.expose(shot, scene)
    monkeypatch.setattr(camera, "_STRIP_PIXELS", 400)
    assert np.array_equal(camera.expose(shot, scene), whole)


def test_blur_keeps_the_mean_and_softens():
    bands = np.random.default_rng(1).random((3, 40, 30), np.float32)
    blurred = camera.soften(bands.copy(), 0.2)
    assert blurred.mean() == pytest.approx(bands.mean(), rel=1e-4)
    assert blurred.std() < 0.7 * bands.std()


def test_shots_vary_within_limits():
    shots = [camera.sample_shot(np.random.default_rng(n)) for n in range(50)]
    assert all(0.8 < s.gain < 1.2 and max(map(abs, s.slopes)) <= 0.16 for s in shots)
    assert len({s.seed for s in shots}) == 50
