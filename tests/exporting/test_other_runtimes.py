"""The file in another runtime than onnxruntime."""

import numpy as np
import pytest

from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from drawn import draw_defective, draw_good, plates

openvino = pytest.importorskip("openvino", reason="openvino is not installed: [dev]")
SETTINGS = {"false_alarms": 0.4, "calibration_share": 0.25, "image_size": "64"}
CASES = [
    ("patchcore", {}),
    ("patchcore", {"score": "patch"}),
    ("patchcore", {"backbone": "resnet10t", "weights": "random", "strides": "8,16"}),
    pytest.param("vae", {"image_size": "48"}, marks=pytest.mark.slow),
    pytest.param("l2bt", {"image_size": "64"}, marks=pytest.mark.slow),
    pytest.param("adtr", {"image_size": "48"}, marks=pytest.mark.slow),
]


def run(path, feed):
    core = openvino.Core()
    # Its default on some processors is half precision.
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(feed)
    return {name: results[name] for name in ("map", "score") if name in _names(compiled)}


def _names(compiled):
    return {name for output in compiled.outputs for name in output.get_names()}


@pytest.mark.parametrize(("method", "options"), CASES, ids=str)
@pytest.mark.parametrize("size", [None, (64, 96)], ids=["views", "standalone"])
def test_openvino_agrees(method, options, size, tmp_path):
    if method != "patchcore" or "backbone" in options:
        pytest.importorskip("timm", reason="the extra [train] is not installed")
    if size is not None and "backbone" in options:
        pytest.skip("one network is enough")
    detector = Detector(method, preset="tiny", **{**SETTINGS, **options}).fit(plates())
    path = export_onnx(
        detector, tmp_path / "part.onnx", data=plates().select("test"), image_size=size
    ).path
    model = Detector.load(path)
    for image in (draw_good(3), draw_defective(5)):
        pixels, valid, _ = model.pipeline.geometry.views(image)
        feed = {"pixels": pixels} if size else {"pixels": pixels, "valid": valid}
        expected = dict(
            zip(
                model.pipeline.method._outputs,
                model.pipeline.method._run(pixels, valid),
                strict=True,
            )
        )
        for name, values in run(path, feed).items():
            span = max(float(np.ptp(expected["map"])), 1e-6)
            assert np.abs(values - expected[name]).max() < 1e-3 * span
