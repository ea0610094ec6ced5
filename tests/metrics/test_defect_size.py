import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.metrics.defect_size import rho, rho_bound, size_bins

AREAS = st.lists(st.integers(1, 50), min_size=1, max_size=40)
UNIT = st.floats(0, 1)


@given(AREAS)
def test_each_quarter_is_within_the_next_and_disjoint_bins_share_nothing(areas):
    bins = size_bins(np.array(areas))
    for small, large in (("q1", "q2"), ("q2", "q3"), ("q3", "q4")):
        assert np.all(bins[large][bins[small]])
    assert bins["q4"].all()
    assert np.all(np.sum([bins[f"d{n}"] for n in range(1, 5)], axis=0) == 1)
    assert np.array_equal(bins["d1"] | bins["d2"], bins["q2"])


def test_a_hand_worked_case():
    # quantiles of 1, 2, 3, 4, 10: 2, 3, 4
    bins = size_bins(np.array([10, 1, 2, 3, 4]))
    assert bins["q1"].tolist() == [False, True, True, False, False]
    assert bins["d3"].tolist() == [False, False, False, False, True]
    assert bins["d4"].tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("quarters", "expected"),
    [
        ([1, 1, 1, 1], 1),
        ([0.4, 0.5, 0.7, 0.8], 0.5 * 0.6),
        ([0.8, 0.7, 0.5, 0.4], 0.3),
        ([0] * 4, 0),
    ],
)
def test_rho_is_the_mean_times_smaller_over_larger(quarters, expected):
    assert rho(quarters) == pytest.approx(expected)


@given(st.lists(st.tuples(UNIT, UNIT, st.floats(0, 0.2)), min_size=4, max_size=4))
def test_rho_never_errs_by_more_than_its_bound(quarters):
    values = [value for value, _, _ in quarters]
    bounds = [bound for _, _, bound in quarters]
    low = [max(0, value - bound) for value, _, bound in quarters]
    high = [min(1, value + bound) for value, _, bound in quarters]
    true = [a + place * (b - a) for (_, place, _), a, b in zip(quarters, low, high, strict=True)]
    if any(bounds):
        assert abs(rho(true) - rho(values)) <= rho_bound(values, bounds) + 1e-12
    else:
        assert rho_bound(values, bounds) == 0
