"""An exported file as a method."""

from dataclasses import replace

import numpy as np
import pytest

from blemish.detector import Detector
from blemish.errors import CapabilityError, ModelFileError
from blemish.maps import Post
from blemish.methods.onnx_model import OnnxModel, OnnxModelOptions
from drawn import draw_good, plates


@pytest.fixture
def detector(exported_part):
    return Detector.load(exported_part)


def test_it_learns_nothing():
    with pytest.raises(CapabilityError, match="learns nothing"):
        Detector("onnx_model", false_alarms=0.4).fit(plates())
    assert OnnxModel(OnnxModelOptions()).post == Post()


def test_the_number_of_threads_changes_no_answer(detector):
    image, method = draw_good(3), detector.pipeline.method
    expected = detector.predict(image).score
    method.options = replace(method.options, threads=1)
    method.restore(*method.state())
    assert detector.predict(image).score == pytest.approx(expected, rel=1e-6)


def test_pixels_come_back_exactly_from_their_floats(detector):
    method = detector.pipeline.method
    pixels = np.arange(256, dtype=np.uint8)
    seen = []
    method._run = lambda pixels, valid: seen.append(pixels) or [np.zeros((1, 2, 2), np.float32)]
    x = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32).reshape(1, 16, 16, 1)
    method.predict_batch(x, np.ones((1, 16, 16), bool), [""])
    np.testing.assert_array_equal(seen[0].ravel(), pixels)


def test_what_the_runtime_refuses_is_one_error(detector):
    method = detector.pipeline.method
    with pytest.raises(ModelFileError, match="cannot run this file"):
        method.predict_batch(np.zeros((1, 3, 3, 3), np.float32), np.ones((1, 3, 3), bool), [""])
    with pytest.raises(ModelFileError, match="cannot open the graph"):
        OnnxModel(OnnxModelOptions()).restore(
            {"view": [3, 3]}, {"graph": np.frombuffer(b"no graph", np.uint8)}
        )
