import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blemish.errors import MetricError
from blemish.metrics.rank_summary import BUFFER, STEP, RankSummary

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
FINITE = st.one_of(FLOATS, st.sampled_from([0.0, -0.0, 1.0]))
VALUES = hnp.arrays(np.float32, st.integers(0, 200), elements=FINITE)


def summary_of(values, buffer=9, exact_top=0, step=7):
    summary = RankSummary(buffer, exact_top)
    for start in range(0, values.size, step):
        summary.add(values[start : start + step])
    return summary


def check_counts(summary, values, thresholds):
    above, not_below, error = summary.counts(thresholds)
    true_above = np.array([np.sum(values > t) for t in thresholds])
    true_not_below = np.array([np.sum(values >= t) for t in thresholds])
    assert np.all(np.abs(above - true_above) <= error)
    assert np.all(np.abs(not_below - true_not_below) <= error)


@given(VALUES, VALUES, st.integers(0, 20))
@settings(deadline=None)
def test_counts_are_within_their_error_for_any_values(values, thresholds, exact_top):
    summary = summary_of(values, exact_top=exact_top)
    assert summary.count == values.size
    check_counts(summary, values, np.sort(np.concatenate([thresholds, values])))


@given(VALUES, VALUES, st.integers(0, 20))
@settings(deadline=None)
def test_merged_counts_are_within_the_summed_error(first, second, exact_top):
    summary = summary_of(first, exact_top=exact_top)
    summary.merge(summary_of(second, exact_top=exact_top))
    values = np.concatenate([first, second])
    assert summary.count == values.size
    check_counts(summary, values, np.sort(values))


def test_nothing_is_lost_before_the_first_buffer_is_full():
    values = np.arange(8, dtype=np.float32)
    summary = summary_of(values)
    above, not_below, error = summary.counts(values)
    assert above.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert not_below.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert error.tolist() == [0] * 8


def test_the_largest_values_are_counted_exactly():
    values = np.random.default_rng(0).permutation(1000).astype(np.float32)
    above, not_below, error = summary_of(values, 9, 100).counts(values[np.argsort(values)])
    assert np.all(error[-99:] == 0)
    assert above[-99:].tolist() == list(range(98, -1, -1))
    assert not_below[-99:].tolist() == list(range(99, 0, -1))
    assert error[0] > 0


def test_the_error_is_the_sum_over_all_cuts():
    # 81 values in buffers of 9: 9 cuts of weight 1, 3 of weight 3, 1 of weight 9
    assert summary_of(np.zeros(81, np.float32)).error == 9 * 1 + 3 * 3 + 1 * 9


def test_aupro_at_five_percent_stays_within_one_in_ten_thousand_up_to_ten_to_the_twelve_pixels():
    for count in 10 ** np.arange(5, 13):
        error, weight = 0, 1
        while weight * BUFFER <= count:
            error += count // (weight * BUFFER) * weight * (STEP - 1) // 2
            weight *= STEP
        assert error / count / 0.05 <= 1e-4


def test_a_constant_is_never_split():
    above, not_below, _ = summary_of(np.full(500, 3.5, np.float32)).counts(
        np.array([3.0, 3.5, 4.0], np.float32)
    )
    assert above.tolist() == [500, 0, 0]
    assert not_below.tolist() == [500, 500, 0]


def test_arrays_rebuild_the_same_summary():
    values = np.random.default_rng(1).standard_normal(500).astype(np.float32)
    summary = summary_of(values, 9, 20)
    again = RankSummary.from_arrays(summary.to_arrays())
    for one, two in zip(
        summary.counts(np.sort(values)), again.counts(np.sort(values)), strict=True
    ):
        assert np.array_equal(one, two)
    assert (again.count, again.error) == (summary.count, summary.error)


@pytest.mark.parametrize("buffer", [0, 2, 10])
def test_a_buffer_that_is_no_multiple_of_the_step_is_refused(buffer):
    with pytest.raises(MetricError, match="multiple of 3"):
        RankSummary(buffer)


def test_other_sizes_and_the_same_object_do_not_merge():
    summary = RankSummary(9, 0)
    for other in (RankSummary(12, 0), RankSummary(9, 1), summary):
        with pytest.raises(MetricError, match="same sizes"):
            summary.merge(other)


def test_the_caller_keeps_its_array():
    values = np.array([3, 1, 2, 5, 4, 9, 8, 7, 6, 0], np.float32)
    before = values.copy()
    RankSummary(9).add(values)
    assert np.array_equal(values, before)
