import pytest

from blemish.grid_table import Cell
from blemish.leaderboard import COLUMNS, Wanted, charts, markdown, tables, write_leaderboard


def cell(method, data="plates", auroc=0.9, **figures):
    figures = {"image_auroc": auroc} | figures
    named = {name: {"value": value, "label": name} for name, value in figures.items()}
    return Cell(method, data, {}, 1, named)


def test_the_best_method_is_first_and_each_data_set_has_a_table():
    found = tables([cell("vae", auroc=0.8), cell("patchcore"), cell("vae", "tiles")])
    assert [table.title.split(":")[0] for table in found] == ["plates", "tiles"]
    assert [row[0] for row in found[0].rows] == ["patchcore", "vae"]
    assert all(len(row) == len(table.columns) for table in found for row in table.rows)


def test_methods_that_saw_defects_are_never_ranked_with_those_that_did_not():
    pytest.importorskip("torch")
    found = tables([cell("patchcore"), cell("aexad")])
    assert [[row[0] for row in table.rows] for table in found] == [["patchcore"], ["aexad"]]
    assert found[1].title.endswith("marked defects")


def test_what_was_not_measured_is_an_empty_row_with_its_command():
    wanted = [Wanted("patchcore", "plates", "run it"), Wanted("vae", "plates", "run that")]
    (table,) = tables([cell("patchcore")], wanted)
    assert table.rows[1] == ("vae: `run that`", "0", *["–"] * len(COLUMNS))


def test_figures_have_their_spread_and_their_interval():
    figures = {
        "image_auroc": {"value": 0.9, "label": "a", "deviation": 0.01, "low": 0.8, "high": 1}
    }
    text = markdown(tables([Cell("patchcore", "plates", {"blur": 2}, 3, figures)]))
    assert "| patchcore blur=2 | 3 | 0.900 ± 0.010 [0.800, 1.000] | – |" in text


def test_charts_show_methods_by_data():
    shown = charts([cell("patchcore", per_image_ms=7), cell("vae", "tiles", 0.7)])
    assert [chart.title for chart in shown] == ["image AUROC", "CPU, ms"]
    assert shown[0].values == [[0.9, None], [None, 0.7]]
    assert shown[1].texts == [["7", "–"], ["–", "–"]]


def test_a_page_with_charts_and_markdown_are_written(tmp_path):
    write_leaderboard([cell("patchcore")], tmp_path, notes=["a <b>", "c"], command="blemish x")
    page = (tmp_path / "leaderboard.html").read_text("utf-8")
    assert "<svg" in page
    assert "a &lt;b&gt;" in page
    assert "blemish x" in page
    text = (tmp_path / "leaderboard.md").read_text("utf-8")
    assert text.startswith("# Leaderboard\n")
    assert "| patchcore | 1 | 0.900 |" in text


def test_an_empty_leaderboard_says_so(tmp_path):
    write_leaderboard([], tmp_path)
    assert "No run has finished" in (tmp_path / "leaderboard.html").read_text("utf-8")
