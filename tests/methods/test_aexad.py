"""AE-XAD: what the method does beyond the contract that all methods keep."""

import numpy as np
import pytest
import torch

from blemish.adaptive_blur import adaptive_radius, blur
from blemish.detector import Detector
from blemish.errors import DataError, OptionError
from blemish.methods.aexad import AEXAD, AEXADOptions
from blemish.metrics.explained_image import explain
from blemish.options import build
from blemish.run import Run
from drawn import blob_mask, draw_defective, plates

SHORT = {"epochs": 1, "pastes": 1, "calibration": "split", "false_alarms": 0.5}


def fit(said: list[str] | None = None, preset: str | None = "tiny", **options: object) -> Detector:
    run = Run(say=(said if said is not None else []).append)
    return Detector("aexad", preset, **{**SHORT, **options}).fit(plates(train=8, marked=2), run)


def method(**options: object) -> AEXAD:
    return AEXAD(build(AEXADOptions, options, "aexad"))


def judged(drawn: np.ndarray, view: np.ndarray, **options: object):
    """Heat map and score where the network is replaced by a given drawing."""
    made = method(**options)
    made._draw = lambda _: drawn  # type: ignore[method-assign]
    return made._judge(view, np.ones(view.shape[:2], bool))[:2]


def scene() -> tuple[np.ndarray, np.ndarray]:
    view = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 24:44] = True
    return view, mask


def test_defaults_are_those_of_the_paper():
    o = AEXADOptions()
    assert (o.encoder, o.backbone, o.regime, o.strides) == ("cnn", None, "frozen", (8,))
    assert method()._name == "resnet50"
    assert method(encoder="vit")._name == "vit_base_patch16_224"
    assert (o.copies, o.pastes, o.train_batch, o.epochs) == (5, 10, 16, 200)
    assert (o.learning_rate, o.weight_decay, o.decay) == (1e-3, 1e-4, 0.985)
    assert (o.target, o.target_value, o.head) == ("value", 2.0, "relu")
    assert AEXAD.default_size == (224, 224)


def test_a_perfect_drawing_of_a_defect_is_1_on_it_and_0_elsewhere():
    view, mask = scene()
    drawn = np.where(mask[:, :, None], np.float32(2), view)
    heat, _ = judged(drawn, view, radius="none")
    np.testing.assert_allclose(heat[mask], 1, rtol=1e-5)
    assert not heat[~mask].any()
    assert explain(heat, mask, np.ones_like(mask)).row[0] == 1.0


def test_a_perfect_drawing_of_a_good_part_is_0_everywhere():
    view, _ = scene()
    heat, score = judged(view, view)
    assert not heat.any()
    assert score == 0


def test_the_same_errors_close_together_score_higher_under_the_same_filter():
    close, spread = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    close[20:30, 20:30] = 1
    spread[::6, ::6][:10, :10] = 1
    assert close.sum() == spread.sum()
    scores = [(e * blur(e, 5)).mean() for e in (close, spread)]
    assert scores[0] > 5 * scores[1]


@pytest.mark.parametrize("score", ["mean", "l2"])
def test_the_score_is_that_of_the_formula(score):
    view, mask = scene()
    drawn = np.where(mask[:, :, None], np.float32(2), view)
    raw = np.square(drawn - view).mean(axis=2)
    product = raw * blur(raw, adaptive_radius(mask.astype(np.float32)))
    expected = product.mean() if score == "mean" else np.linalg.norm(product)
    assert judged(drawn, view, score=score)[1] == pytest.approx(expected, rel=1e-5)


def test_maps_stay_within_0_and_1_whatever_is_drawn():
    view, _ = scene()
    for target in ("value", "inverse", "step"):
        heat, score = judged(np.full_like(view, 9), view, target=target)
        assert heat.max() <= 1 + 1e-5
        assert np.isfinite(score)


def test_the_per_pixel_ratio_is_that_of_the_sums():
    view, _ = scene()
    drawn = view + np.array([0.3, 0.0, 0.1], np.float32)
    heat, _ = judged(drawn, view, per_pixel=True, radius="none")
    expected = np.square(drawn - view).sum(axis=2) / np.square(2 - view).sum(axis=2)
    np.testing.assert_allclose(heat, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": (16,)}, "must start with 8"),
        ({"strides": ()}, "must start with 8"),
        ({"target_value": 0.5}, r"use one outside \[0, 1\]"),
        ({"backbone": "filter_bank", "regime": "finetune"}, "filter_bank is not trained"),
        ({"backbone": "filter_bank", "encoder": "vit"}, "filter_bank is not trained"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        method(**options)


def test_views_are_filled_up_to_cells_and_patches():
    assert method().multiple == 8
    assert method(strides=(8, 16)).multiple == 16
    assert method(encoder="vit").multiple == 16
    assert method(encoder="vit", backbone="vit_small_patch14_dinov2").multiple == 112


def test_without_weights_the_message_says_what_needs_none():
    for options in ({}, {"encoder": "vit"}):
        with pytest.raises(OptionError, match=r"filter_bank .*needs none"):
            fit(preset=None, **options)


VIT = {"encoder": "vit", "backbone": "vit_tiny_patch16_224", "blocks": "1", "weights": "random"}
CNN = {"backbone": "resnet10t", "weights": "random"}
WHAT = {
    "vit frozen": VIT,
    "vit norm_only": {**VIT, "regime": "norm_only"},
    "cnn frozen": CNN,
    "cnn finetune": {**CNN, "regime": "finetune", "encoder_rate": 1e-3},
    "cnn scratch": {**CNN, "regime": "scratch", "weights": None},
}


@pytest.mark.parametrize("name", WHAT)
def test_every_encoder_and_regime_learns_and_comes_back(name, tmp_path):
    detector = fit(**{"backbone": None, **WHAT[name]})
    image = draw_defective(3)
    found = detector.predict(image)
    again = Detector.load(detector.save(tmp_path / "a.blemish")).predict(image)
    np.testing.assert_allclose(again.anomaly_map, found.anomaly_map, rtol=1e-5, atol=1e-6)
    assert again.score == pytest.approx(found.score, rel=1e-5)
    assert found.pictures["reconstruction"].shape[2] == 3


def test_a_regime_changes_the_weights_that_it_should_and_no_others():
    start = fit(**{**CNN, "epochs": 1, "regime": "scratch", "learning_rate": 1e-9})
    before = start.pipeline.method.state()[1]
    for regime, changed in {"norm_only": "bn1.weight", "scratch": "conv1.0.weight"}.items():
        after = fit(**{**CNN, "regime": regime, "encoder_rate": 1e-2}).pipeline.method.state()[1]
        moved = {k for k in before if "encoder" in k and abs(before[k] - after[k]).max() > 1e-6}
        assert f"encoder.network.{changed}" in moved
        assert (regime == "scratch") == any(k.endswith("conv1.0.weight") for k in moved)


def test_the_preset_thesis_is_the_earlier_set_up():
    detector = Detector("aexad", "thesis")
    o = detector.options
    assert (o.encoder, o.head, o.stem, o.normalise, o.kernel) == ("vit", "sigmoid", True, False, 2)
    assert (o.optimiser, o.learning_rate, o.clip, o.train_batch) == ("adamw", 5e-4, 1.0, 32)
    # and nothing of what was a mistake in its data: noise on defective images only
    assert o.noise == 0
    small = {**VIT, "image_size": "48", "train_batch": 6}
    said: list[str] = []
    made = fit(said, "thesis", **small).pipeline.method
    assert any("cannot reach target_value" in text for text in said)
    names = {k.split(".")[1] for k in made.state()[1] if k.startswith("encoder")}
    assert "stem" in names
    trained = sum(p.numel() for p in made.drawer_.parameters())
    stem = sum(p.numel() for p in made.encoder_.stem.parameters())
    narrower = (768 - 192) * 256  # a tiny transformer has fewer channels
    assert trained + stem + narrower == 632_665


@pytest.mark.parametrize(
    "options",
    [
        {"defects_only": True},
        {"fresh": True},
        {"noise": 0.05},
        {"target": "inverse", "head": "sigmoid"},
        {"target": "step", "optimiser": "adamw", "schedule": "cosine"},
        {"order": "up_first", "gate": "squares", "reduction": "three", "kernel": 2},
        {"pastes": 0, "radius": "boxes", "score": "l2"},
    ],
    ids=str,
)
def test_every_variant_trains_and_predicts(options):
    found = fit(**options).predict(draw_defective(3))
    assert np.isfinite(found.score)
    assert np.isfinite(found.anomaly_map).all()


def test_frozen_features_come_from_the_cache_on_disk_where_there_is_one(tmp_path):
    data = plates(train=8, marked=2)

    def scores(cache):
        run = Run(feature_cache=cache)
        return Detector("aexad", "tiny", **SHORT).fit(data, run).calibration.scores

    first = scores(tmp_path / "cache")
    files = sorted((tmp_path / "cache").rglob("*.features"))
    assert len(files) >= 6
    np.testing.assert_array_equal(scores(tmp_path / "cache"), first)
    assert sorted((tmp_path / "cache").rglob("*.features")) == files
    np.testing.assert_array_equal(scores(None), first)


def test_masks_that_vanish_are_an_error_and_one_that_stays_is_enough():
    with pytest.raises(DataError, match="None of the 2 defective training images has a marked"):
        fit(image_size="1")


def test_a_resumed_training_ends_with_the_same_weights(tmp_path):
    data = plates(train=8, marked=2)

    def trained(folder, epochs):
        run = Run(checkpoint=folder)
        options = {**SHORT, "epochs": 2, "schedule": "constant"}
        if epochs == 1:

            def stop(stage, done, total):
                if stage.startswith("training") and done > total // 2:
                    raise KeyboardInterrupt

            run.progress = stop
        return Detector("aexad", "tiny", **options).fit(data, run)

    whole = trained(tmp_path / "whole", 2)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", 1)
    resumed = trained(tmp_path / "parts", 2)
    one, two = (d.pipeline.method.state()[1] for d in (whole, resumed))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_it_finds_a_painted_defect_where_it_is():
    detector = fit(**{"epochs": 12, "pastes": 5})
    mask = blob_mask(3)
    found = detector.predict(draw_defective(3))
    figures = explain(found.anomaly_map, mask, np.ones_like(mask)).row
    assert figures[0] > 0.95
    with torch.inference_mode():  # predicting leaves the mode of gradients alone
        pass
    assert torch.is_grad_enabled()
