import numpy as np
import pytest

from blemish.datasets.drawing import plate


def test_the_same_plate_is_drawn_at_every_resolution():
    small = plate.draw_plate(np.random.default_rng(4), 1.0)
    large = plate.draw_plate(np.random.default_rng(4), 2.0)
    assert small.rgb.shape == (3, 1200, 240)
    assert large.rgb.shape == (3, 2400, 480)
    shrunk = large.rgb.reshape(3, 1200, 2, 240, 2).mean((2, 4))
    assert np.abs(shrunk - small.rgb).mean() < 0.01
    assert np.abs(large.alpha.reshape(1200, 2, 240, 2).mean((1, 3)) - small.alpha).max() < 0.3


@pytest.mark.parametrize("scale", [0.37, 1.43])
def test_odd_scales_are_drawn_too(scale: float):
    canvas = plate.draw_plate(np.random.default_rng(0), scale)
    assert canvas.rgb.shape == (3, round(1200 * scale), round(240 * scale))
    assert np.isfinite(canvas.rgb).all()


def test_the_outline_is_body_and_tabs():
    canvas = plate.draw_plate(np.random.default_rng(0))
    rows, columns = np.flatnonzero(canvas.alpha.any(1)), np.flatnonzero(canvas.alpha.any(0))
    left, top, right, bottom = plate.OUTLINE
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (left, top, right, bottom)
    assert canvas.alpha[30, 30] == 0
    assert canvas.alpha[30, 120] == 1


def test_changing_a_canvas_does_not_change_the_next_plate():
    first = plate.draw_plate(np.random.default_rng(1))
    before = first.alpha.copy()
    first.alpha[:] = 0
    assert np.array_equal(plate.draw_plate(np.random.default_rng(1)).alpha, before)


def test_anode_glass_and_cathode_look_as_they_should():
    rgb = plate.draw_plate(np.random.default_rng(2)).rgb
    red, green, blue = rgb[:, 90:105, 40:200].mean((1, 2))
    assert red > 1.3 * green > 1.3 * blue  # copper
    red, green, blue = rgb[:, 450:750, 60:180].mean((1, 2))
    assert blue > green > red  # bluish glass
    assert np.ptp(rgb[:, 1100:1110, 40:200].mean((1, 2))) < 0.06  # aluminium
    assert rgb[:, 1100:1110, 40:200].mean() > 2 * rgb[:, 950:955, 150:200].mean()


def test_one_stud_mirrors_the_lamp():
    seen = set()
    for seed in range(12):
        rgb = plate.draw_plate(np.random.default_rng(seed)).rgb
        levels = [rgb[:, y - 4 : y + 4, x - 4 : x + 4].max() for x in (20, 220) for y in (436, 764)]
        assert sorted(levels)[-1] > 0.85 > 0.75 > sorted(levels)[-2]
        seen.add(int(np.argmax(levels)))
    assert len(seen) > 2


def test_serial_numbers_differ_and_the_type_does_not():
    codes = [plate._prints(np.random.default_rng(seed)) for seed in (1, 2)]
    assert not np.array_equal(codes[0][1][1], codes[1][1][1])
    for place in (0, 2, 3):
        assert np.array_equal(codes[0][place][1], codes[1][place][1])


def test_blending_lays_one_colour_over_another():
    rgb = np.zeros((3, 2, 2), np.float32)
    plate.blend(rgb, (1.0, 0.5, 0.2), np.array([[0, 1], [0.5, 1]], np.float32))
    assert rgb[:, 0, 0].tolist() == [0, 0, 0]
    assert np.allclose(rgb[:, 0, 1], (1, 0.5, 0.2))
    assert np.allclose(rgb[:, 1, 0], (0.5, 0.25, 0.1))


def test_harmless_marks_are_faint():
    clean = np.full((3, 1200, 240), 0.5, np.float32)
    for seed in range(5):
        marked = clean.copy()
        plate._marks(np.random.default_rng(seed), marked, 1.0)
        change = np.abs(marked - clean).max(0)
        assert 0 < (change > 0.03).mean() < 0.02
        assert change.max() < 0.35


def test_a_patch_is_clipped_to_the_canvas():
    xs, ys, part = plate.patch(np.zeros((3, 20, 10)), (-5, 15, 4, 90), 1.0)
    assert part.shape == (3, 5, 4)
    assert (xs[0], ys[0]) == (0.5, 15.5)
