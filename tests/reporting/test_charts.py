import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.reporting.charts import Axis, Canvas, Plot, Series, line_chart


def elements(svg, tag):
    return list(ElementTree.fromstring(str(svg)).iter(tag))


def points(svg):
    return [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for line in elements(svg, "polyline")
    ]


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.integers(2, 8),
)
def test_ticks_are_round_few_and_on_the_axis(low, width, about):
    axis = Axis("x", low, low + width)
    values = [v for v, _ in axis.ticks(about)]
    assert 1 <= len(values) <= 2 * about + 1
    assert all(low - 1e-6 * width <= v <= low + width * (1 + 1e-6) for v in values)
    assert values == sorted(set(values))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.5, 2000, [1, 10, 100, 1000]),
        (1, 10, [1, 2, 5, 10]),
        (3.1, 4.3, [3.2, 3.4, 3.6, 3.8, 4.0, 4.2]),
        (1e-9, 1e9, [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]),
    ],
)
def test_a_log_axis_has_decades_or_finer_ticks_where_it_is_short(low, high, expected):
    assert [v for v, _ in Axis("x", low, high, log=True).ticks()] == pytest.approx(expected)


def test_ticks_of_counts_are_whole():
    assert [t for _, t in Axis("n", 0, 1.1, whole=True).ticks()] == ["0", "1"]


def test_ticks_are_written_as_percentages_and_with_a_real_minus():
    assert Axis("x", percent=True).written(0.05) == "5\u00a0%"
    assert Axis("x").written(-1.5) == "−1.5"


@given(st.floats(0, 1), st.booleans())
def test_positions_and_values_are_inverse(position, log):
    axis = Axis("x", 0.1, 70.0, log=log)
    assert axis.position(axis.values([position])) == pytest.approx([position], abs=1e-9)


def test_values_beyond_an_axis_lie_on_its_end_and_impossible_ones_nowhere():
    assert Axis("x", 0, 2).position([-1, 1, 5]) == [0, 0.5, 1]
    assert math.isnan(Axis("x", 1, 10, log=True).position([0])[0])


def test_an_axis_goes_around_all_finite_values():
    axis = Axis.around([3, math.nan, 7, math.inf], "x")
    assert 2.5 < axis.low < 3 < 7 < axis.high < 7.5
    assert Axis.around([0, 0.01, 100], "x", log=True).low == pytest.approx(0.0076, rel=0.1)


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [-2.0, -2.0]])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_around_nothing_or_one_value_still_has_a_length(values, log):
    axis = Axis.around(values, "x", log=log)
    assert axis.high > axis.low
    assert axis.ticks()


def test_a_line_chart_says_in_words_and_in_a_legend_what_it_shows():
    chart = line_chart(
        "Training",
        [
            Series("loss", [1, 2, 3], [1.0, 0.1, 0.01]),
            Series("validation", [1, 3], [2, 1], "2", True),
        ],
        "Epoch",
        "Loss",
        y_log=True,
        dots=[("best", 3, 0.01)],
        note="Lower is better.",
    )
    (svg,) = elements(chart.svg, "svg") or [ElementTree.fromstring(str(chart.svg))]
    assert svg.get("role") == "img"
    assert "loss from 1.000 to 0.01; validation from 2 to 1.000" in svg.get("aria-label")
    assert chart.legend == (
        ("loss", "1", "line"),
        ("validation", "2", "dashed"),
        ("best", "ink", "dot"),
    )
    assert [e.text for e in elements(chart.svg, "text")].count("Epoch") == 1
    first, _ = points(chart.svg)
    # Equal factors are equal distances on a log axis.
    assert first[1][1] - first[0][1] == pytest.approx(first[2][1] - first[1][1], abs=0.2)


def test_a_line_breaks_where_a_value_is_missing():
    svg = line_chart("t", [Series("a", range(6), [1, 2, math.nan, 4, math.inf, 6])], "x", "y").svg
    assert [len(p) for p in points(svg)] == [2]
    assert len([c for c in elements(svg, "circle") if "dot" in c.get("class")]) == 2


def test_very_many_points_become_few_and_keep_their_peak():
    n = 50_000
    y = [0.0] * n
    y[n // 3] = 1.0
    svg = line_chart("t", [Series("a", range(n), y)], "x", Axis("y")).svg
    (line,) = points(svg)
    assert len(line) < 2000
    assert min(up for _, up in line) == pytest.approx(14)


def test_an_empty_series_gives_an_empty_chart():
    assert points(line_chart("t", [Series("a", [], [])], "x", "y").svg) == []


def test_texts_are_escaped_and_shown(hostile_names):
    for name in hostile_names:
        svg = line_chart(name, [Series(name, [0, 1], [0, 1])], name, name).svg
        assert "<script" not in svg
        assert "<img" not in svg
        tags = {e.tag for e in ElementTree.fromstring(str(svg)).iter()}
        assert tags <= {"svg", "line", "text", "polyline"}


def test_bars_stand_on_the_floor_and_empty_ones_are_not_drawn():
    canvas = Canvas("bars")
    plot = Plot(canvas, Axis("x", 0, 3), Axis("y", 0, 10))
    plot.bars([0, 1, 2, 3], [5, 0, 10], "good")
    bars = elements(canvas.svg(), "rect")
    assert len(bars) == 2
    floors = {round(float(b.get("y")) + float(b.get("height")), 1) for b in bars}
    assert floors == {round(plot.box[1] + plot.box[3], 1)}


def test_what_cannot_be_placed_is_not_drawn():
    canvas = Canvas("nothing")
    plot = Plot(canvas, Axis("x", 1, 10, log=True), Axis("y"))
    plot.rule(-1, "below zero")
    plot.dot(-1, 0.5)
    plot.dot(2, math.nan)
    plot.rug([-1.0], 0, 5)
    assert elements(canvas.svg(), "line") == elements(canvas.svg(), "circle") == []
    assert elements(canvas.svg(), "path")[0].get("d") == ""


def test_the_name_of_a_rule_stays_inside_the_drawing():
    for value, anchor in ((0.1, "start"), (0.9, "end")):
        canvas = Canvas("rule")
        Plot(canvas, Axis("x"), Axis("y")).rule(value, "here")
        assert elements(canvas.svg(), "text")[0].get("text-anchor") == anchor
