"""Smaller numbers: half the file, or 8-bit convolutions, within their own tolerance."""

import numpy as np
import pytest

from blemish.detector import Detector
from blemish.errors import CapabilityError, ExportError, OptionError
from blemish.exporting.export import build_model, export_onnx
from blemish.exporting.precision import store_halves
from drawn import draw_good, plates

SETTINGS = {"false_alarms": 0.4, "calibration_share": 0.25, "image_size": "64"}
NETWORK = {"backbone": "resnet10t", "weights": "random", "strides": "8"}


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    return Detector("patchcore", preset="tiny", **SETTINGS, **NETWORK).fit(plates())


def test_half_precision_halves_the_file_and_keeps_the_decisions(network, tmp_path):
    test = plates().select("test")
    whole = export_onnx(network, tmp_path / "a.onnx", data=test)
    half = export_onnx(network, tmp_path / "b.onnx", data=test, precision="fp16")
    assert half.path.stat().st_size < 0.6 * whole.path.stat().st_size
    assert 0 < half.parity.map < 0.02
    assert half.parity.flipped == 0


def test_eight_bits_are_within_their_own_tolerance(network, tmp_path):
    with pytest.raises(ExportError, match="int8 is too coarse"):
        export_onnx(network, tmp_path / "c.onnx", data=plates(), precision="int8", tolerance=1e-6)
    done = export_onnx(network, tmp_path / "c.onnx", data=plates(), precision="int8", tolerance=0.9)
    assert 1e-3 < done.parity.map < 0.9
    again = Detector.load(done.path)
    types = {str(i.type) for i in again.pipeline.method._session.get_inputs()}
    assert types == {"tensor(uint8)", "tensor(bool)"}
    assert np.isfinite(again.predict(draw_good(3)).score)


def test_only_smaller_numbers_have_a_tolerance(fitted, tmp_path):
    with pytest.raises(OptionError, match="is fixed"):
        export_onnx(fitted, tmp_path / "c.onnx", tolerance=0.1)
    with pytest.raises(OptionError, match="not a share"):
        export_onnx(fitted, tmp_path / "c.onnx", precision="fp16", tolerance=2)


def test_eight_bits_need_a_network(fitted, tmp_path):
    with pytest.raises(CapabilityError, match="has none"):
        export_onnx(fitted, tmp_path / "c.onnx", data=plates(), precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_into_half_precision_stays(fitted):
    model = build_model(fitted)
    large = np.full((64, 64), 1e6, np.float32)
    model.graph.initializer.add().CopyFrom(__import__("onnx").numpy_helper.from_array(large, "big"))
    kept = {t.name: t.data_type for t in store_halves(model).graph.initializer}
    assert kept["big"] == 1
    assert 10 in kept.values()
