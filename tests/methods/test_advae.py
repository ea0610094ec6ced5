from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from blemish import losses
from blemish.detector import Detector
from blemish.errors import OptionError, TrainingError
from blemish.methods.advae import AdVAE, AdVAEOptions, idle_hinges
from blemish.methods.code_drawing import DRAWN_AT_ONCE, Drawer
from blemish.nets.advae import GaussianTransformer
from blemish.nets.conv_vae import ConvVAE
from blemish.run import Run
from blemish.training import Tensors
from drawn import images, plates

pytestmark = pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
SETTINGS = {"device": "cpu", "false_alarms": 0.4, "calibration_share": 0.25}
OPTIONS = {"channels": (4, 8), "hidden": 16, "latent": 3}
VALUES = 3 * 16 * 16


def make(**options):
    return Detector("advae", preset="tiny", **{**SETTINGS, **options})


@cache
def fitted():
    return make().fit(plates())


def networks(usual_kl=0.0):
    torch.manual_seed(0)
    network, transformer = ConvVAE((16, 16), (4, 8), 16, 3), GaussianTransformer(3)
    transformer.usual_kl.fill_(usual_kl)
    found = {"encoder": network.encoder, "generator": network.generator}
    return {**found, "transformer": transformer}


def batch(count=4):
    x = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(count, 1, 16, 16)
    return Tensors(x, valid, 0 * valid, torch.zeros(count))


def one_step(nets, step=9, **options):
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

    now = SimpleNamespace(
        step=step, steps=10, update=update, frozen=frozen, mean=torch.Tensor.detach
    )
    torch.manual_seed(5)
    method = AdVAE(AdVAEOptions(**OPTIONS, **options))
    terms = method._step(nets, batch(), now)
    return {name: term.detach() for name, term in terms.items()}, updates


def test_step_one_leaves_the_encoder_alone_and_step_two_everything_else():
    for step in (0, 9):  # in the warm-up and after
        _, updates = one_step(networks(5.0), step)
        assert [(name, touched) for name, _, touched in updates] == [
            ("generator", {"generator", "transformer"}),
            ("encoder", {"encoder"}),
        ]


def test_the_encoder_s_adversarial_gradient_comes_from_its_own_codes_alone():
    # Detached drawings: with the other terms at nothing the generator's input has no gradient.
    nets = networks(50.0)
    one_step(nets, weight_kl=0.0, weight_adversarial=1e6)
    with_terms = nets["encoder"].layers[0].weight.grad.clone()
    one_step(nets, weight_kl=0.0, weight_adversarial=1e6, adv_encoder=False)
    assert not torch.allclose(with_terms, nets["encoder"].layers[0].weight.grad)


def test_the_losses_are_those_of_algorithm_1():
    nets = networks(5.0)
    terms, updates = one_step(nets)
    torch.manual_seed(5)
    x, noise = batch().x, torch.randn(2, 4, 3)
    encoder, generator, transformer = nets.values()
    with torch.no_grad():
        mean, log_variance = encoder(x)
        z = mean + (log_variance / 2).exp() * noise[0]
        moved = transformer(mean, log_variance, z)
        odd_z = moved[0] + (moved[1] / 2).exp() * noise[1]
        good, odd = generator(z), generator(odd_z)
        kls = [losses.gaussian_kl(*encoder(p)).sum(1) for p in (x, good, odd)]
    squares = lambda a, b: (a - b).square().sum(dim=(1, 2, 3))  # noqa: E731
    normals = [Normal(m, (v / 2).exp()) for m, v in ((mean, log_variance), moved)]
    apart = kl_divergence(*normals).sum(1)
    hinge = lambda margin, value: (margin - value).clamp(min=0)  # noqa: E731
    margin = 1.2 * 5.0
    expected_g = (
        squares(x, good) + 0.001 * kls[1] + 0.1 * apart
        + hinge(0.01 * VALUES, squares(good, odd)) + 0.001 * hinge(margin, kls[2])
    )  # fmt: skip
    expected_e = (
        squares(x, good) + 0.02 * kls[0] + 0.001 * (hinge(margin, kls[1]) + hinge(margin, kls[2]))
    )
    assert updates[0][1] == pytest.approx(float(expected_g.mean()), rel=1e-4)
    assert updates[1][1] == pytest.approx(float(expected_e.mean()), rel=1e-4)
    assert float(terms["transformer"]) == pytest.approx(float(apart.mean()), rel=1e-4)


def test_before_the_adversarial_terms_start_it_is_a_variational_autoencoder():
    _, updates = one_step(networks(), step=0)
    plain = {"adv_encoder": False, "adv_generator": False}
    for step in (0, 9):
        _, same = one_step(networks(), step=step, **plain)
        assert [loss for _, loss, _ in same] == pytest.approx([loss for _, loss, _ in updates])


def test_the_margin_is_measured_in_the_warm_up_and_kept_after():
    nets = networks()
    terms, _ = one_step(nets, step=0)
    usual = float(nets["transformer"].usual_kl)
    assert usual == pytest.approx(float(terms["kl"]))
    nets["transformer"].usual_kl.fill_(100.0)
    one_step(nets, step=1)
    assert float(nets["transformer"].usual_kl) == pytest.approx(90 + 0.1 * usual, rel=0.01)
    one_step(nets, step=9)
    assert float(nets["transformer"].usual_kl) == pytest.approx(90 + 0.1 * usual, rel=0.01)


def test_the_active_share_of_every_hinge_is_a_curve_and_zero_before_the_start():
    names = {"generator_image", "generator_code", "encoder_drawn", "encoder_odd"}
    pulled, _ = one_step(networks(1e6), image_margin=1e6)
    assert {name: float(pulled[name]) for name in names} == dict.fromkeys(names, 1.0)
    idle, _ = one_step(networks(0.0), image_margin=0.0)
    early, _ = one_step(networks(1e6), step=0, image_margin=1e6)
    assert all(float(terms[name]) == 0 for terms in (idle, early) for name in names)
    without, _ = one_step(networks(), adv_encoder=False, adv_generator=False)
    assert not names & set(without)


def test_a_term_that_is_idle_for_an_epoch_is_said():
    history = {"encoder_odd": [0.0, 0.0, 0.5, 0.0, 0.0], "encoder_drawn": [0, 0.1, 0.1, 0.1, 0.1]}
    (said,) = idle_hinges(history, 0.2, ("encoder_odd", "encoder_drawn"))
    assert "encoder_odd was idle in 3 of 4 epochs after the warm-up" in said
    told = []
    make(epochs=2, code_margin=0.0).fit(plates(8, 1, 1), Run(say=told.append))
    assert sum("was idle in" in text for text in told) >= 3


def test_hinges_that_are_not_trained_with_are_not_missed():
    used = [
        AdVAE(AdVAEOptions(**options))._used
        for options in ({}, {"adv_encoder": False}, {"adv_generator": False}, {"image_margin": 0})
    ]
    assert [len(names) for names in used] == [4, 2, 2, 3]
    assert all(name.startswith("generator") for name in used[1])


def test_many_draws_are_averaged_a_few_at_a_time():
    network = ConvVAE((16, 16), (4, 8), 16, 3).eval()
    x, noise = torch.rand(2, 3, 16, 16), torch.randn(2 * DRAWN_AT_ONCE + 3, 3)
    seen = []
    network.generator.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    with torch.no_grad():
        (drawn,) = Drawer(network, noise)(x)
        (alone,) = Drawer(network, noise)(x[1:])
        mean, log_variance = network.encoder(x)
        each = [network.generator(mean + (log_variance / 2).exp() * one) for one in noise]
    assert max(seen[:3]) == 2 * DRAWN_AT_ONCE
    torch.testing.assert_close(drawn, torch.stack(each).mean(dim=0))
    torch.testing.assert_close(alone[0], drawn[1])


def test_defects_outrank_good_plates_and_every_term_has_a_curve():
    detector, data = fitted(), plates()
    good, bad = (
        np.array([p.score for p in detector.predict(images(data.select("test", kind)))])
        for kind in (False, True)
    )
    assert bad.min() > good.max()
    expected = {"loss", "generator_loss", "error", "kl", "transformer", "odd_kl", "encoder_odd"}
    assert expected <= set(detector.history)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent": 0}, "latent.*below the smallest value 1"),
        ({"channels": ()}, "channels is empty"),
        (
            {"image_size": "3"},
            "image_size=3x3 is smaller than the network of advae, which halves 2",
        ),
    ],
)
def test_what_makes_no_network_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        make(**options).fit(plates(8, 1, 1))


def test_a_rate_that_is_far_too_high_stops_with_a_sentence():
    with pytest.raises(TrainingError, match="Training stopped at step"):
        make(learning_rate=1e30, epochs=3).fit(plates(8, 1, 1))


def test_a_batch_of_one_is_enough():
    assert len(make(train_batch=1, epochs=2).fit(plates(6, 1, 1)).history["loss"]) == 2


def test_an_interrupted_fit_goes_on_to_the_same_model_and_refuses_other_options(tmp_path):
    def stop(stage, done, total):
        if done == 5 and stage.startswith("training"):
            raise KeyboardInterrupt

    options, data = {"epochs": 4, "train_batch": 4}, plates(12, 1, 1)
    with pytest.raises(KeyboardInterrupt):
        make(**options).fit(data, Run(checkpoint=tmp_path, progress=stop))
    with pytest.raises(TrainingError, match=r"options\.weight_kl is 0\.02 there and 0\.1 now"):
        make(**options, weight_kl=0.1).fit(data, Run(checkpoint=tmp_path))
    said = []
    resumed = make(**options).fit(data, Run(checkpoint=tmp_path, say=said.append))
    assert any("goes on after epoch" in text for text in said)
    unbroken, image = make(**options).fit(data), images(data)[0]
    assert resumed.predict(image).score == unbroken.predict(image).score
    assert resumed.history == unbroken.history
