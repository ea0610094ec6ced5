"""Fixtures that every test may use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from drawn import plates

# No timings are asserted, and the same examples are tried everywhere.
settings.register_profile("blemish", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("blemish")


def _from_environment(variable: str) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        if not os.environ.get(variable):
            pytest.skip(f"${variable} is not set: {name} is not tested")
        path = Path(os.environ[variable]) / name
        if not path.exists():
            pytest.skip(f"${variable} holds no {name}")
        return path

    return find


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """``real_data("mvtec_ad")``: the folder of a public data set, or a skip with its reason."""
    return _from_environment("BLEMISH_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Callable[[str], Path]:
    """``real_weights("mobilenetv1_100.safetensors")``: a file of weights, or a skip."""
    return _from_environment("BLEMISH_WEIGHTS")


@pytest.fixture(scope="session")
def exported_part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small exported detector; do not write to this file."""
    detector = Detector("patchcore", preset="tiny", false_alarms=0.4, calibration_share=0.25)
    path = tmp_path_factory.mktemp("exported_part") / "part.onnx"
    return export_onnx(detector.fit(plates()), path, data=plates().select("test")).path
