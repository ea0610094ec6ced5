"""An exported file is the detector, or it is not written."""

import json

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from blemish.backbones import filter_bank
from blemish.detector import Detector
from blemish.errors import CapabilityError, ExportError, ModelFileError, NotFittedError, OptionError
from blemish.evaluation import evaluate
from blemish.exporting import export as export_module
from blemish.exporting.export import build_model, export_onnx
from blemish.model_file import ModelFile, read_model_file, write_model_file
from blemish.reporting.html import write_report
from drawn import draw_defective, draw_good, images, plates

SETTINGS = {"false_alarms": 0.4, "calibration_share": 0.25}


def fit(**options):
    return Detector("patchcore", preset="tiny", **{**SETTINGS, **options}).fit(plates())


@pytest.fixture
def again(exported):
    return Detector.load(exported)


def test_the_file_is_a_detector_with_the_same_answers(fitted, again):
    for image in images(plates().select("test")):
        expected, found = fitted.predict(image), again.predict(image)
        assert found.score == pytest.approx(expected.score, rel=1e-5)
        assert (found.defective, found.p_value) == (expected.defective, expected.p_value)
        assert_allclose(found.anomaly_map, expected.anomaly_map, rtol=1e-3, atol=1e-4)
        assert_array_equal(found.mask, expected.mask)


def test_the_figures_of_the_comparison_are_in_the_file(exported):
    parity = read_model_file(exported).header["state"]["parity"]
    assert parity["map"] < 1e-4
    assert parity["flipped"] == 0
    assert "plates" in parity["images"]


def test_thresholds_and_calibration_come_along(fitted, again):
    assert again.threshold == fitted.threshold
    assert again.pixel_threshold == fitted.pixel_threshold
    assert again.seen == fitted.seen


def test_thresholds_are_edited_without_touching_the_graph(exported, again, tmp_path):
    again.set_false_alarms(0.35)
    path = again.save(tmp_path / "stricter.onnx")
    before, after = (read_model_file(p).arrays["method.graph"] for p in (exported, path))
    assert before.tobytes() == after.tobytes()
    stricter = Detector.load(path)
    assert stricter.false_alarms == 0.35
    decision = read_model_file(path).header["decision"]
    assert decision["threshold"] == stricter.threshold
    assert path.read_bytes().startswith(after.tobytes())


def test_an_exported_detector_evaluates_and_reports(again, tmp_path):
    evaluation = evaluate(again, plates())
    assert evaluation.figures["image_auroc"].value == 1.0
    text = write_report(evaluation, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "onnx_model" in text


def test_it_may_be_saved_as_a_model_file_too(again, tmp_path):
    path = again.save(tmp_path / "part.blemish")
    image = draw_defective(7)
    assert Detector.load(path).predict(image).score == again.predict(image).score


def test_the_graph_runs_in_plain_onnxruntime_whatever_the_batch(fitted, exported):
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    views = [fitted.pipeline.geometry.views(draw_good(i))[:2] for i in range(3)]
    pixels, valid = (np.concatenate([v[k] for v in views]) for k in (0, 1))
    (together,) = session.run(["map"], {"pixels": pixels, "valid": valid})
    for i in range(3):
        (alone,) = session.run(["map"], {"pixels": pixels[[i]], "valid": valid[[i]]})
        assert_allclose(alone[0], together[i], rtol=1e-5, atol=1e-5)
    header = json.loads(session.get_modelmeta().custom_metadata_map["blemish"])
    assert header["decision"]["threshold"] == fitted.threshold


@pytest.mark.parametrize(
    "options",
    [
        {"score": "patch"},
        {"score": "patch", "neighbours": 1},
        {"strides": "4,16", "neighbourhood": 1},
        {"tile": "32", "overlap": 0.3, "batch_size": 3},
        {"crop": "0.1,0.2,0.9,1", "fit": "stretch", "image_size": "64"},
        {"standardise": False, "neighbourhood": 5},
    ],
    ids=str,
)
def test_whatever_the_options_the_answers_are_the_same(options, tmp_path):
    done = export_onnx(fit(**options), tmp_path / "part.onnx", data=plates().select("test"))
    assert done.parity.passed
    assert done.parity.flipped == done.parity.near == 0


def test_a_region_of_interest_travels_with_the_file(tmp_path):
    roi = np.zeros((64, 96), bool)
    roi[:, :60] = True
    from blemish.images import write_png

    detector = fit(roi=str(write_png(tmp_path / "roi.png", roi)))
    path = export_onnx(detector, tmp_path / "part.onnx", data=plates().select("test")).path
    found = Detector.load(path).predict(draw_defective(3))
    assert not found.anomaly_map[~roi].any()
    assert found.score == pytest.approx(detector.predict(draw_defective(3)).score, rel=1e-5)


# ------------------------------------------------------------- injected faults


def refused(detector, path, match="APART"):
    with pytest.raises(ExportError, match=match):
        export_onnx(detector, path, data=plates().select("test"))
    assert not path.exists()


def test_a_changed_constant_is_caught(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(filter_bank, "OPPONENT", filter_bank.OPPONENT * np.float32(1.01))
    refused(fitted, tmp_path / "part.onnx")


def test_another_resize_mode_is_caught(fitted, tmp_path, monkeypatch):
    changed = export_module._content

    def other(*arguments):
        content = changed(*arguments)
        content.header["geometry"]["interpolation"] = "bicubic"
        return content

    detector = fit(image_size="60x40")
    monkeypatch.setattr(export_module, "_content", other)
    refused(detector, tmp_path / "part.onnx")


def test_a_wrong_pad_is_caught(fitted, tmp_path, monkeypatch):
    add = export_module.Graph.add

    def zeros(self, kind, *inputs, **attributes):
        if kind == "Pad":
            attributes["mode"] = "constant"
        return add(self, kind, *inputs, **attributes)

    monkeypatch.setattr(export_module.Graph, "add", zeros)
    refused(fitted, tmp_path / "part.onnx")


def test_a_changed_normalisation_of_a_network_is_caught(tmp_path):
    pytest.importorskip("timm", reason="the extra [train] is not installed")
    detector = fit(backbone="resnet10t", weights="random", strides="8")
    backbone = detector.pipeline.method.backbone_
    mean = backbone._mean
    export = backbone.export

    def shifted(*arguments):
        backbone._mean = mean + np.float32(0.01)
        try:
            return export(*arguments)
        finally:
            backbone._mean = mean

    backbone.export = shifted
    refused(detector, tmp_path / "part.onnx")


def test_another_smoothing_is_caught(fitted, tmp_path, monkeypatch):
    changed = export_module._content

    def other(*arguments):
        content = changed(*arguments)
        content.header["post"]["blur"] += 0.1
        return content

    monkeypatch.setattr(export_module, "_content", other)
    refused(fitted, tmp_path / "part.onnx", "map, share of its range")


def test_an_old_file_stays_when_the_answers_are_apart(fitted, tmp_path, monkeypatch):
    path = tmp_path / "part.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(filter_bank, "COLOUR_WEIGHT", 0.5)
    with pytest.raises(ExportError):
        export_onnx(fitted, path, data=plates().select("test"))
    assert path.read_bytes() == b"old"


# ------------------------------------------------------------- bad input


def test_what_cannot_be_exported_says_so(fitted, again, tmp_path):
    with pytest.raises(OptionError, match=r"not named \*\.onnx"):
        export_onnx(fitted, tmp_path / "part.blemish")
    with pytest.raises(OptionError, match="not one of fp32, fp16, int8"):
        export_onnx(fitted, tmp_path / "part.onnx", precision="int4")
    with pytest.raises(CapabilityError, match="is an exported file already"):
        export_onnx(again, tmp_path / "part.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(Detector("patchcore"), tmp_path / "part.onnx")
    with pytest.raises(ModelFileError, match="is not exported"):
        fitted.save(tmp_path / "part.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_error(fitted, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelFileError, match="cannot be written"):
        export_onnx(fitted, tmp_path / "file" / "part.onnx")


def changed(exported, path, change):
    """The file with another graph and a digest that is right."""
    content = read_model_file(exported)
    graph = change(content.arrays["method.graph"].tobytes())
    arrays = {**content.arrays, "method.graph": np.frombuffer(graph, np.uint8)}
    write_model_file(path, ModelFile(content.header, arrays))
    return path


def test_another_channel_count_is_refused(fitted, exported, tmp_path):
    def grey(_):
        model = build_model(fitted)
        model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1
        return model.SerializeToString()

    with pytest.raises(ModelFileError, match=r"cannot open the graph|RGB with three"):
        Detector.load(changed(exported, tmp_path / "grey.onnx", grey))


def test_an_output_of_another_name_is_refused(fitted, exported, tmp_path):
    def renamed(_):
        model = build_model(fitted)
        model.graph.output[0].name = model.graph.node[-1].output[0] = "heat"
        return model.SerializeToString()

    with pytest.raises(ModelFileError, match="not a map and a score"):
        Detector.load(changed(exported, tmp_path / "heat.onnx", renamed))
