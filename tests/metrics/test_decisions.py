import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score

from blemish.errors import MetricError
from blemish.metrics.decisions import Confusion, decision_figures, pixel_decision_figures
from blemish.metrics.intervals import wilson


@pytest.fixture
def decisions():
    random = np.random.default_rng(0)
    return random.random(60) > 0.4, random.random(60) > 0.5


def test_counts_agree_with_scikit_learn(decisions):
    truth, flagged = decisions
    counts = Confusion.of(truth, flagged)
    assert counts.f1 == pytest.approx(f1_score(truth, flagged))
    assert counts.iou == pytest.approx(jaccard_score(truth, flagged))
    figures = decision_figures(truth, flagged)
    assert figures["image_f1"].value == pytest.approx(f1_score(truth, flagged))
    assert figures["accuracy"].value == pytest.approx(accuracy_score(truth, flagged))
    assert figures["precision"].value == pytest.approx(precision_score(truth, flagged))


def test_rates_have_wilson_intervals():
    figures = decision_figures([0] * 10 + [1] * 5, [1] * 1 + [0] * 9 + [1] * 3 + [0] * 2)
    assert figures["false_alarm_rate"].value == 0.1
    assert (figures["false_alarm_rate"].low, figures["false_alarm_rate"].high) == wilson(1, 10)
    assert figures["miss_rate"].value == 0.4
    assert (figures["miss_rate"].low, figures["miss_rate"].high) == wilson(2, 5)


@pytest.mark.parametrize(
    ("truth", "flagged", "missing"),
    [
        ([], [], {"false_alarm_rate", "miss_rate", "accuracy", "precision", "image_f1"}),
        ([1, 1], [0, 0], {"false_alarm_rate", "precision"}),
        ([0, 0], [0, 1], {"miss_rate", "image_f1"}),
    ],
)
def test_a_rate_without_chances_has_a_reason_instead_of_a_value(truth, flagged, missing):
    figures = decision_figures(truth, flagged)
    assert {name for name, figure in figures.items() if figure.value is None} == missing
    assert all(figures[name].reason for name in missing)


def test_decisions_of_other_lengths_are_refused():
    with pytest.raises(MetricError, match="one for each image"):
        decision_figures([1, 0], [1])


def test_nothing_marked_and_nothing_found_has_neither_f1_nor_iou():
    empty = Confusion(0, 0, 0, 5)
    assert empty.f1 is None
    assert empty.iou is None
    figures = pixel_decision_figures(empty, None, "why")
    assert {figure.reason for figure in figures.values()} == {"why"}


def test_false_alarms_alone_are_not_an_f1_of_zero():
    figures = pixel_decision_figures(Confusion(0, 3, 0, 5), Confusion(0, 0, 0, 8), "no defect")
    assert figures["pixel_f1"].value is None
    assert figures["segf1"].reason == "no defect"
