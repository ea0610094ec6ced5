"""The examples of docs/model-file.md and docs/adding-a-method.md do what they say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from drawn import draw_defective, draw_good, plates

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def example():
    text = (DOCS / "model-file.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return code


def test_the_example_is_short_and_needs_numpy_and_onnxruntime_alone(example):
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 25
    assert set(re.findall(r"^import (\w+)", example, re.MULTILINE)) == {
        "json",
        "numpy",
        "onnxruntime",
        "sys",
    }


def test_the_example_judges_as_the_detector_does(example, tmp_path):
    detector = Detector("patchcore", preset="tiny", false_alarms=0.4, calibration_share=0.25)
    detector.fit(plates())
    path = tmp_path / "part.onnx"
    export_onnx(detector, path, data=plates().select("test"), image_size=(64, 96))
    (tmp_path / "judge.py").write_text(example, encoding="utf-8")

    def judge(image):
        np.save(tmp_path / "image.npy", image)
        words = [sys.executable, "judge.py", path.name, "image.npy"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    for image in (draw_good(3), draw_defective(5)):
        found, expected = json.loads(judge(image).stdout), detector.predict(image)
        assert found["score"] == pytest.approx(expected.score, rel=1e-4)
        assert found["defective"] == expected.defective
        assert found["pixels"] == pytest.approx(int(expected.mask.sum()), abs=2)
    assert "this file takes" in judge(draw_good(3, 10, 10)).stderr


def test_the_method_of_the_guide_exports(tmp_path):
    text = (DOCS / "adding-a-method.md").read_text(encoding="utf-8")
    method, graph = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2]
    # Dataclasses look their module up; a file of its own is the honest way.
    source = method.replace("import Method, Output", "import GraphOutput, Method, Output")
    source = (
        source.replace("    presets = {", "    exportable = True\n    presets = {") + "\n" + graph
    )
    module = tmp_path / "mean_image.py"
    module.write_text(source, encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    try:
        from importlib.metadata import EntryPoint

        from blemish import registry

        entry = EntryPoint("mean_image", "mean_image:MeanImage", "blemish.methods")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(registry._foreign("methods"), "mean_image", entry)
            detector = Detector("mean_image", false_alarms=0.4, calibration_share=0.25)
            detector.fit(plates())
            data = plates().select("test")
            assert export_onnx(detector, tmp_path / "mean.onnx", data=data).parity.passed
    finally:
        sys.path.remove(str(tmp_path))
