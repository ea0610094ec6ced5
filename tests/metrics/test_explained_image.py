import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import measure
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from blemish.metrics.explained_image import NAMES, explain, own_threshold


def row_of(values, truth, valid=None):
    values = np.asarray(values, np.float32)
    truth = np.asarray(truth, bool)
    valid = np.ones_like(truth) if valid is None else valid
    return dict(zip(NAMES, explain(values, truth & valid, valid).row, strict=True))


@given(st.integers(0, 10**6), st.sampled_from([0, 1, 6]))
@settings(max_examples=40, deadline=None)
def test_figures_agree_with_independent_implementations(seed, decimals):
    random = np.random.default_rng(seed)
    truth = random.random((9, 8)) > 0.7
    truth[0, :2] = [True, False]
    values = np.round(random.standard_normal((9, 8)) + truth, decimals).astype(np.float32)
    row = row_of(values, truth)
    above = values > values.mean(dtype=float) + values.std(dtype=float)
    assert row["x_auc"] == pytest.approx(roc_auc_score(truth.ravel(), values.ravel()))
    assert row["x_f1"] == pytest.approx(f1_score(truth.ravel(), above.ravel()))
    assert row["x_iou"] == pytest.approx(jaccard_score(truth.ravel(), above.ravel()))
    best = [f1_score(truth.ravel(), (values >= t).ravel()) for t in np.unique(values)]
    assert row["x_f1_max"] == pytest.approx(max(best))
    assert row["x_iou_max"] == pytest.approx(max(best) / (2 - max(best)))
    assert row["components"] == measure.label(above, connectivity=2).max()
    mass = values.astype(float) - values.min()
    assert row["mass_inside"] == pytest.approx(mass[truth].sum() / mass.sum())
    inside, outside = mass[truth].mean(), mass[~truth].mean()
    assert row["contrast"] == pytest.approx((inside - outside) / (inside + outside))


def test_a_perfect_map_explains_everything():
    truth = np.zeros((8, 8), bool)
    truth[2:4, 2:4] = True
    row = row_of(truth, truth)
    assert row == dict.fromkeys(NAMES, 1.0)


def test_a_constant_map_explains_nothing():
    truth = np.zeros((8, 8), bool)
    truth[2:4, 2:4] = True
    row = row_of(np.full((8, 8), 0.1), truth)
    assert row["x_auc"] == 0.5
    assert row["x_f1"] == row["x_iou"] == row["components"] == 0
    assert row["x_f1_max"] == pytest.approx(2 * 4 / (64 + 4))
    assert math.isnan(row["mass_inside"])
    assert math.isnan(row["contrast"])


def test_an_image_that_is_all_defect_has_no_auc_and_no_contrast():
    row = row_of(np.arange(4.0).reshape(2, 2), np.ones((2, 2)))
    assert math.isnan(row["x_auc"])
    assert math.isnan(row["contrast"])
    assert row["mass_inside"] == row["x_f1_max"] == 1


def test_a_shift_and_a_positive_factor_change_nothing():
    random = np.random.default_rng(0)
    values, truth = random.integers(0, 50, (9, 9)).astype(np.float32), random.random((9, 9)) > 0.7
    assert row_of(values * 4 - 64, truth) == pytest.approx(row_of(values, truth))


def test_pixels_outside_the_valid_area_change_nothing():
    random = np.random.default_rng(0)
    values, truth = random.standard_normal((9, 9)), random.random((9, 9)) > 0.7
    valid = np.zeros((15, 15), bool)
    valid[3:12, 3:12] = True
    wide = np.full((15, 15), 50.0)
    wide[3:12, 3:12] = values
    marks = np.ones((15, 15), bool)
    marks[3:12, 3:12] = truth
    assert row_of(wide, marks, valid) == row_of(values, truth)


@pytest.mark.parametrize("constant", [0.1, 1e-30, 1e30, -3.3])
def test_nothing_is_above_mean_and_deviation_of_a_constant(constant):
    values = np.full(1001, constant, np.float32)
    assert not np.any(values > own_threshold(values))
