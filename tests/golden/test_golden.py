"""A file of every released format loads for ever, and says what it said then."""

import json
from pathlib import Path

import pytest

from blemish import Detector
from blemish.model_file import SCHEMA

HERE = Path(__file__).parent
FILES = [*sorted(HERE.glob("format-*.blemish")), *sorted(HERE.glob("format-*.onnx"))]


def test_every_format_has_a_small_file():
    stems = [f"format-{n}" for n in range(1, SCHEMA + 1)]
    assert [p.stem for p in FILES] == [*stems, *stems]
    assert all(path.stat().st_size < 100_000 for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
@pytest.mark.parametrize("name", ["good", "defective"])
def test_a_file_gives_the_scores_that_were_recorded(path, name):
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))[name]
    found = Detector.load(path).predict(HERE / f"{name}.png")
    assert found.defective == expected["defective"]
    assert len(found.regions) == expected["regions"]
    for figure in ("score", "p_value", "threshold", "pixel_threshold"):
        assert getattr(found, figure) == pytest.approx(expected[figure], rel=1e-4)
    assert found.anomaly_map.max() == pytest.approx(expected["peak"], rel=1e-4)
    assert found.anomaly_map.mean() == pytest.approx(expected["mean"], rel=1e-4)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_file_can_be_saved_again_in_the_present_format(path, tmp_path):
    loaded = Detector.load(path)
    again = Detector.load(loaded.save(tmp_path / "again.blemish"))
    assert again.card()["options"] == loaded.card()["options"]
    assert again.threshold == loaded.threshold
