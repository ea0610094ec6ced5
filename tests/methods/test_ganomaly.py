from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from blemish.detector import Detector
from blemish.errors import OptionError, TrainingError
from blemish.methods.ganomaly import GANomaly, GANomalyOptions, _recalibrate, signed
from blemish.nets.ganomaly import Discriminator, Generator, Layout
from blemish.run import Run
from blemish.training import Tensors
from drawn import images, plates
from helpers import drawn_samples

pytestmark = pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
SETTINGS = {"device": "cpu", "false_alarms": 0.4, "calibration_share": 0.25}
SMALL = Layout((16, 16), 4, 4, 8)


def make(**options):
    return Detector("ganomaly", preset="tiny", **{**SETTINGS, **options})


@cache
def fitted():
    return make().fit(plates())


def networks():
    torch.manual_seed(0)
    return {"generator": Generator(SMALL).train(), "discriminator": Discriminator(SMALL).train()}


def batch(count=3):
    x = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return Tensors(
        x, torch.ones(count, 1, 16, 16), torch.zeros(count, 1, 16, 16), torch.zeros(count)
    )


def one_step(nets, **options):
    """Terms of a step, and of each update the loss and the networks that have gradients after."""
    updates = []

    def update(name, loss):
        for network in nets.values():
            network.zero_grad(set_to_none=True)
        loss.backward()
        touched = {
            key for key, net in nets.items() if any(p.grad is not None for p in net.parameters())
        }
        updates.append((name, float(loss.detach()), touched))

    def frozen(name, *inputs):
        weights = {k: p.detach() for k, p in nets[name].named_parameters()}
        return torch.func.functional_call(nets[name], weights, inputs)

    now = SimpleNamespace(step=3, steps=9, update=update, frozen=frozen, mean=lambda v: v.detach())
    method = GANomaly(GANomalyOptions(latent=4, base=4, most=8, **options))
    method.size_ = (16, 16)
    terms = method._step(nets, batch(), now)
    return {name: term.detach() for name, term in terms.items()}, updates


def test_each_side_is_trained_by_its_own_loss_alone():
    terms, updates = one_step(networks())
    assert [(name, touched) for name, _, touched in updates] == [
        ("generator", {"generator"}),
        ("discriminator", {"discriminator"}),
    ]
    assert updates[0][1] == pytest.approx(float(terms["loss"]))
    assert updates[1][1] == pytest.approx(float(terms["discriminator"]))


def test_the_losses_are_those_of_the_paper_s_program():
    nets = networks()
    x = signed(batch().x)
    with torch.no_grad():
        drawn, code, again = nets["generator"](x)
        (real, called_real), (fake, called_fake) = nets["discriminator"](x, drawn)
    expected = {
        "adversarial": (real - fake).square().mean(),
        "context": (x - drawn).abs().mean(),
        "encoding": (code - again).square().mean(),
    }
    terms, _ = one_step(networks(), smoothing=1.0)
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-4)
    whole = expected["adversarial"] + 50 * expected["context"] + expected["encoding"]
    assert float(terms["loss"]) == pytest.approx(float(whole), rel=1e-4)
    entropy = -(called_real.sigmoid().log().mean() + (1 - called_fake.sigmoid()).log().mean()) / 2
    assert float(terms["discriminator"]) == pytest.approx(float(entropy), rel=1e-3)


def test_the_encoders_and_the_decoder_all_learn_from_the_generator_s_loss():
    nets = networks()
    one_step(nets)
    # The last backward was the discriminator's: do the generator's again.
    drawn, code, again = nets["generator"](signed(batch().x))
    (drawn.mean() + (code - again).square().mean()).backward()
    for part in ("encoder", "decoder", "again"):
        parameters = getattr(nets["generator"], part).parameters()
        assert all(p.grad is not None for p in parameters), part


def test_a_discriminator_that_is_far_ahead_rests():
    terms, updates = one_step(networks(), rest_below=100.0)
    assert [name for name, *_ in updates] == ["generator"]
    assert (float(terms["rests"]), float(terms["restarts"])) == (1, 0)


def test_a_discriminator_that_has_won_starts_anew_the_same_way_on_every_device():
    weights = []
    for _ in range(2):
        nets = networks()
        before = nets["discriminator"].head.weight.detach().clone()
        terms, updates = one_step(nets, restart_below=100.0, rest_below=0.0)
        assert float(terms["restarts"]) == 1
        assert [name for name, *_ in updates] == ["generator"]
        weights.append(nets["discriminator"].head.weight.detach())
        assert not torch.equal(weights[-1], before)
    assert torch.equal(*weights)


def test_defects_outrank_good_plates_and_every_term_has_a_curve():
    detector, data = fitted(), plates()
    good, bad = (
        np.array([p.score for p in detector.predict(images(data.select("test", kind)))])
        for kind in (False, True)
    )
    assert bad.min() > good.max()
    history = detector.history
    assert {"adversarial", "context", "encoding", "discriminator", "rests"} <= set(history)
    assert history["context"][-1] < history["context"][0]
    # Neither side has given up: real and drawn images are told apart, and not for certain.
    assert 0 < history["called_real_drawn"][-1] < history["called_real"][-1] < 1


def test_the_score_is_the_mean_difference_of_the_codes():
    method = fitted().pipeline.method
    x = np.random.default_rng(0).random((1, *method.size_, 3), np.float32)
    valid = np.ones((1, *method.size_), bool)
    with torch.no_grad():
        _, code, again = method.network_(signed(torch.from_numpy(x).permute(0, 3, 1, 2)))
    (score,) = method.predict_batch(x, valid, ["a"]).scores
    assert score == pytest.approx(float((code - again).abs().mean()), rel=1e-5)
    assert set(method.predict_batch(x, valid, ["a"]).pictures) == {
        "reconstruction",
        "squared difference",
    }


def test_other_scores_are_the_mean_square_and_the_pooled_map():
    for score in ("squared", "map"):
        found = make(score=score, epochs=2).fit(plates(8, 1, 1)).predict(images(plates(1))[0])
        assert np.isfinite(found.score)
        if score == "map":
            assert found.score <= float(found.anomaly_map.max()) * 1.5


def test_statistics_are_those_of_the_training_images_and_final_weights():
    torch.manual_seed(0)
    network, samples = Generator(SMALL), drawn_samples(6)
    _recalibrate(network, samples, 6)
    assert not any(m.training for m in network.modules())
    x = torch.from_numpy(samples.take(samples.places).x).permute(0, 3, 1, 2)
    with torch.no_grad():
        before = network.encoder.trunk.layers[2](network.encoder.trunk.layers[:2](signed(x)))
    norm = network.encoder.trunk.layers[3]
    torch.testing.assert_close(norm.running_mean, before.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-3)


def test_images_that_are_no_squares_keep_their_aspect():
    detector = make(image_size="16x48", epochs=2).fit(plates(8, 1, 1))
    assert detector.pipeline.method.size_ == (48, 16)
    assert np.isfinite(detector.predict(images(plates(1))[0]).score)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent": 0}, "latent.*below the smallest value 1"),
        ({"train_batch": 1}, "train_batch=1 leaves batch normalisation a single image"),
        ({"image_size": "12"}, "image_size=12x12 is smaller than the network of ganomaly"),
    ],
)
def test_what_makes_no_network_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        make(**options).fit(plates(8, 1, 1))


def test_a_rest_of_one_image_is_left_out_and_groups_need_no_second_image():
    for options in ({"train_batch": 2}, {"train_batch": 1, "norm": "group"}):
        detector = make(epochs=2, calibration="split", **options).fit(plates(7, 1, 1))
        assert len(detector.history["loss"]) == 2


def test_a_rate_that_is_far_too_high_stops_with_a_sentence():
    with pytest.raises(TrainingError, match="Training stopped at step"):
        make(learning_rate=1e30, context=1e30).fit(plates(8, 1, 1))


def test_an_interrupted_fit_goes_on_to_the_same_model_and_refuses_other_options(tmp_path):
    def stop(stage, done, total):
        if done == 5 and stage.startswith("training"):
            raise KeyboardInterrupt

    options, data = {"epochs": 3}, plates(12, 1, 1)
    with pytest.raises(KeyboardInterrupt):
        make(**options).fit(data, Run(checkpoint=tmp_path, progress=stop))
    with pytest.raises(TrainingError, match=r"options\.latent is 8 there and 9 now"):
        make(**options, latent=9).fit(data, Run(checkpoint=tmp_path))
    said = []
    resumed = make(**options).fit(data, Run(checkpoint=tmp_path, say=said.append))
    assert any("goes on after epoch" in text for text in said)
    unbroken, image = make(**options).fit(data), images(data)[0]
    assert resumed.predict(image).score == unbroken.predict(image).score
    assert resumed.history == unbroken.history
