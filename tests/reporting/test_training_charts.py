from dataclasses import replace

from blemish.reporting.html import render
from blemish.reporting.training_charts import training_charts

HISTORY = {
    "teacher": [1.0, 0.5],
    "kl": [0.001, 20.0, 30.0],
    "loss": [3.0, float("nan"), 1.0],
    "rate": [1.0, 1.0, 1.0],
    "short": [1.0],
}


def test_known_curves_come_first_and_what_says_nothing_is_left_out(evaluation):
    charts = training_charts(HISTORY)
    assert [c.title for c in charts] == ["Loss", "KL divergence", "teacher"]
    assert "from 3 to 1" in charts[0].svg
    assert not training_charts({})


def test_a_rate_that_falls_is_shown(evaluation):
    charts = training_charts({"rate": [1.0, 0.5]})
    assert [c.title for c in charts] == ["Learning rate"]


def test_the_report_has_the_curves_where_there_was_training(evaluation):
    page = render(replace(evaluation, history=HISTORY))
    assert '<section id="training">' in page
    assert page.count("Line chart: KL divergence") == 1
    assert 'id="training"' not in render(evaluation)


def test_a_hostile_name_is_only_text(evaluation, hostile_names):
    page = render(replace(evaluation, history={name: [1.0, 2.0] for name in hostile_names}))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
