import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blemish.errors import MetricError
from blemish.metrics.intervals import wilson
from blemish.metrics.uniformity import distances, reliability, uniformity_figures

P_VALUES = st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=60)


def conformal(calibration, test):
    """P-values of test scores: one plus the scores at least as large, over n + 1."""
    return [(1 + np.sum(calibration >= score)) / (calibration.size + 1) for score in test]


@given(P_VALUES)
def test_distances_are_those_of_scipy(values):
    above, below = distances(values)
    assert above == pytest.approx(stats.kstest(values, "uniform", alternative="greater").statistic)
    assert below == pytest.approx(stats.kstest(values, "uniform", alternative="less").statistic)
    figures = uniformity_figures(values)
    assert figures["p_value_ks"].value == pytest.approx(stats.kstest(values, "uniform").statistic)
    expected = stats.kstest(values, "uniform", method="asymp").pvalue
    assert figures["p_value_ks_test"].value == pytest.approx(expected, abs=1e-9)


def test_the_test_allows_for_a_shared_calibration_set():
    random = np.random.default_rng(0)
    alone, shared = [], []
    for _ in range(200):
        values = conformal(random.standard_normal(60), random.standard_normal(200))
        alone.append(uniformity_figures(values)["p_value_ks_test"].value < 0.05)
        shared.append(uniformity_figures(values, 60)["p_value_ks_test"].value < 0.05)
    assert np.mean(shared) <= 0.07
    assert np.mean(alone) > 0.15  # which is why the number of calibration images matters


def test_good_images_that_look_odd_are_found_out():
    random = np.random.default_rng(0)
    values = conformal(random.standard_normal(200), random.standard_normal(200) + 0.7)
    figures = uniformity_figures(values, 200)
    assert figures["p_value_ks_test"].value < 1e-3
    assert figures["p_value_excess"].value == figures["p_value_ks"].value > 0.15


def test_large_p_values_are_no_excess():
    figures = uniformity_figures(np.full(50, 0.99))
    assert figures["p_value_excess"].value == pytest.approx(0.01)
    assert figures["p_value_ks"].value == pytest.approx(0.99)


def test_reliability_is_the_share_at_or_below_each_rate():
    points = reliability([0.01, 0.05, 0.05, 0.5], (0.01, 0.05, 1.0))
    assert [point.observed for point in points] == [0.25, 0.75, 1.0]
    assert [point.asked for point in points] == [0.01, 0.05, 1.0]
    assert (points[1].low, points[1].high) == wilson(3, 4)


def test_no_good_image_gives_no_value_and_the_reason():
    for figure in uniformity_figures([]).values():
        assert (figure.value, figure.reason) == (None, "the test set has no good image")
    assert reliability([]) == []


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.1, np.nan])
def test_a_p_value_outside_0_to_1_is_refused(wrong):
    with pytest.raises(MetricError, match="is not in"):
        uniformity_figures([0.5, wrong])
    with pytest.raises(MetricError, match="is not in"):
        reliability([wrong])
