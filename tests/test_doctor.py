"""What the doctor finds."""

import json
import os
from pathlib import Path

from blemish import doctor


def test_the_installation_is_described(tmp_path, monkeypatch):
    (tmp_path / "net.safetensors").write_bytes(b"x")
    (tmp_path / "README.md").write_text("x")
    monkeypatch.setenv("BLEMISH_WEIGHTS", str(tmp_path))
    found = doctor.examine()
    json.dumps(found)
    assert found["weights"] == ["net.safetensors"]
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["usable_cores"] >= 1
    assert found["versions"]["onnxruntime"]
    assert "CPUExecutionProvider" in found["runtimes"]
    text = doctor.examination_text(found)
    assert "instruction sets:" in text
    assert "net.safetensors" in text


def test_what_is_missing_comes_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.delenv("BLEMISH_WEIGHTS", raising=False)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = doctor.examine()
    text = doctor.examination_text(found)
    assert "pip install 'blemish[train]' (torch, " in text
    assert "backbone=filter_bank needs none" in text
    assert "torch MISSING" in text


def test_it_works_on_systems_that_say_little(monkeypatch):
    monkeypatch.setattr(doctor.Path, "read_text", _refuse)
    monkeypatch.delattr(doctor.os, "sched_getaffinity", raising=False)
    found = doctor.examine()
    assert found["machine"]["memory_mb"] is None
    assert found["machine"]["usable_cores"] == os.cpu_count()
    assert "unknown memory" in doctor.examination_text(found)


def test_nothing_missing_is_said_too():
    found = doctor.examine() | {"advice": []}
    assert doctor.examination_text(found).endswith("Nothing is missing.")


READ = Path.read_text


def _refuse(self, *words, **named):
    if self.name == "meminfo":
        raise OSError("no /proc")
    return READ(self, *words, **named)
