"""A clean virtual environment with the core install alone runs an exported network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from drawn import plates

ROOT = Path(__file__).parent.parent
TORCH_FREE = """
import importlib.util, json, sys
from pathlib import Path
from blemish import Detector, evaluate, write_report
from drawn import images, plates
data = plates()
detector = Detector.load("part.onnx")
scores = [p.score for p in detector.predict(images(data.select("test")))]
evaluation = evaluate(detector, data)
report = write_report(evaluation, Path("report.html"))
missing = [n for n in ("torch", "timm", "lightning") if importlib.util.find_spec(n) is None]
print(json.dumps({"scores": scores, "auroc": evaluation.figures["image_auroc"].value,
                  "missing": missing, "report": report.stat().st_size}))
"""


@pytest.mark.slow
def test_the_core_install_predicts_evaluates_and_reports(tmp_path):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    network = {"backbone": "resnet10t", "weights": "random", "strides": "8", "image_size": "64"}
    detector = Detector("patchcore", "tiny", false_alarms=0.4, calibration_share=0.25, **network)
    data = plates()
    export_onnx(detector.fit(data), tmp_path / "part.onnx", data=data.select("test"))
    expected = [detector.predict(data.image(r)).score for r in data.select("test")]
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", str(ROOT)], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"pip could not install the core: {installed.stderr.strip()[-200:]}")
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", TORCH_FREE],
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["scores"] == pytest.approx(expected, rel=1e-4)
    assert found["missing"] == ["torch", "timm", "lightning"]
    assert found["report"] > 10_000
