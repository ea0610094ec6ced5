import itertools

import pytest

from blemish.grid_table import heat_maps, pool_cells, write_grid

AXES = {"latent": ["8", "16"], "image_size": ["32", "64", "128"]}


def result(latent, size, seed, auroc, **more):
    figures = {"image_auroc": auroc, "image_ap": auroc / 2, "prevalence": 0.25, **more}
    return {
        "method": "vae",
        "data": {"name": "plates", "options": {"region": "anode"}},
        "options": {"latent": latent, "image_size": size},
        "seconds": {"fit": 2.0 + seed},
        "figures": {k: {"value": v, "label": k} for k, v in figures.items()},
        "runs": [
            {
                "groups": ["a", "b", "c", "d"],
                "defective": [False, False, True, True],
                "scores": [0.1, 0.5, 0.4, 0.9],
                "threshold": 0.6,
            }
        ],
    }


def grid():
    places = itertools.product(("8", "16"), ("32", "64", "128"), (0, 1))
    return [result(la, s, seed, 0.5 + 0.1 * seed + int(la) / 100) for la, s, seed in places]


def test_runs_of_a_cell_are_put_together_with_one_interval_over_parts():
    cells = pool_cells(grid()[:4])
    assert [c.runs for c in cells] == [2, 2]
    auroc = cells[0].figures["image_auroc"]
    assert auroc["value"] == pytest.approx(0.63)
    assert auroc["deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert 0 <= auroc["low"] <= 0.75 <= auroc["high"] <= 1
    assert cells[0].data == "plates region=anode"
    assert cells[0].figures["fit_seconds"]["values"] == [2.0, 3.0]
    assert "low" not in pool_cells(grid()[:2], intervals=False)[0].figures["image_auroc"]


def test_the_first_axis_goes_down_and_the_second_across():
    auroc, ap, *_ = heat_maps(pool_cells(grid(), intervals=False), AXES)
    assert auroc.rows == ("latent", ["8", "16"])
    assert auroc.columns == ("image_size", ["32", "64", "128"])
    assert auroc.values[1] == pytest.approx([0.71] * 3)
    assert auroc.texts[0][0] == "0.630 ± 0.071"
    assert "0.250" in ap.note


@pytest.mark.parametrize(
    ("axes", "maps"),
    [({}, 1), ({"latent": ["8", "16"]}, 1), ({"a": ["1"], "b": ["2"], "latent": ["8", "16"]}, 2)],
)
def test_fewer_and_more_axes_than_two_are_shown(axes, maps):
    cells = pool_cells(grid()[:2] if not axes else grid()[::6], intervals=False)
    for cell in cells:
        cell.options.update({"a": "1", "b": "2"})
    found = [m for m in heat_maps(cells, axes) if m.title.startswith("image_auroc")]
    assert len(found) == maps
    assert all(v is not None for m in found for row in m.values for v in row)


def test_a_cell_that_is_missing_is_empty_and_a_figure_that_is_missing_has_no_map(tmp_path):
    results = grid()[2:]
    del results[0]["figures"]["image_ap"]
    first, *others = heat_maps(pool_cells(results, intervals=False), AXES)
    assert first.values[0][0] is None
    assert first.texts[0] == ["–", "0.630 ± 0.071", "0.630 ± 0.071"]
    assert [m.title for m in others] == ["Fit, seconds"]
    path = tmp_path / "grid.html"
    assert len(write_grid(results[1:3], AXES, path, notes=["One failed."])) == 2
    assert "One failed." in path.read_text("utf-8")
