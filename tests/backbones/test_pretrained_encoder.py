"""An encoder from own photos as a backbone: features, what it has seen, export."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.backbones.opening import images_seen, open_backbone, restore_backbone  # noqa: E402
from blemish.detector import Detector  # noqa: E402
from blemish.errors import DataError, ModelFileError, OptionError, OverlapError  # noqa: E402
from blemish.evaluation import evaluate  # noqa: E402
from blemish.exporting.export import export_onnx  # noqa: E402
from blemish.nets.vit import patchify  # noqa: E402
from blemish.pretrained import Pretrained, pretrain  # noqa: E402
from drawn import draw_good, good_records, plates  # noqa: E402

NAME = "pretrained_encoder"
DATA = plates()
X = np.random.default_rng(0).random((2, 32, 48, 3), np.float32)
OWN = {"backbone": NAME, "false_alarms": 0.4, "image_size": "48x32"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = pretrain("masked_autoencoder", DATA, preset="tiny", device="cpu")
    return str(made.save(tmp_path_factory.mktemp("encoder") / "encoder.safetensors"))


def patchcore(path, **values):
    return Detector("patchcore", **{**OWN, "weights": path, "calibration": "split", **values})


def test_features_are_the_encoder_s_tokens_behind_the_last_norm(path):
    backbone = open_backbone(NAME, path, ())
    assert (backbone.strides, backbone.channels, backbone.multiple) == ((4, 4), (32, 32), 4)
    encoder = Pretrained.load(path).pipeline.method.network_.encoder
    with torch.inference_mode():
        patches = patchify(torch.from_numpy(X).permute(0, 3, 1, 2), 4)
        levels = encoder(patches, encoder.positions((8, 12)), (1, 2))
        wanted = [encoder.norm(t).reshape(2, 8, 12, 32).numpy() for t in levels]
    for found, expected in zip(backbone(X), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_images_of_any_size_have_features(path):
    backbone = open_backbone(NAME, path, (4,))
    assert [m.shape for m in backbone(np.zeros((1, 20, 64, 3), np.float32))] == [(1, 5, 16, 32)] * 2


def test_it_opens_again_from_what_it_says_of_itself(path):
    backbone = open_backbone(NAME, path, (), layers=(1,))
    again = restore_backbone(*backbone.state())
    assert len(again.channels) == 1
    assert np.array_equal(again(X)[0], backbone(X)[0])


def test_a_detector_on_it_needs_no_file_and_is_exported(path, tmp_path):
    detector = patchcore(path).fit(DATA)
    again = Detector.load(detector.save(tmp_path / "a.blemish"))
    assert again.predict(draw_good(5)).score == pytest.approx(detector.predict(draw_good(5)).score)
    done = export_onnx(detector, tmp_path / "a.onnx", data=DATA.select("test"))
    assert done.parity.flipped == 0
    assert Detector.load(done.path).seen == again.seen == detector.seen


def test_l2bt_and_adtr_stand_on_it(path):
    learned = Detector("l2bt", "tiny", **OWN, weights=path, strides="", layers="0,1", epochs=1)
    assert np.isfinite(learned.fit(DATA).predict(draw_good(5)).score)
    drawn = Detector("adtr", "tiny", **OWN, weights=path, strides="4", epochs=1)
    assert np.isfinite(drawn.fit(DATA).predict(draw_good(5)).score)


def test_what_it_has_seen_neither_calibrates_nor_tests(path):
    seen = set(images_seen(NAME, path))
    assert seen == set(Pretrained.load(path).learned)
    # Another seed draws other calibration images, some of which the encoder knows.
    detector = patchcore(path, seed=1, calibration_share=0.5).fit(DATA)
    assert not set(detector._fitted.calibrated) & seen
    assert seen <= detector.seen
    train = DATA.select("train")
    moved = tuple(replace(r, split="test") for r in train if train.hashes[r.key] in seen)
    with pytest.raises(OverlapError, match="was used to train"):
        evaluate(detector, replace(DATA, records=(*moved[:1], *DATA.select("test").records)))


def test_an_update_keeps_to_that(path):
    detector = patchcore(path).fit(DATA)
    more = replace(DATA, records=(*DATA.records, *good_records(4, 700)))
    detector.update(more)
    seen = set(images_seen(NAME, path))
    assert seen <= detector.seen
    assert not set(detector._fitted.calibrated) & seen


def test_where_it_has_seen_every_calibration_image_the_fit_is_refused(path):
    train, seen = DATA.select("train"), set(images_seen(NAME, path))
    known = tuple(r for r in train if train.hashes[r.key] in seen)
    with pytest.raises(DataError, match="the pre-trained encoder or the generator"):
        patchcore(path).fit(replace(DATA, records=known))


def test_several_fits_calibrate_nothing_that_was_seen(path):
    assert patchcore(path, calibration="auto").fit(DATA).card()["data"]["calibration"] < len(DATA)
    with pytest.raises(OptionError, match="use calibration=split"):
        patchcore(path, calibration="cross").fit(DATA)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"strides": (8,)}, "has one stride, 4; use strides=4, not 8"),
        ({"strides": (), "layers": (1, 5)}, "its 2 blocks are 0 to 1"),
    ],
)
def test_what_it_does_not_have_is_refused(path, values, match):
    with pytest.raises(OptionError, match=match):
        open_backbone(NAME, path, **values)


def test_only_an_encoder_file_will_do(tmp_path):
    for weights in (None, "random", str(tmp_path / "nowhere.safetensors")):
        with pytest.raises(OptionError, match="needs weights=FILE"):
            open_backbone(NAME, weights, ())
    detector = (
        Detector("patchcore", "tiny", false_alarms=0.4).fit(DATA).save(tmp_path / "a.blemish")
    )
    with pytest.raises(ModelFileError, match="is no pre-trained encoder"):
        open_backbone(NAME, str(detector), ())
