import pytest

from blemish.evaluation import ImageResult
from blemish.metrics.figure import Figure
from blemish.reporting.tables import (
    card_groups,
    duration_rows,
    figure_rows,
    interval,
    type_rows,
    written,
)


def image(kind, flagged, *, defective=True):
    return ImageResult("k", defective, kind, "g", 1.0, 0.5, flagged)


def test_rates_are_percentages_and_everything_else_a_number():
    assert written("false_alarm_rate", 0.05) == "5\u00a0%"
    assert written("image_auroc", 0.95) == "0.950"
    assert written("image_auroc", None) == "–"


def test_an_interval_needs_both_ends():
    assert interval("image_auroc", Figure(0.9, "x", 0.85, 0.94)) == "0.850 – 0.940"
    assert interval("image_auroc", Figure(0.9, "x", low=0.85)) == ""


@pytest.mark.parametrize(
    ("honest", "oracle"),
    [
        ("pixel_f1", "pixel_f1_max"),
        ("pixel_f1", "oracle_pixel_f1"),
        ("pixel_f1", "pixel_f1_oracle"),
        ("pixel_iou_at_threshold", "pixel_iou_max"),
    ],
)
def test_an_oracle_figure_stands_beside_the_one_at_the_stored_threshold(honest, oracle):
    figures = {oracle: Figure(0.6, "best", oracle=True), honest: Figure(0.4, "stored")}
    (row,) = figure_rows(figures)
    assert (row.label, row.value, row.oracle, row.oracle_label) == (
        "stored",
        "0.400",
        "0.600",
        "best",
    )


def test_an_oracle_figure_alone_never_stands_in_the_column_of_usable_values():
    (row,) = figure_rows({"dice_max": Figure(0.6, "Dice-max", oracle=True)})
    assert (row.value, row.oracle) == ("–", "0.600")


def test_two_oracle_figures_of_one_figure_are_both_shown():
    figures = {
        "f1": Figure(0.4, "F1"),
        "f1_max": Figure(0.5, "F1-max", oracle=True),
        "f1_best": Figure(0.6, "F1 best", oracle=True),
    }
    rows = figure_rows(figures)
    assert sorted(r.oracle for r in rows) == ["0.500", "0.600"]


def test_a_note_says_estimator_error_and_why_there_is_no_value():
    figures = {
        "a": Figure(0.5, "a", estimator="paper"),
        "b": Figure(0.5, "b", estimator="stream", bound=0.00041),
        "c": Figure(None, "c", reason="no mask"),
        "d": Figure(None, "d"),
    }
    assert [r.note for r in figure_rows(figures)] == [
        "estimator of the paper",
        "streamed; error at most 0.00041",
        "no mask",
        "not computed",
    ]


def test_the_hardest_kind_of_defect_comes_first_and_good_images_do_not_count():
    kinds = [("dent", True), ("scratch", False), ("scratch", True)]
    good = image("good", True, defective=False)
    rows = type_rows([good, *(image(kind, flagged) for kind, flagged in kinds)])
    assert [(r.defect_type, r.found, r.total) for r in rows] == [("scratch", 1, 2), ("dent", 1, 1)]
    assert rows[0].rate == "50\u00a0%"


def test_a_card_is_flattened_into_groups_of_lines():
    card = {
        "method": "patchcore",
        "options": {"size": [240, 1200], "post": {"blur": 4.0, "steps": []}, "on": True},
        "pad": None,
        "files": [{"a": 1}],
        "nothing": {},
    }
    assert card_groups(card) == [
        ("", [("method", "patchcore"), ("pad", "–"), ("files", '[{"a": 1}]')]),
        (
            "options",
            [("size", "240, 1200"), ("post.blur", "4"), ("post.steps", "–"), ("on", "yes")],
        ),
    ]


def test_an_empty_card_has_no_groups_and_long_values_are_cut():
    assert card_groups({}) == []
    ((_, ((_, value),)),) = card_groups({"x": "a" * 1000})
    assert len(value) == 300
    assert value.endswith("…")


def test_durations_are_written_with_their_stage():
    assert duration_rows({"predict": 21.37}) == [("predict", "21.4 s")]
