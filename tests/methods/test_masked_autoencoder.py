"""The masked autoencoder: phases, losses, judging with masks, what is refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.datasets.base import DataSet  # noqa: E402
from blemish.detector import Detector  # noqa: E402
from blemish.errors import DataError, OptionError, OverlapError, TrainingError  # noqa: E402
from blemish.evaluation import evaluate  # noqa: E402
from blemish.methods.masked_autoencoder import MaskedAutoencoder  # noqa: E402
from blemish.methods.masking_options import MaskedAutoencoderOptions  # noqa: E402
from blemish.pretrained import Pretrained, pretrain  # noqa: E402
from blemish.run import Run  # noqa: E402
from blemish.training import Moment, Tensors  # noqa: E402
from drawn import draw_good, good_records, plates  # noqa: E402

NAME = "masked_autoencoder"
DATA = plates()
OWN = {"calibration": "split", "false_alarms": 0.4, "device": "cpu"}
FEW = {"epochs": 2, "finetune_epochs": 1, "masks": 8}


def make(**values):
    return Detector(NAME, "tiny", **{**OWN, **values})


def start(data=DATA, **values):
    return pretrain(NAME, data, preset="tiny", **{"device": "cpu", **FEW, **values})


@cache
def fitted():
    return make().fit(DATA)


@cache
def started():
    return start()


def scores(detector, defective):
    data = DATA.select("test", defective)
    return [detector.predict(data.image(r)).score for r in data]


def method_of(**values):
    return MaskedAutoencoder(MaskedAutoencoderOptions(**values))


# ---------------------------------------------------------------------- learning


class Echo:
    """A network that draws what it is told and remembers it."""

    def __init__(self, drawn):
        self.drawn = drawn.requires_grad_()

    def __call__(self, x, visible):
        self.visible = visible
        return self.drawn


def moment(update):
    return Moment(0, 1, lambda name, loss: update(loss), lambda *inputs: None, lambda value: value)


@pytest.mark.parametrize("phase", ["_pretrain_step", "_finetune_step"])
def test_visible_patches_and_invalid_pixels_have_no_gradient(phase):
    method = method_of(patch=4, augment="none")
    method._bank = torch.ones(1, 16, dtype=torch.bool)
    method._bank[0, [0, 5, 6, 15]] = False
    method.network_ = type("Net", (), {"grid": (4, 4)})
    x, valid = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    valid[:, :, :, 13:] = 0
    echo, losses = Echo(torch.rand(2, 3, 16, 16)), []
    batch = Tensors(x, valid, 0 * valid, torch.zeros(2))
    getattr(method, phase)({NAME: echo}, batch, moment(losses.append))
    losses[0].backward()
    assert echo.visible.tolist() == [[0, 5, 6, 15]] * 2
    gradient = echo.drawn.grad.abs().sum(dim=1)
    seen = np.kron(~method._bank[0].numpy().reshape(4, 4), np.ones((4, 4), bool))
    outside = torch.from_numpy(seen)[None] | (valid[:, 0] == 0)
    assert not gradient[outside].any()
    assert gradient[~outside].all()


def test_the_loss_of_the_source_counts_the_full_image():
    method = method_of(patch=4, augment="none", finetune_loss="full")
    method._bank = torch.tensor([[True, False, True, True]])
    method.network_ = type("Net", (), {"grid": (2, 2)})
    batch = Tensors(torch.zeros(1, 3, 8, 8), *[torch.ones(1, 1, 8, 8)] * 2, torch.zeros(1))
    echo = Echo(torch.full((1, 3, 8, 8), 0.5))
    terms = method._finetune_step({NAME: echo}, batch, moment(lambda loss: None))
    assert terms["loss"].item() == pytest.approx(0.25)


def test_both_phases_have_curves():
    curves = fitted().history
    assert {"pretrain_loss", "pretrain_error", "pretrain_dissimilarity", "loss"} <= set(curves)
    assert len(curves["pretrain_loss"]) == 16
    assert len(curves["loss"]) == 6
    assert curves["pretrain_error"][-1] < curves["pretrain_error"][0] / 2


def test_defects_outrank_good_parts_and_f1_is_not_that_of_flagging_everything():
    found = evaluate(fitted(), DATA)
    assert found.figures["image_auroc"].value == 1
    figures = {name: found.figures[name].value for name in ("image_f1", "f1_flag_everything")}
    assert figures["f1_flag_everything"] == pytest.approx(2 * 4 / (2 * 4 + 4))
    assert figures["image_f1"] != figures["f1_flag_everything"]


def test_a_loaded_detector_scores_like_the_trained_network_and_not_like_a_fresh_one(tmp_path):
    again = Detector.load(fitted().save(tmp_path / "a.blemish"))
    assert scores(again, True) == scores(fitted(), True)
    fresh = make(**FEW, learning_rate=1e-9).fit(DATA)
    assert np.abs(np.subtract(scores(again, True), scores(fresh, True))).min() > 1e-3


def test_an_interrupted_fit_goes_on_in_either_phase_to_the_same_network(tmp_path):
    values = {"epochs": 2, "finetune_epochs": 2, "masks": 8}

    def fit(stop_at, init=None):
        calls = 0

        def count(stage, done, total):
            nonlocal calls
            calls += stage.startswith("training")
            if calls == stop_at:
                raise KeyboardInterrupt

        said = []
        run = Run(checkpoint=tmp_path, progress=count, say=said.append)
        return make(**values).fit(DATA, run, init), said

    for stop_at in (3, 2):  # two steps per epoch: the second of pre-training, the first after it
        with pytest.raises(KeyboardInterrupt):
            fit(stop_at)
    resumed, said = fit(99)
    assert sum("goes on after epoch" in text for text in said) == 1
    again, said = fit(99)
    assert sum("goes on after epoch 2" in text for text in said) == 2, "both phases are there"
    unbroken = make(**values).fit(DATA)
    assert scores(resumed, True) == scores(again, True) == scores(unbroken, True)
    # Another network to go on from is another run.
    with pytest.raises(TrainingError, match="start is"):
        fit(99, fitted())


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(tmp_path):
    def stop(stage, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(run=Run(checkpoint=tmp_path, progress=stop))
    said = []
    resumed = start(run=Run(checkpoint=tmp_path, say=said.append))
    assert any("goes on after epoch 1" in text for text in said)
    one, other = (p.pipeline.method.network_.state_dict() for p in (resumed, started()))
    assert all(torch.equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------------- going on


def test_fitting_goes_on_from_the_pretrained_weights(monkeypatch):
    seen, phases = {}, []

    def stop(self, phase, samples, run):
        phases.append(phase)
        seen.update({k: v.clone() for k, v in self.network_.state_dict().items()})
        raise RuntimeError("enough")

    first = started()
    monkeypatch.setattr(MaskedAutoencoder, "_train", stop)
    with pytest.raises(RuntimeError, match="enough"):
        make(**FEW).fit(DATA, init=first)
    assert phases == ["finetune"]
    weights = first.pipeline.method.network_.state_dict()
    assert all(torch.equal(seen[name], weights[name]) for name in weights)


def test_both_phases_at_once_are_what_they_are_one_by_one(tmp_path):
    path = started().save(tmp_path / "encoder.safetensors")
    apart, at_once = make(**FEW).fit(DATA, init=Pretrained.load(path)), make(**FEW).fit(DATA)
    assert scores(apart, True) == scores(at_once, True)
    assert apart.threshold == at_once.threshold


def test_a_fitted_detector_can_be_gone_on_from_too():
    detector = make(**FEW).fit(DATA, init=fitted())
    assert set(fitted().learned) <= set(detector.learned)
    assert "pretrain_loss" not in detector.history


def test_a_network_of_another_size_has_its_table_of_positions_resized_and_says_so():
    said = []
    detector = make(**FEW, image_size="64x32").fit(DATA, Run(say=said.append), started())
    assert any("knows 12×8 patches, here are 16×8: its table of positions was resized" in text
               for text in said)  # fmt: skip
    assert detector.pipeline.method.network_.encoder.learned.shape == (128, 32)


@pytest.mark.parametrize(
    ("values", "match"),
    [({"width": 64}, "width is 32 .* and 64 here"), ({"norm": "layer"}, "norm is dyt")],
)
def test_another_network_is_refused_with_what_differs(values, match):
    with pytest.raises(OptionError, match=match):
        make(**FEW, **values).fit(DATA, init=started())


def test_a_detector_of_another_method_is_refused():
    other = Detector("patchcore", "tiny", **OWN).fit(DATA)
    with pytest.raises(OptionError, match="goes on from a file of `blemish pretrain"):
        make(**FEW).fit(DATA, init=other)


def test_what_was_seen_in_pretraining_neither_calibrates_nor_tests():
    detector = make(**FEW).fit(DATA, init=started())
    assert set(started().learned) <= set(detector.learned)
    assert not set(detector._fitted.calibrated) & set(started().learned)
    train = DATA.select("train")
    moved = [replace(r, split="test") for r in train if train.hashes[r.key] in detector.learned]
    with pytest.raises(OverlapError, match="was used to train"):
        evaluate(detector, replace(DATA, records=(*moved[:2], *DATA.select("test").records)))


def test_the_seed_and_so_the_split_of_the_file_are_kept():
    first = start(seed=3)
    detector = make(**FEW).fit(DATA, init=first)
    assert detector.settings.seed == 3
    assert not set(detector._fitted.calibrated) & set(first.learned)


def test_without_an_unseen_image_to_calibrate_on_it_is_refused():
    train = DATA.select("train")
    seen = {started().learned[0], *started().learned}
    rest = tuple(r for r in train if train.hashes[r.key] in seen)
    with pytest.raises(DataError, match="pre-train with --data, which leaves calibration images"):
        make(**FEW).fit(replace(DATA, records=rest), init=started())


# ---------------------------------------------------------------------- judging


def test_pictures_show_what_was_hidden_drawn_and_wrong():
    image = draw_good(5)
    pictures = fitted().predict(image).pictures
    assert list(pictures) == [
        "hidden in the first of the drawings",
        "drawn from other patches",
        "squared error",
    ]
    hidden, drawn, _ = (p.astype(int) for p in pictures.values())
    grey = (abs(hidden - 128) <= 1).all(axis=2)
    assert grey.mean() == pytest.approx(0.75, abs=0.05)
    assert hidden.shape == drawn.shape == (32, 48, 3)


def test_an_image_that_is_no_multiple_of_the_patch_is_filled_up():
    detector = make(**FEW, image_size="50x37").fit(DATA)
    assert detector.pipeline.geometry.view_shape == (40, 56)
    assert detector.predict(draw_good(5)).anomaly_map.shape == (64, 96)


def test_fewer_images_than_a_batch_are_one_smaller_batch():
    data = DataSet("few", good_records(4))
    detector = make(**FEW, train_batch=32, false_alarms=0.6).fit(data)
    assert len(detector.history["loss"]) == 1
    assert np.isfinite(detector.predict(draw_good(5)).score)


def test_a_ratio_that_hides_nothing_or_all_is_refused():
    for ratio in (0, 1):
        with pytest.raises(OptionError, match="of 12×8 = 96 patches visible"):
            make(**FEW, mask_ratio=ratio).fit(DATA)


@pytest.mark.parametrize(
    "values",
    [
        {"passes": 1},
        {"passes": 2, "partitions": 2, "combine": "min"},
        {"masking": "random", "norm": "layer", "levels": 1},
        {"standardise": True, "augment": "texture", "top_share": 0},
        {"tile": 16, "image_size": "48x32", "positions": "waves", "augment": "object"},
    ],
    ids=str,
)
def test_every_variant_learns_and_judges(values):
    detector = make(**{**FEW, **values}).fit(DATA)
    found = detector.predict(draw_good(5))
    assert np.isfinite(found.anomaly_map).all()
    assert found.score > 0


def test_the_usual_error_is_measured_where_it_is_asked_for():
    detector = make(**FEW, standardise=True).fit(DATA)
    assert detector.pipeline.method.usual_.shape == (32, 48)
    assert fitted().pipeline.method.usual_.tolist() == [[1.0]]


def test_the_original_preset_has_the_published_size_and_switches():
    detector = Detector(NAME, "original")
    post = MaskedAutoencoder(detector.options).post
    assert (post.blur, post.pool) == (0, "max")
    assert detector.options.masking == "corner"
    assert detector.settings.fit == "stretch"
