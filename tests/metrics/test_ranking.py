import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve

from blemish.errors import MetricError
from blemish.metrics.ranking import (
    Ranking,
    auroc,
    average_precision,
    f1_flag_everything,
    f1_max,
    fpr_at_tpr,
    image_curves,
    image_figures,
)

# few distinct scores: ties everywhere
ITEMS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


def split(items):
    scores, truth = np.array([s for s, _ in items], float), np.array([t for _, t in items])
    assume(truth.any() and not truth.all())
    return scores, truth


@given(ITEMS)
def test_figures_agree_with_scikit_learn(items):
    scores, truth = split(items)
    assert auroc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    best = max(f1_score(truth, scores >= t) for t in scores)
    assert f1_max(scores, truth) == pytest.approx(best)
    assert f1_flag_everything(truth) == pytest.approx(f1_score(truth, np.ones_like(truth)))
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert fpr_at_tpr(scores, truth) == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min())


@given(ITEMS)
def test_a_monotone_transform_and_another_order_change_nothing(items):
    scores, truth = split(items)
    order = np.random.default_rng(0).permutation(scores.size)
    for function in (auroc, average_precision, f1_max, fpr_at_tpr):
        assert function(np.exp(scores) - 7, truth) == function(scores, truth)
        assert function(scores[order], truth[order]) == pytest.approx(function(scores, truth))


@given(ITEMS, st.integers(0, 1000))
def test_a_weight_is_a_repetition(items, seed):
    scores, truth = split(items)
    weights = np.random.default_rng(seed).integers(0, 4, scores.size)
    assume(truth[weights > 0].any() and not truth[weights > 0].all())
    ranking = Ranking.of(scores, truth)
    again = Ranking.of(np.repeat(scores, weights), np.repeat(truth, weights))
    assert ranking.auroc(weights) == pytest.approx(again.auroc())
    assert ranking.average_precision(weights) == pytest.approx(again.average_precision())
    assert ranking.f1_max(weights) == pytest.approx(again.f1_max())
    assert ranking.fpr_at_tpr(0.95, weights) == pytest.approx(again.fpr_at_tpr())


def test_a_hand_worked_case():
    scores, truth = [0.9, 0.8, 0.8, 0.3, 0.1], [1, 1, 0, 0, 1]
    # pairs: .9 beats both, .8 ties once and beats once, .1 loses both
    assert auroc(scores, truth) == pytest.approx((2 + 1.5 + 0) / 6)
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert f1_max(scores, truth) == pytest.approx(0.75)
    assert f1_flag_everything(truth) == pytest.approx(0.75)
    assert fpr_at_tpr(scores, truth) == 1
    assert fpr_at_tpr(scores, truth, 2 / 3) == 0.5


def test_95_percent_of_20_is_19():
    truth = np.array([1] * 19 + [0] + [1])
    assert fpr_at_tpr(-np.arange(21.0), truth) == 0


def test_image_figures_come_in_the_order_of_a_table(make):
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 20)
    scores = random.standard_normal(40) + truth
    figures = image_figures(scores, truth, scores > 0.5, replicates=100)
    assert list(figures) == [
        "image_auroc",
        "image_ap",
        "image_f1_max",
        "f1_flag_everything",
        "fpr_at_95_tpr",
        "false_alarm_rate",
        "miss_rate",
        "accuracy",
        "precision",
        "image_f1",
    ]
    assert figures["image_auroc"].value == pytest.approx(roc_auc_score(truth, scores))
    assert figures["image_auroc"].low < figures["image_auroc"].value < figures["image_auroc"].high
    assert [name for name, figure in figures.items() if figure.oracle] == ["image_f1_max"]
    assert figures["f1_flag_everything"].value == pytest.approx(2 / 3)
    assert figures["false_alarm_rate"].value == pytest.approx(np.mean(scores[:20] > 0.5))


def test_groups_decide_the_interval():
    truth = np.repeat([0, 1], 20)
    scores = np.random.default_rng(0).standard_normal(40) + truth
    alone = image_figures(scores, truth, truth, replicates=100)
    blank = image_figures(scores, truth, truth, [""] * 40, replicates=100)
    pairs = image_figures(scores, truth, truth, [f"g{n // 2}" for n in range(40)], replicates=100)
    assert alone == blank
    assert alone["image_auroc"].low != pairs["image_auroc"].low
    single = image_figures(scores, truth, truth, ["a"] * 20 + ["b"] * 20, replicates=100)
    assert single["image_auroc"].low is None


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        ([], "the test set is empty"),
        ([0, 0], "the test set has no defective image"),
        ([1, 1], "the test set has no good image"),
    ],
)
def test_one_kind_of_image_gives_no_value_and_the_reason(truth, reason):
    scores = np.zeros(len(truth))
    figures = image_figures(scores, truth, truth)
    for name in ("image_auroc", "image_ap", "image_f1_max", "f1_flag_everything", "fpr_at_95_tpr"):
        assert figures[name].value is None
        assert figures[name].reason == reason
    assert image_curves(scores, truth) == {}
    with pytest.raises(MetricError, match=reason):
        auroc(scores, truth)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named(wrong):
    with pytest.raises(MetricError, match="Score number 1 is"):
        image_figures([0.0, wrong], [0, 1], [0, 1])


def test_lengths_that_differ_are_refused():
    with pytest.raises(MetricError, match="one for each item"):
        auroc([1.0, 2.0], [1])
    with pytest.raises(MetricError, match="3 groups for 2 images"):
        image_figures([1.0, 2.0], [0, 1], [0, 1], ["a", "b", "c"])


def test_curves_run_from_corner_to_corner_in_at_most_200_points():
    random = np.random.default_rng(0)
    truth = random.random(5000) > 0.5
    curves = image_curves(random.standard_normal(5000) + truth, truth)
    x, y = (np.array(part) for part in curves["roc"])
    assert x.size <= 200
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    random = np.random.default_rng(0)
    truth = random.random(5000) > 0.5
    assert area == pytest.approx(auroc(random.standard_normal(5000) + truth, truth), abs=1e-3)
    assert curves["pr"][0][-1] == 1
