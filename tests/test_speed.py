"""The speed table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blemish import speed
from blemish.benchmark import check_result, peak_memory_mb
from blemish.errors import BlemishError

STATUS = Path("/proc/self/status")


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    monkeypatch.setattr(speed, "FEWEST", 1)


def test_every_method_that_learns_is_a_case():
    found = speed.cases()
    assert {"patchcore", "patchcore on resnet18"} <= {c.label for c in found}
    # A network without weights of its own gets random ones; filter_bank needs none.
    weights = {c.label: c.options.get("weights") for c in found}
    assert weights["patchcore"] is None
    assert weights.get("l2bt", "random") == "random"
    assert "onnx_model" not in {c.method for c in found}
    assert [c.method for c in speed.cases(["onnx_model"])] == []


def test_a_case_becomes_a_results_file_and_lines_of_a_table(tmp_path, hasty, monkeypatch):
    monkeypatch.setattr(speed, "cases", lambda methods: [speed.Case("patchcore", "patchcore")])
    text = speed.measure_speed(tmp_path, ["patchcore"])
    lines = [line for line in text.splitlines() if line.startswith("| patchcore")]
    assert [line.split(" | ")[1] for line in lines] == ["python fp32", "onnxruntime fp32"]
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    check_result(content)
    assert content["figures"]["onnxruntime fp32 p50 batch 1, ms"]["value"] > 0
    assert content["figures"]["onnxruntime fp32 load and first image, s"]["value"] > 0
    assert any("int8 was not exported" in note for note in content["notes"])


def test_a_file_is_measured_in_this_process_too(exported_part, hasty):
    found = speed.measure_file(exported_part)
    assert found["images/s batch 8"] > 0
    assert found["file, MB"] == pytest.approx(exported_part.stat().st_size / 1e6)


def test_a_file_that_cannot_be_measured_is_one_error(tmp_path):
    (tmp_path / "part.onnx").write_bytes(b"\x08\x09")
    with pytest.raises(BlemishError, match=r"part\.onnx could not be measured"):
        speed._in_own_process(tmp_path / "part.onnx", half=False)


@pytest.mark.skipif(
    "VmHWM" not in (STATUS.read_text() if STATUS.exists() else ""),
    reason="This system does not say what one process needs.",
)
def test_the_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    ballast = np.ones(75_000_000)  # 600 MB
    code = "from blemish.benchmark import peak_memory_mb; print(peak_memory_mb())"
    own = float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True))
    assert 10 < own < ballast.nbytes / 1e6 < peak_memory_mb()
