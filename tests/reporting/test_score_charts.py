from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from blemish.evaluation import ImageResult
from blemish.reporting.score_charts import (
    calibration_picture,
    curve_charts,
    promise_band,
    score_histogram,
)


def result(score, *, defective=False, flagged=False, p_value=0.5):
    return ImageResult(f"{score}", defective, "good", f"{score}", score, p_value, flagged)


def bars(chart, tone):
    root = ElementTree.fromstring(str(chart.svg))
    return [e for e in root.iter("rect") if e.get("class") == f"bar tone-{tone}"]


def test_every_image_is_in_the_histogram_once(evaluation):
    chart = score_histogram(evaluation)
    for tone, n in (("good", 60), ("defective", 53)):
        heights = [float(b.get("height")) for b in bars(chart, tone)]
        tallest = max(heights)
        # The tallest bar is 1 / 1.1 of the panel; all bars are whole multiples of one image.
        counts = [h / tallest for h in heights]
        unit = n / sum(counts)
        assert [c * unit for c in counts] == pytest.approx(
            [round(c * unit) for c in counts], abs=0.1
        )
    assert ("good (60)", "good", "bar") in chart.legend
    assert any("calibration" in label for label, _, _ in chart.legend)


def test_the_histogram_says_in_words_what_it_shows(evaluation):
    label = ElementTree.fromstring(str(score_histogram(evaluation).svg)).get("aria-label")
    assert "60 good images from" in label
    assert "threshold 4.2" in label


def test_scores_over_many_magnitudes_get_a_log_axis(evaluation):
    wide = replace(
        evaluation,
        images=(result(0.01), result(0.02), result(900.0, defective=True)),
        calibration_scores=(0.015,),
        threshold=0.05,
    )
    assert "Anomaly score (log)" in score_histogram(wide).svg
    assert "(log)" not in score_histogram(evaluation).svg


def test_scores_that_are_not_finite_do_not_break_the_histogram(evaluation):
    odd = replace(
        evaluation,
        images=(result(np.inf, defective=True), result(np.nan), result(1.0)),
        calibration_scores=(),
        threshold=np.inf,
    )
    chart = score_histogram(odd)
    assert len(bars(chart, "good")) == 1
    assert bars(chart, "defective") == []
    assert "from nowhere" in chart.svg


def test_without_images_there_is_no_chart(evaluation):
    nothing = replace(evaluation, images=(), curves={})
    assert score_histogram(nothing) is None
    assert calibration_picture(nothing) is None
    assert curve_charts(nothing) == []


def test_the_calibration_picture_reports_asked_and_measured(evaluation):
    chart = calibration_picture(evaluation)
    flagged = sum(r.flagged for r in evaluation.images if not r.defective)
    label = ElementTree.fromstring(str(chart.svg)).get("aria-label")
    assert "requested false-alarm rate of 5\u00a0%" in label
    assert f"{100 * flagged / 60:.1f}\u00a0% of 60 good test images" in label
    assert [style for _, _, style in chart.legend] == ["band", "dashed", "line", "dot"]


def test_the_distribution_of_p_values_is_drawn_as_a_staircase(evaluation):
    few = replace(
        evaluation,
        images=(result(1, p_value=0.25), result(2, p_value=0.75)),
        calibration_scores=(),
    )
    chart = calibration_picture(few)
    lines = [e for e in ElementTree.fromstring(str(chart.svg)).iter("polyline")]
    stairs = next(e for e in lines if "tone-good" in e.get("class"))
    drawn = [tuple(map(float, p.split(","))) for p in stairs.get("points").split()]
    assert len(drawn) == 6
    middle = (drawn[0][1] + drawn[-1][1]) / 2
    assert [p[1] for p in drawn].count(pytest.approx(middle, abs=0.1)) == 2
    assert "band" not in [style for _, _, style in chart.legend]


@pytest.mark.parametrize(("calibrated", "tested"), [(1, 1), (19, 40), (500, 300)])
def test_the_band_holds_the_diagonal_and_stays_inside(calibrated, tested):
    rates, low, high = map(np.array, promise_band(calibrated, tested))
    assert (low <= rates + 1 / tested).all()
    assert (high >= rates - 1 / tested).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    assert ((low >= 0) & (high <= 1)).all()


def test_the_band_holds_95_percent_of_honest_measurements():
    rng = np.random.default_rng(11)
    n, m = 39, 80
    rates, low, high = map(np.array, promise_band(n, m))
    k = int(np.searchsorted(rates, 0.2))
    threshold_rank = round(rates[k] * (n + 1))
    inside = 0
    for _ in range(4000):
        calibration, test = np.sort(rng.random(n))[::-1], rng.random(m)
        measured = (test > calibration[threshold_rank - 1]).mean()
        inside += low[k] - 1e-9 <= measured <= high[k] + 1e-9
    assert 0.945 < inside / 4000 < 0.99


def test_known_curves_come_first_and_mark_the_stored_threshold(evaluation):
    curves = {"loss": ([1.0, 2.0], [3.0, 4.0]), "short": ([1.0], [1.0]), **evaluation.curves}
    charts = curve_charts(replace(evaluation, curves=curves))
    assert [c.title for c in charts][:2] == ["ROC: images", "Precision and recall: images"]
    assert charts[-1].title == "loss"
    assert len(charts) == 5
    assert [bool([x for x in c.legend if x[2] == "dot"]) for c in charts] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_the_pro_curve_is_drawn_over_its_own_range(evaluation):
    chart = next(c for c in curve_charts(evaluation) if c.title.startswith("PRO"))
    assert "30\u00a0%" in chart.svg
    assert "60\u00a0%" in chart.svg  # the y axis
    texts = [e.text for e in ElementTree.fromstring(str(chart.svg)).iter("text")]
    assert texts.count("100\u00a0%") == 1


def test_curves_without_flagged_or_without_defective_images_have_no_dot(evaluation):
    good_only = tuple(r for r in evaluation.images if not r.defective)
    quiet = tuple(replace(r, flagged=False) for r in evaluation.images)
    for images, dots in ((good_only, [0, 0]), (quiet, [1, 0])):
        charts = curve_charts(replace(evaluation, images=images))[:2]
        assert [sum(s == "dot" for _, _, s in c.legend) for c in charts] == dots
