import numpy as np
import pytest

from blemish.metrics.curves import thin_out


def test_short_curves_are_left_alone():
    assert thin_out(np.array([0.0, 1.0]), np.array([0.5, 1.0])) == ([0, 1], [0.5, 1])


@pytest.mark.parametrize("points", [2, 3, 10, 200])
def test_long_curves_keep_their_ends_and_their_steep_start(points):
    x = np.linspace(0, 1, 100_001)
    y = np.minimum(1, x * 1000)  # all of the rise in the first thousandth
    short_x, short_y = thin_out(x, y, points)
    assert len(short_x) == len(short_y) <= points
    assert (short_x[0], short_x[-1]) == (0, 1)
    assert (short_y[0], short_y[-1]) == (0, 1)
    assert set(short_x) <= set(x.tolist())
    if points >= 10:
        assert sum(0 < value < 1 for value in short_y) >= points // 3


def test_a_curve_that_lingers_at_its_end_stays_short():
    x = np.append(np.linspace(0, 1, 300), np.ones(5))
    short_x, _ = thin_out(x, x, 100)
    assert len(short_x) <= 100
    assert (short_x[0], short_x[-1]) == (0, 1)


def test_a_curve_that_does_not_move_keeps_its_ends():
    assert thin_out(np.zeros(300), np.ones(300)) == ([0, 0], [1, 1])
