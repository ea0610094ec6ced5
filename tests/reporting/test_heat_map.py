import re

import pytest

from blemish.reporting.grid_page import write_grid_page
from blemish.reporting.heat_map import FAINT, FULL, HeatMap, heat_map


def shown(**changes):
    values = {
        "title": "Image AUROC",
        "rows": ("latent", ["32", "64"]),
        "columns": ("image_size", ["64", "128"]),
        "values": [[0.5, 0.75], [1.0, None]],
        "texts": [["0.500", "0.750"], ["1.000", "–"]],
    }
    return HeatMap(**{**values, **changes})


def opacities(chart):
    return [float(v) for v in re.findall(r'fill-opacity="([\d.]+)"', chart.svg)]


def test_the_larger_a_value_the_stronger_its_cell_and_a_missing_one_has_none():
    found = opacities(heat_map(shown()))
    assert found == pytest.approx([FAINT, (FAINT + FULL) / 2, FULL])


def test_equal_values_and_no_values_are_drawn_too():
    assert len(set(opacities(heat_map(shown(values=[[1, 1], [1, 1]]))))) == 1
    empty = heat_map(shown(values=[[None, None], [None, None]]))
    assert "Image AUROC, empty" in empty.svg
    assert opacities(empty) == []


def test_names_of_rows_and_columns_and_all_texts_are_there():
    svg = heat_map(shown()).svg
    for text in ("latent", "image_size", "32", "128", "0.750", "–"):
        assert text in svg


def test_the_page_is_whole_and_a_hostile_name_is_only_text(tmp_path, hostile_names):
    sections = {name: [shown(title=name)] for name in hostile_names}
    path = write_grid_page(sections, tmp_path / "grid.html", notes=hostile_names, command="x")
    page = path.read_text("utf-8")
    assert page.count("<figure") == len(sections)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "an oracle" in page
    assert "No run has finished" in write_grid_page({}, path).read_text("utf-8")
