import pytest
import torch

from blemish.methods.vae import VAE, VAEOptions
from blemish.nets.conv_vae import LOG_VARIANCE, ConvVAE
from blemish.options import build

SMALL = ((32, 48), (4, 8, 8), 16, 3)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def meta(options):
    with torch.device("meta"):  # shapes without memory
        return ConvVAE((256, 256), options.channels, options.hidden, options.latent)


def test_the_thesis_preset_has_the_parameters_that_the_thesis_states():
    values = {k: v for k, v in VAE.presets["thesis"].items() if k not in {"image_size", "fit"}}
    network = meta(build(VAEOptions, values, "method vae"))
    assert count(network.encoder) == 273_252_672
    assert count(network.generator) == 276_070_467
    assert count(network) == 549_323_139


def test_the_default_has_twenty_five_million_parameters_and_eight_by_eight_cells():
    network = meta(VAEOptions())
    assert count(network) == 24_646_467
    assert network.generator.grid == (256, 8, 8)


@pytest.mark.parametrize("size", [(4, 4), (32, 48), (64, 8)])
def test_what_comes_out_has_the_shape_of_what_went_in(size):
    network = ConvVAE(size, *SMALL[1:])
    x = torch.rand(2, 3, *size)
    drawn, mean, log_variance = (t.detach() for t in network(x, None))
    assert drawn.shape == x.shape
    assert mean.shape == log_variance.shape == (2, 3)
    assert 0 < float(drawn.min()) <= float(drawn.max()) < 1


def test_sizes_halve_between_the_stages():
    assert ConvVAE.multiple((8,)) == 1
    assert ConvVAE.multiple((8, 8, 8)) == 4


def test_the_log_variance_stays_where_its_gradient_lives():
    network = ConvVAE(*SMALL)
    with torch.no_grad():
        network.encoder.layers[-1].bias[3:] = torch.tensor([-100.0, 0.0, 100.0])
        network.encoder.layers[-1].weight[3:] = 0
    log_variance = network.encoder(torch.rand(2, 3, 32, 48))[1]
    expected = torch.tensor([LOG_VARIANCE[0], 0.0, LOG_VARIANCE[1]])
    torch.testing.assert_close(log_variance[0].detach(), expected, atol=0.05, rtol=0)
    with torch.no_grad():
        network.encoder.layers[-1].bias[3:] = torch.tensor([-12.0, 0.0, 8.0])
    network.encoder(torch.rand(2, 3, 32, 48))[1].sum().backward()
    assert (network.encoder.layers[-1].bias.grad[3:] > 0.01).all()


def test_noise_moves_the_code_by_its_deviation():
    network = ConvVAE(*SMALL)
    x = torch.rand(2, 3, 32, 48)
    mean, log_variance = network.encoder(x)
    noise = torch.randn(2, 3)
    expected = network.generator(mean + noise * (0.5 * log_variance).exp())
    torch.testing.assert_close(network(x, noise)[0], expected)
    torch.testing.assert_close(network(x, None)[0], network.generator(mean))


def test_a_centred_network_draws_the_mean_image_before_it_has_learned():
    centre = torch.rand(3, 32, 48) * 0.8 + 0.1
    network = ConvVAE(*SMALL, centred=True)
    network.centre_on(centre, 0.05)
    with torch.no_grad():
        for weight in network.generator.layers[-1].parameters():
            weight.zero_()
        drawn = network(torch.rand(2, 3, 32, 48), None)[0]
        codes = network.encoder(centre[None])[0], network.encoder(centre[None] + 0.05)[0]
    torch.testing.assert_close(drawn, centre.expand(2, -1, -1, -1))
    assert not torch.allclose(*codes)
    again = ConvVAE(*SMALL, centred=True)
    again.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(again.encoder.centre, network.encoder.centre)


def test_a_mean_image_that_no_sigmoid_reaches_is_brought_within_reach():
    network = ConvVAE(*SMALL, centred=True)
    network.centre_on(torch.ones(3, 32, 48), 0.0)
    drawn, mean, _ = network(torch.ones(1, 3, 32, 48), None)
    assert torch.isfinite(drawn).all()
    assert torch.isfinite(mean).all()
