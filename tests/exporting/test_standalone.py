"""The whole path in one graph."""

import numpy as np
import onnxruntime
import pytest

from blemish.detector import Detector
from blemish.exporting.export import export_onnx
from blemish.images import write_png
from blemish.maps import Post
from blemish.methods.patchcore import PatchCore
from drawn import draw_defective, draw_good, plates

SETTINGS = {"false_alarms": 0.4, "calibration_share": 0.25}
SIZE = (64, 96)


def fit(**options):
    return Detector("patchcore", preset="tiny", **{**SETTINGS, **options}).fit(plates())


def check(detector, tmp_path, size=SIZE):
    done = export_onnx(
        detector, tmp_path / "whole.onnx", data=plates().select("test"), image_size=size
    )
    assert done.parity.passed
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["pixels"]
    for image in (draw_good(3, *size), draw_defective(4) if size == SIZE else draw_good(9, *size)):
        anomaly_map, score = session.run(["map", "score"], {"pixels": image[None]})
        expected = detector.predict(image)
        assert score[0] == pytest.approx(expected.score, rel=1e-4)
        span = max(float(np.ptp(expected.anomaly_map)), 1e-6)
        assert np.abs(anomaly_map[0] - expected.anomaly_map).max() < 1e-3 * span
    return done.path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_size": "60x40", "interpolation": "bicubic"},
        {"image_size": "128", "interpolation": "lanczos", "fit": "stretch"},
        {"crop": "0.1,0.2,0.9,1", "interpolation": "area", "image_size": "50"},
        {"tile": "32", "overlap": 0.3},
        {"tile": "32", "score": "patch"},
        {"score": "patch"},
    ],
    ids=str,
)
def test_a_runtime_alone_gives_the_same_map_and_score(options, tmp_path):
    path = check(fit(**options), tmp_path)
    again = Detector.load(path)
    assert again.pipeline.geometry.size == SIZE


def test_the_file_is_a_detector_for_images_of_any_size(tmp_path):
    detector = fit()
    again = Detector.load(check(detector, tmp_path))
    assert again.predict(draw_good(1, 31, 50)).anomaly_map.shape == (31, 50)
    assert again.predict(draw_defective(2)).defective


def test_images_of_another_size_than_those_learned_from(tmp_path):
    check(fit(), tmp_path, (100, 90))


@pytest.mark.parametrize("tile", ["0", "32"])
def test_a_region_of_interest_is_inside(tile, tmp_path):
    roi = np.zeros(SIZE, bool)
    roi[10:, :60] = True
    path = check(fit(roi=str(write_png(tmp_path / "roi.png", roi)), tile=tile), tmp_path)
    assert not Detector.load(path).predict(draw_defective(3)).anomaly_map[~roi].any()


@pytest.mark.parametrize(
    "post",
    [
        Post(),
        Post(blur=1.5, boxes=(3, 5), pool="top_share", pool_value=0.02),
        Post(blur=2.0, frame="image", pool="mean_pool", pool_value=7),
        Post(boxes=(4,), frame="image", pool="top_share", pool_value=0.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("crop", ["0,0,1,1", "0.2,0.1,0.8,0.9"])
def test_smoothing_and_pooling_are_inside(post, crop, tmp_path, monkeypatch):
    monkeypatch.setattr(PatchCore, "post", post)
    check(fit(crop=crop), tmp_path)


def test_a_map_of_the_image_s_frame_goes_there_without_a_stop_on_the_canvas(tmp_path, monkeypatch):
    monkeypatch.setattr(PatchCore, "post", Post(boxes=(3,), frame="image"))
    check(fit(image_size="40"), tmp_path)
