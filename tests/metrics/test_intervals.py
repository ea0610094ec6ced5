import numpy as np
import pytest
from scipy import stats

from blemish.errors import MetricError
from blemish.metrics import intervals
from blemish.metrics.intervals import (
    bootstrap_interval,
    clopper_pearson,
    group_weights,
    has_spread,
    mean_interval,
    paired_bootstrap,
    share_won,
    wilson,
)
from blemish.metrics.ranking import Ranking


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000)])
def test_rates_agree_with_scipy(hits, trials):
    test = stats.binomtest(hits, trials)
    low, high = test.proportion_ci(0.95, "wilson")
    assert wilson(hits, trials) == pytest.approx((low, high))
    low, high = test.proportion_ci(0.95, "exact")
    assert clopper_pearson(hits, trials) == pytest.approx((low, high))


def test_no_trials_say_nothing():
    assert wilson(0, 0) == (0, 1)
    assert clopper_pearson(0, 0) == (0, 1)


@pytest.mark.parametrize("function", [wilson, clopper_pearson])
@pytest.mark.parametrize(("hits", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(function, hits, trials):
    with pytest.raises(MetricError, match="needs 0"):
        function(hits, trials)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = mean_interval(random.standard_normal(60), seed, 400)
        covered += low <= 0 <= high
    assert 178 <= covered <= 199


def test_one_unit_has_no_interval():
    assert mean_interval([0.5], 0) == (None, None)
    assert mean_interval([0.5, 0.6], 0, 0) == (None, None)


def test_groups_stay_together_and_strata_keep_their_size():
    groups = ["a", "a", "b", "c", "d", "d", "e", "e"]
    truth = [0, 0, 0, 1, 1, 1, 0, 1]  # e has both kinds
    weights = np.concatenate(list(group_weights(groups, truth, 0, 500)))
    assert weights.shape == (500, 8)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.array_equal(weights[:, 6], weights[:, 7])
    assert np.all(weights[:, 0] + weights[:, 2] == 2)
    assert np.all(weights[:, 3] + weights[:, 4] == 2)
    assert np.all(weights[:, 6] == 1)
    assert weights[:, 0].mean() == pytest.approx(1, abs=0.1)


def test_large_sets_are_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr(intervals, "_BLOCK", 5)
    blocks = list(group_weights([str(n) for n in range(10)], np.zeros(10), 0, 5))
    assert [block.shape for block in blocks] == [(2, 10), (2, 10), (1, 10)]


def test_a_stratum_of_one_group_has_no_interval():
    assert not has_spread(["a", "b", "c", "c"], [0, 0, 1, 1])
    assert has_spread(["a", "b", "c", "d"], [0, 0, 1, 1])
    assert not has_spread([], [])
    ranking = Ranking.of([1, 2, 3, 4], [0, 0, 1, 1])
    found = bootstrap_interval(ranking.auroc, ["a", "b", "c", "c"], [0, 0, 1, 1], 0)
    assert found == (None, None)


def test_repeated_photos_of_one_part_widen_the_interval():
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 20)
    scores = random.standard_normal(40) + truth
    alone = [str(n) for n in range(40)]
    narrow = bootstrap_interval(
        Ranking.of(np.repeat(scores, 5), np.repeat(truth, 5)).auroc,
        [str(n) for n in range(200)],
        np.repeat(truth, 5),
        0,
    )
    wide = bootstrap_interval(
        Ranking.of(np.repeat(scores, 5), np.repeat(truth, 5)).auroc,
        list(np.repeat(alone, 5)),
        np.repeat(truth, 5),
        0,
    )
    once = bootstrap_interval(Ranking.of(scores, truth).auroc, alone, truth, 0)
    assert wide == pytest.approx(once)
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_the_same_seed_gives_the_same_interval():
    truth = np.repeat([0, 1], 20)
    ranking = Ranking.of(np.random.default_rng(1).standard_normal(40) + truth, truth)
    groups = [str(n) for n in range(40)]
    one, two, other = (bootstrap_interval(ranking.auroc, groups, truth, s, 200) for s in (3, 3, 4))
    assert one == two != other


def test_a_paired_difference_is_narrower_than_two_intervals():
    random = np.random.default_rng(2)
    truth = np.repeat([0, 1], 60)
    hard = random.standard_normal(120)
    first = Ranking.of(hard + 1.0 * truth, truth)
    second = Ranking.of(hard + 0.9 * truth + random.standard_normal(120) * 0.01, truth)
    groups = [str(n) for n in range(120)]
    difference = paired_bootstrap(first.auroc, second.auroc, groups, truth, 0)
    assert difference.value == pytest.approx(first.auroc() - second.auroc())
    assert difference.low <= difference.value <= difference.high
    assert difference.share_above_zero > 0.9
    low, high = bootstrap_interval(first.auroc, groups, truth, 0)
    assert difference.high - difference.low < (high - low) / 3
    nothing = paired_bootstrap(first.auroc, first.auroc, groups, truth, 0, 50)
    assert nothing == (0, 0, 0, 0.5)


def test_share_won_counts_ties_one_half():
    assert share_won([1, 2, 3, 4], [1, 1, 4, 0]) == (2 + 0.5) / 4
    with pytest.raises(MetricError, match="same images"):
        share_won([1], [1, 2])
    with pytest.raises(MetricError, match="same images"):
        share_won([], [])
