"""Every registered method, fitted once on drawn plates; the mock method is one more."""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import blemish
from blemish import registry
from blemish.datasets.base import DataSet
from blemish.detector import Detector
from blemish.errors import MissingExtraError
from blemish.exporting.export import export_onnx
from blemish.methods.base import Method
from drawn import images, plates

TESTS = Path(__file__).parent.parent
MOCK = EntryPoint("mock_method", "mock_method:MockMethod", "blemish.methods")
# Few plates can promise little: two for calibration allow one false alarm in three.
# One fit is what is looked at; cross calibration has tests of its own.
SETTINGS = {"false_alarms": 0.4, "calibration_share": 0.25, "calibration": "split"}


@dataclass(frozen=True)
class Case:
    """One method, fitted once; tests must not fit or update this detector."""

    name: str
    options: dict[str, Any]
    method: type[Method]
    data: DataSet = field(repr=False)
    detector: Detector
    scores: list[float]
    before: dict[str, str] = field(repr=False)
    after: dict[str, str] = field(repr=False)

    def make(self, **settings: Any) -> Detector:
        if self.name == "onnx_model":
            pytest.skip("an exported file learns nothing")
        return make(self.name, **self.options, **settings)

    def test_images(self, defective: bool | None = None) -> list[np.ndarray]:
        return images(self.data.select("test", defective))

    def scores_of(self, detector: Detector) -> list[float]:
        return [p.score for p in detector.predict(self.test_images())]


def make(name: str, **settings: Any) -> Detector:
    return Detector(name, preset="tiny", **{**SETTINGS, **settings})


def surroundings() -> dict[str, str]:
    """What belongs to the whole process and to no method."""
    found = {
        "random": str(hash(random.getstate())),
        "numpy.random": str(hash(np.random.get_state()[1].tobytes())),  # type: ignore[union-attr]
        "numpy.geterr": str(np.geterr()),
        "environment": str(hash(tuple(sorted(os.environ.items())))),
        "folder": os.getcwd(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found |= {
            "torch random": str(hash(torch.random.get_rng_state().numpy().tobytes())),
            "torch threads": str(torch.get_num_threads()),
            "torch gradients": str(torch.is_grad_enabled()),
            "torch dtype": str(torch.get_default_dtype()),
            "torch algorithms": str(torch.are_deterministic_algorithms_enabled()),
        }
    return found


def no_network(*arguments: object, **named: object) -> None:
    raise AssertionError(f"fitting reached for the network: {arguments}")


@contextmanager
def mock_registered() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._foreign("methods"), MOCK.name, MOCK)
        yield patch


@pytest.fixture(scope="module", autouse=True)
def mock_is_registered() -> Iterator[None]:
    with mock_registered():
        yield


# A trained network inside a method brings what plain numpy cannot break: seeds, threads, buffers.
NETWORK = {"backbone": "resnet10t", "weights": "random", "strides": "8"}
CASES = [
    *(pytest.param((name, {}), id=name) for name in [*registry.names("methods"), MOCK.name]),
    pytest.param(("patchcore", NETWORK), id="patchcore on a network"),
]


@pytest.fixture(scope="session", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    with mock_registered() as patch:
        for call in ("getaddrinfo", "create_connection"):
            patch.setattr(socket, call, no_network)
        patch.setattr(socket.socket, "connect", no_network)
        return fit_case(*request.param)


def fit_case(name: str, options: dict[str, Any]) -> Case:
    if options:
        pytest.importorskip("timm", reason="the extra [train] is not installed")
    try:
        method = registry.get("methods", name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    data = plates(marked=0 if method.supervision == "normal" else 4)
    before = surroundings()
    detector = exported(data) if name == "onnx_model" else make(name, **options).fit(data)
    scores = [p.score for p in detector.predict(images(data.select("test")))]
    return Case(name, options, method, data, detector, scores, before, surroundings())


def exported(data: DataSet) -> Detector:
    with tempfile.TemporaryDirectory() as folder:
        done = export_onnx(make("patchcore").fit(data), Path(folder) / "part.onnx")
        return Detector.load(done.path)


@pytest.fixture(scope="session")
def fresh_process() -> Iterator[Callable[[Path, Path], list[float]]]:
    """Scores of a model file in another process, one for all tests: starting one is slow."""
    paths = [str(TESTS), str(Path(blemish.__file__).parent.parent)]
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "contract" / "fresh.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdin
    assert process.stdout

    def scores(model: Path, pixels: Path) -> list[float]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([str(model), str(pixels)]) + "\n")
        process.stdin.flush()
        return list(json.loads(process.stdout.readline()))

    yield scores
    process.stdin.close()
    process.wait(30)
    process.stdout.close()
