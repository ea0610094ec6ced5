"""The core runs with torch not installed, with a method from another package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import blemish
from mock_method import ENTRY_POINT

BLOCKED = ("torch", "torchvision", "timm", "lightning", "onnxscript")
SCRIPT = """
import importlib.abc, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
BODY
"""


@pytest.fixture
def run(tmp_path):
    """Runs lines in a process that has no torch, but a package with the mock method."""
    info = tmp_path / "site" / "mock_blemish-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mock-blemish\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    tests, source = Path(__file__).parent, Path(blemish.__file__).parent.parent
    paths = os.pathsep.join(map(str, (info.parent, tests, source)))

    def run(body: str) -> object:
        script = SCRIPT.replace("BLOCKED", repr(BLOCKED)).replace("BODY", body)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": paths},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_fit_predict_evaluate_and_report_with_a_method_from_another_package(run, tmp_path):
    found = run(
        """
from pathlib import Path
from blemish import Detector, evaluate, registry, write_report
from drawn import images, plates
data = plates()
detector = Detector("mock_method", preset="tiny", false_alarms=0.4).fit(data)
detector.save("part.blemish")
again = Detector.load("part.blemish")
evaluation = evaluate(again, data)
report = write_report(evaluation, Path("report.html"))
print(json.dumps({
    "names": registry.names("methods"),
    "auroc": evaluation.figures["image_auroc"].value,
    "pictures": sorted(again.predict(images(data)[0]).pictures),
    "torch": sorted(set(BLOCKED) & set(sys.modules)),
}))
""".replace("BLOCKED", repr(BLOCKED))
    )
    assert {"mock_method", "patchcore"} <= set(found["names"])
    assert found["auroc"] == 1.0
    assert found["pictures"] == ["expected"]
    assert found["torch"] == []
    assert "mock_method" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_backbone_that_needs_torch_says_what_to_install(run):
    message = run("""
from blemish import BlemishError, Detector
from drawn import plates
try:
    Detector("patchcore", backbone="resnet18", weights="random", false_alarms=0.4).fit(plates())
except BlemishError as error:
    print(json.dumps([type(error).__name__, str(error)]))
""")
    assert message[0] == "MissingExtraError"
    assert "pip install 'blemish[train]'" in message[1]


def test_patchcore_on_the_filter_bank_needs_no_torch(run):
    scores = run("""
from blemish import Detector
from drawn import images, plates
data = plates()
detector = Detector("patchcore", preset="tiny", false_alarms=0.4).fit(data)
print(json.dumps([p.score for p in detector.predict(images(data.select("test")))]))
""")
    assert max(scores[:4]) < min(scores[4:])
