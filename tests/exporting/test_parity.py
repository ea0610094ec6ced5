"""The gate's arithmetic, on predictions made up for it."""

from dataclasses import replace

import numpy as np
import pytest

from blemish.exporting.parity import TOLERANCES, Tolerance, _pair, measure
from drawn import draw_defective

FP32 = TOLERANCES["fp32"]


@pytest.fixture
def expected(fitted):
    return fitted.predict(draw_defective(5))


def judged(fitted, expected, tolerance=FP32, **changed):
    return measure(fitted, [_pair(expected, replace(expected, **changed), tolerance)], tolerance)


def test_the_same_answer_passes(fitted, expected):
    found = judged(fitted, expected)
    assert found.passed
    assert (found.map, found.score, found.ranks, found.flipped, found.mask) == (0, 0, 0, 0, 0)
    assert "APART" not in found.table()
    assert found.to_json()["tolerance"]["map"] == 1e-4


def test_each_difference_is_seen_alone(fitted, expected):
    span = float(np.ptp(expected.anomaly_map))
    moved = expected.anomaly_map.copy()
    moved[0, 0] += np.float32(0.01 * span)
    assert judged(fitted, expected, anomaly_map=moved).map == pytest.approx(0.01, rel=1e-3)
    assert not judged(fitted, expected, score=expected.score * 1.1).passed
    assert not judged(fitted, expected, p_value=1.0).passed
    assert not judged(fitted, expected, mask=~expected.mask).passed


def test_a_flipped_decision_counts_unless_the_score_is_at_the_threshold(fitted, expected):
    flipped = judged(fitted, expected, defective=False)
    assert (flipped.flipped, flipped.near, flipped.passed) == (1, 0, False)
    close = replace(expected, score=expected.threshold)
    near = measure(fitted, [_pair(close, replace(close, defective=False), FP32)], FP32)
    assert (near.flipped, near.near, near.passed) == (0, 1, True)


def test_a_share_of_flips_may_be_allowed(fitted, expected):
    lax = Tolerance(1, 1e-4, np.inf, flipped=0.5)
    same, other = (
        _pair(expected, expected, lax),
        _pair(expected, replace(expected, defective=False), lax),
    )
    assert measure(fitted, [same, other], lax).passed
    assert not measure(fitted, [other, other], lax).passed


def test_a_map_that_is_no_number_never_passes(fitted, expected):
    assert not judged(fitted, expected, anomaly_map=expected.anomaly_map * np.nan).passed
