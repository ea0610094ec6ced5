import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.metrics.figure import Figure
from blemish.reporting.results import (
    figures_csv,
    images_csv,
    safe_cell,
    to_json,
    write_categories,
    write_results,
)


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠", "  =", " -"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    assert safe_cell(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-1.5, "-1.5"),
        (np.float64(-0.1), "-0.1"),
        (-3, "-3"),
        (1e-12, "1e-12"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ("", ""),
        ("test/a-b=c.png", "test/a-b=c.png"),
    ],
)
def test_numbers_and_harmless_text_stay_what_they_are(value, cell):
    assert safe_cell(value) == cell


@given(st.text())
def test_no_text_starts_like_a_formula_and_none_is_lost(text):
    cell = safe_cell(text)
    assert cell.lstrip(" ")[:1] not in set("=+-@\t\r\n") or not cell.strip(" ")
    assert cell in (text, "'" + text)


def test_the_table_of_figures_reads_back(evaluation):
    table = {row["name"]: row for row in rows(figures_csv(evaluation))}
    assert list(table) == list(evaluation.figures)
    assert float(table["image_auroc"]["value"]) == 0.9731
    assert table["pixel_f1_max"]["oracle"] == "true"
    assert table["defect_size"]["value"] == ""
    assert table["defect_size"]["reason"] == "fewer than 8 marked defects"


def test_the_table_of_images_reads_back_exactly(evaluation):
    table = rows(images_csv(evaluation))
    assert [float(row["score"]) for row in table] == [r.score for r in evaluation.images]
    assert [row["flagged"] == "true" for row in table] == [r.flagged for r in evaluation.images]


def test_hostile_names_stay_in_their_cell(hostile, hostile_names):
    table = rows(images_csv(hostile))
    assert len(table) == len(hostile.images)
    kinds = {row["defect_type"] for row in table}
    assert '\'=HYPERLINK("http://example.invalid")' in kinds
    assert kinds - {"'" + name for name in hostile_names} <= set(hostile_names)


def test_json_is_strict_and_holds_the_figures(evaluation):
    odd = replace(evaluation, threshold=np.inf, calibration_scores=(1.0, float("nan")))
    plain = json.loads(json.dumps(to_json(odd), allow_nan=False))
    assert plain["schema"] == "blemish.evaluation/1"
    assert plain["threshold"] is None
    assert plain["calibration_scores"] == [1.0, None]
    assert plain["figures"]["image_auroc"]["value"] == 0.9731
    assert plain["images"]["good"] + plain["images"]["defective"] == len(evaluation.images)


def test_three_files_are_written_and_nothing_else(hostile, tmp_path):
    paths = write_results(hostile, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "images.csv",
        "metrics.csv",
        "metrics.json",
    ]
    assert json.loads(paths[0].read_text("utf-8"))["notes"][0].startswith("<script>")
    assert json.loads(paths[0].read_text("utf-8"))["notes"][5].startswith("lone \udcff")


def test_the_mean_of_categories_needs_a_value_of_each(tmp_path):
    found = {
        "nut": {"a": Figure(0.25, "A"), "b": Figure(1.0, "B")},
        "=screw": {"a": Figure(0.75, "A"), "b": Figure(None, "B", reason="no masks")},
    }
    lines = write_categories(found, tmp_path).read_text(encoding="utf-8").splitlines()
    assert lines == ["category,a,b", "nut,0.25,1.0", "'=screw,0.75,", "mean,0.5,"]
