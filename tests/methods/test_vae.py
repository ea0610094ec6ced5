import socket
import sys
from functools import cache, partial
from types import ModuleType

import numpy as np
import pytest

from blemish.checkpoints import Checkpoint, open_folder
from blemish.datasets.base import DataSet, Record
from blemish.detector import Detector
from blemish.errors import DataError, OptionError, TrainingError
from blemish.methods.image_reconstruction import squared_error
from blemish.methods.vae import VAE, VAEOptions
from blemish.mixing import mean_view, mix_views
from blemish.preprocess import Geometry
from blemish.run import Run
from helpers import drawn_samples

pytestmark = pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")


def bars(seed, spot=False, side=28):
    """(28, 28, 3) uint8: upright bars under noise, with a spot or without."""
    generator = np.random.default_rng(seed)
    image = np.full((side, side), 60.0)
    image[:, 4 + seed % 3 :: 8] = 180
    image += generator.normal(0, 4, image.shape)
    if spot:
        top, left = generator.integers(4, side - 8, 2)
        image[top : top + 4, left : left + 4] = 250
    return np.repeat(image.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def bar_data(train=24, test=10):
    records = [
        Record(f"train/{i}", partial(bars, i), False, "good", f"t{i}", "train")
        for i in range(train)
    ]
    for i in range(1000, 1000 + test):
        for bad in (False, True):
            kind = "spot" if bad else "good"
            name = f"test/{kind}/{i}"
            records.append(Record(name, partial(bars, i, bad), bad, kind, name, "test"))
    return DataSet("bars", tuple(records))


def make(**options):
    return Detector(
        "vae",
        preset="tiny",
        **{"image_size": "28", "device": "cpu", "false_alarms": 0.3, **options},
    )


@cache
def fitted(**options):
    return make(**options).fit(bar_data())


def scores(detector, bad):
    data = bar_data().select("test", bad)
    return np.asarray([detector.predict(data.image(r)).score for r in data])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variational": False},
        {"likelihood": "bernoulli", "pooling": "max"},
        {"likelihood": "fixed", "draws": 4, "free_bits": 0.05},
    ],
    ids=str,
)
def test_spots_outrank_good_bars(options):
    detector = fitted(**options)
    good, bad = scores(detector, False), scores(detector, True)
    assert (bad[:, None] > good[None]).mean() > 0.95


def test_every_loss_term_has_a_curve():
    curves = fitted().history
    assert set(curves) == {"loss", "error", "kl", "beta", "active_units", "rate"}
    assert all(len(values) == 20 for values in curves.values())
    assert curves["error"][-1] < curves["error"][0] / 2
    assert curves["beta"][0] < curves["beta"][-1] == 1
    assert set(fitted(variational=False).history) == {"loss", "error", "rate"}


def test_scores_have_no_randomness():
    detector, image = fitted(draws=4), bars(1001)
    assert len({detector.predict(image).score for _ in range(3)}) == 1


def test_a_saved_detector_gives_the_same_scores(tmp_path):
    detector = fitted()
    again = Detector.load(detector.save(tmp_path / "a.blemish"))
    assert np.array_equal(scores(again, True), scores(detector, True))
    assert again.history == detector.history
    method, other = (d.pipeline.method for d in (detector, again))
    assert method.active_units_ == other.active_units_


def test_the_same_seed_gives_the_same_network():
    one, two = (make(epochs=2).fit(bar_data()) for _ in range(2))
    assert np.array_equal(scores(one, True), scores(two, True))


def test_pictures_are_the_drawing_and_the_difference_on_one_scale():
    detector = fitted()
    good = detector.predict(bars(1001)).pictures
    bad = detector.predict(bars(1001, spot=True)).pictures
    assert set(good) == {"reconstruction", "squared difference"}
    assert good["reconstruction"].shape == (28, 28, 3)
    # The scale is that of held-out good images, so a good one stays darker than a bad one.
    white = {
        name: float((shown["squared difference"].min(axis=2) == 255).mean())
        for name, shown in (("good", good), ("bad", bad))
    }
    assert white["good"] < 0.1
    assert white["bad"] > white["good"] + 0.01


def test_scaling_per_image_paints_a_spot_on_every_good_image_and_says_so():
    pictures = fitted(difference_scale="per_image").predict(bars(1001)).pictures
    assert pictures["squared difference, scaled per image"].max() == 255


def test_padding_changes_nothing():
    method = fitted().pipeline.method
    x = np.random.default_rng(0).random((1, 28, 28, 3), np.float32)
    valid = np.ones((1, 28, 28), bool)
    valid[:, 20:] = False
    other = np.where(valid[..., None], x, 0)
    one, two = (method.predict_batch(v, valid, ["a"]) for v in (x, other))
    assert np.array_equal(one.maps, two.maps)
    assert not one.maps[:, 20:].any()


def test_tiles_and_other_sizes_work():
    detector = make(image_size="56", tile=28, epochs=2).fit(bar_data(8, 2))
    assert detector.pipeline.method.usual_.shape == (1, 1)
    assert detector.predict(bars(5, side=61)).anomaly_map.shape == (61, 61)


def test_images_smaller_than_the_network_are_filled_up():
    detector = make(image_size="2", epochs=2).fit(bar_data(8, 2))
    assert detector.pipeline.method.size_ == (4, 4)
    assert np.isfinite(detector.predict(bars(5)).score)


def test_the_thesis_preset_scores_by_the_mean_of_the_raw_map():
    detector = Detector("vae", preset="thesis")
    assert detector.settings.fit == "stretch"
    post = VAE(detector.options).post
    assert (post.blur, post.pool, post.pool_value) == (0, "top_share", 1)
    assert VAE(VAEOptions(pooling="max")).post.pool == "max"
    small = make(standardise=False, epochs=2).fit(bar_data(8, 2))
    assert small.pipeline.method.usual_.tolist() == [[1.0]]


def test_options_that_make_no_network_are_refused():
    with pytest.raises(OptionError, match="latent"):
        make(latent=0)
    with pytest.raises(OptionError, match="channels is empty"):
        VAE(VAEOptions(channels=()))


def test_a_rate_that_is_far_too_high_stops_with_a_sentence():
    with pytest.raises(TrainingError, match="Training stopped at step"):
        make(learning_rate=1e30, likelihood="fixed", deviation=0.001).fit(bar_data(8, 2))


def test_an_interrupted_fit_goes_on_to_the_same_model_and_refuses_other_options(tmp_path):
    def stop(stage, done, total):
        if done == 5 and stage.startswith("training"):
            raise KeyboardInterrupt

    options = {"epochs": 4, "train_batch": 8}
    with pytest.raises(KeyboardInterrupt):
        make(**options).fit(bar_data(), Run(checkpoint=tmp_path, progress=stop))
    with pytest.raises(TrainingError, match=r"options\.beta is 1\.0 there and 2\.0 now"):
        make(**options, beta=2).fit(bar_data(), Run(checkpoint=tmp_path))
    said = []
    resumed = make(**options).fit(bar_data(), Run(checkpoint=tmp_path, say=said.append))
    assert any("goes on after epoch" in text for text in said)
    unbroken = make(**options).fit(bar_data())
    assert np.array_equal(scores(resumed, True), scores(unbroken, True))


@pytest.mark.parametrize(("images", "batch"), [(5, 32), (5, 1), (2, 8)])
def test_few_images_and_batches_of_one_train(images, batch):
    detector = make(train_batch=batch, epochs=2).fit(bar_data(images, 2))
    assert np.isfinite(detector.predict(bars(5)).score)
    assert len(detector.history["loss"]) == 2


def test_a_folder_that_another_fit_is_using_is_refused(tmp_path):
    with (
        open_folder(tmp_path, {}),
        pytest.raises(TrainingError, match=r"in use by another training run; choose another"),
    ):
        make(epochs=2).fit(bar_data(8, 2), Run(checkpoint=tmp_path))


def test_the_checkpoint_of_another_method_is_refused(tmp_path):
    other = {"method": "ganomaly", "options": {}}
    with open_folder(tmp_path, other) as folder:
        folder.write(Checkpoint(1, {}, {"a": np.zeros(1)}, {}))
    with pytest.raises(TrainingError, match="method is ganomaly there and vae now"):
        make(epochs=2).fit(bar_data(8, 2), Run(checkpoint=tmp_path))


def test_a_tracker_that_cannot_be_reached_is_said_once_and_the_fit_goes_on(tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    said = []
    run = Run(track="wandb", track_folder=tmp_path, say=said.append)
    detector = make(epochs=3).fit(bar_data(8, 2), run)
    assert sum("Tracking with wandb failed" in text for text in said) == 1
    assert len(detector.history["loss"]) == 3


def test_defective_training_images_are_refused():
    data = bar_data(4, 2)
    moved = tuple(
        Record(r.key, r.image, r.defective, r.defect_type, r.group, "train") for r in data
    )
    with pytest.raises(DataError, match="good images only"):
        make().fit(DataSet("mixed", moved))


def test_geometry_of_the_samples_is_the_network_s_size():
    assert Geometry(size=(10, 9), multiple=4).view_shape == (12, 12)
    assert fitted().pipeline.method.size_ == (28, 28)


def test_the_code_depends_on_the_image():
    # A quarter of the units at least; weights that shrink the signal leave none.
    assert fitted().pipeline.method.active_units_ >= 2


def test_smooth_differences_are_light_and_do_not_count():
    rows = np.linspace(0, 0.2, 40, dtype=np.float32)
    drawn = np.full((1, 40, 40, 3), 0.4, np.float32)
    x = drawn + rows[None, :, None, None]  # light falls off from top to bottom
    x[0, 20:22, 20:22] += 0.1  # a spot, fainter than that
    valid = np.ones((1, 40, 40), bool)
    raw, local = (squared_error(x, drawn, valid, sigma) for sigma in (0.0, 4.0))
    inner = (slice(0, 1), slice(10, 30), slice(10, 30))
    # With the light the spot is three times as bright as its surroundings, without it a hundred.
    assert raw[0, 20, 20] < 5 * np.median(raw[inner])
    assert local[0, 20, 20] > 100 * np.median(local[inner])


def test_what_is_not_valid_does_not_leak_into_its_surroundings():
    x = np.full((1, 20, 20, 3), 0.5, np.float32)
    valid = np.ones((1, 20, 20), bool)
    valid[:, :, 12:] = False
    other = np.where(valid[..., None], x, 1)
    drawn = np.full_like(x, 0.45)
    one, two = (squared_error(image, drawn, valid, 3.0) for image in (x, other))
    assert np.array_equal(one, two)
    assert one.max() < 1e-10, "an even difference is light, up to the border"


def test_the_mean_image_and_its_spread_count_valid_pixels_only():
    samples = drawn_samples(5)
    stack = np.concatenate([b.x for b in samples.batches(2)]).astype(float)
    mean, spread = mean_view(samples, 4)
    np.testing.assert_allclose(mean, stack.mean(axis=0), atol=1e-6)
    assert spread == pytest.approx(np.sqrt(stack.var(axis=0).mean()), rel=1e-4)


def test_mixtures_lie_between_two_views_and_leave_padding_alone():
    batch = next(drawn_samples(4).batches(4))
    batch.valid[1:, :3] = False
    mixed = mix_views(batch, np.random.default_rng(0))
    assert mixed.x.dtype == np.float32
    assert not np.array_equal(mixed.x, batch.x)
    assert (mixed.x <= batch.x.max(axis=0) + 1e-6).all()
    assert (mixed.x >= batch.x.min(axis=0) - 1e-6).all()
    assert np.array_equal(mixed.x[1:, :3], batch.x[1:, :3])
    one = next(drawn_samples(1).batches(1))
    np.testing.assert_allclose(mix_views(one, np.random.default_rng(0)).x, one.x, atol=1e-6)


def test_a_plain_network_without_mean_image_and_mixtures_learns_too():
    detector = fitted(centre=False, mix=False)
    assert not detector.pipeline.method.network_.encoder.centred
    good, bad = scores(detector, False), scores(detector, True)
    assert (bad[:, None] > good[None]).mean() > 0.9


def test_small_keeps_the_aspect_of_upright_parts():
    assert Detector("vae", "small").settings.image_size == "auto:128"
