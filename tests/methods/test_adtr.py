"""ADTR: features and grid, what is trained, the score."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.detector import Detector  # noqa: E402
from blemish.methods.adtr import ADTR, ADTROptions  # noqa: E402
from blemish.options import build  # noqa: E402
from blemish.preprocess import Geometry  # noqa: E402
from blemish.run import Run  # noqa: E402
from blemish.samples import Samples  # noqa: E402
from drawn import draw_defective, draw_good, plates  # noqa: E402

TINY = {k: v for k, v in ADTR.presets["tiny"].items() if k != "image_size"}
DATA = plates().select("train")


def make(**values):
    return ADTR(build(ADTROptions, {**TINY, "epochs": 2, **values}, "adtr"))


def learn(run=None, geometry=None, **values):
    method = make(**values)
    samples = Samples(DATA, geometry or Geometry((48, 48), multiple=method.multiple))
    method.learn(samples, run or Run())
    return method


def test_all_maps_are_brought_to_one_grid():
    method = learn(strides=(4, 8, 16), cell=8)
    assert method.grid_ == (6, 6)
    joined = method._join(method.backbone_, np.zeros((2, 48, 48, 3), np.float32))
    assert joined.shape == (2, 6, 6, sum(method.backbone_.channels))
    assert method.multiple == 16


def test_the_backbone_stays_as_it_was():
    options = {"backbone": "resnet10t", "weights": "random", "strides": (8,)}
    method = learn(**options)
    fresh = make(**options)
    fresh._prepare(Samples(DATA, Geometry((48, 48), multiple=8)), Run())
    for name, array in fresh.backbone_.state()[1].items():
        np.testing.assert_array_equal(method.backbone_.state()[1][name], array)


def test_training_draws_features_better_and_says_what_it_trains():
    said, run = [], Run(say=lambda text: said.append(text))
    learn(run, epochs=12)
    assert run.history["loss"][-1] < 0.7 * run.history["loss"][0]
    assert any("parameters, 6×6 cells" in sentence for sentence in said)


def test_the_map_is_the_length_of_the_difference():
    method = learn()
    x = (draw_good(1)[:48, :48] / 255).astype(np.float32)[None]
    features = torch.from_numpy(
        (method._join(method.backbone_, x) - method.mean_) * method.scale_
    ).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = torch.linalg.vector_norm(method.network_(features) - features, dim=1)
    found = method.predict_batch(x, np.ones((1, 48, 48), bool), [""])
    np.testing.assert_allclose(found.maps, expected.numpy(), rtol=1e-5)
    assert found.scores is None


@pytest.mark.parametrize("kind", ["no_query", "no_attention", "cnn"])
def test_every_reconstructor_trains_and_comes_back(kind):
    method = learn(reconstructor=kind)
    again = make(reconstructor=kind)
    again.restore(*method.state())
    x = np.stack([draw_good(1), draw_defective(2)])[:, :48, :48].astype(np.float32) / 255
    valid = np.ones(x.shape[:3], bool)
    np.testing.assert_array_equal(
        again.predict_batch(x, valid, ["", ""]).maps, method.predict_batch(x, valid, ["", ""]).maps
    )


def test_cells_on_padding_do_not_count_while_training():
    one = learn(Run(), Geometry((40, 48), multiple=16), dropout=0.0)
    assert one.grid_ == (6, 6)
    assert one.network_.query.shape == (36, 32)


def test_the_score_is_the_largest_mean_over_a_window_or_the_mean_of_all():
    assert make(pool=16).post.pool == "mean_pool"
    assert make(pool=0).post.pool_value == 1.0


def test_channels_of_the_filter_bank_get_one_scale_and_those_of_a_network_keep_theirs():
    assert learn().scale_.std() > 0
    np.testing.assert_array_equal(learn(standardise=False).scale_, 1)


def test_the_cifar_preset_draws_8_by_8_cells():
    detector = Detector("adtr", "cifar", backbone="filter_bank", strides=(4,), epochs=1)
    assert detector.settings.image_size == "32"
    assert detector.options.cell == 4


def test_features_come_from_the_cache_where_there_is_one(tmp_path):
    said = []
    learn(Run(say=said.append, feature_cache=tmp_path / "cache"))
    assert any("Feature cache" in sentence for sentence in said)
    assert len(list(tmp_path.glob("cache/*/*.features"))) == len(DATA)
