"""What the documents show must run, and what they claim must be in a results file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from blemish import Detector, evaluate, registry
from blemish.benchmark import check_result
from drawn import plates

ROOT = Path(__file__).parent.parent


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_the_readme_s_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "plate.blemish").exists()
    assert "Image AUROC" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
def test_the_method_of_the_guide_works(monkeypatch):
    code, _ = blocks("docs/adding-a-method.md", "python")
    names: dict = {"__name__": "guide"}
    monkeypatch.setitem(sys.modules, "guide", type(sys)("guide"))
    exec(compile(code, "guide", "exec", dont_inherit=True), names)
    monkeypatch.setattr(registry, "get", lambda kind, name: names["MeanImage"])
    data = plates()
    figures = evaluate(Detector("mean_image").fit(data), data).figures
    assert figures["image_auroc"].value > 0.9


def test_the_readme_is_short():
    assert (ROOT / "README.md").read_text("utf-8").count("\n") < 200


def test_every_result_satisfies_the_schema():
    paths = sorted((ROOT / "benchmarks/results").glob("*.json"))
    assert paths
    for path in paths:
        check_result(json.loads(path.read_text("utf-8")))


@pytest.mark.parametrize("script", ["results_table", "capacity"])
def test_tables_of_results_are_not_stale(script):
    command = [sys.executable, ROOT / f"benchmarks/{script}.py", "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert ended.returncode == 0, ended.stderr
