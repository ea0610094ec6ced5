import pytest
import torch

from blemish.methods.advae import AdVAE, AdVAEOptions
from blemish.nets.advae import GaussianTransformer
from blemish.nets.conv_vae import LOG_VARIANCE, ConvVAE


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_thesis_preset_has_the_parameters_that_the_thesis_states():
    values = AdVAE.presets["thesis"]
    with torch.device("meta"):
        network = ConvVAE((256, 256), values["channels"], 512, 128)
        transformer = GaussianTransformer(128, values["transformer"])
    assert count(network.encoder) == 135_521_824
    assert count(network.generator) == 136_308_003
    assert count(transformer) == 33_024
    # The thesis prints the sum of these two as the generator's.
    assert count(network.generator) + count(transformer) == 136_341_027


def test_the_transformer_of_the_paper_reads_means_and_variances():
    transformer = GaussianTransformer(AdVAEOptions().latent)
    assert count(transformer) == 197_376
    mean, log_variance = torch.randn(2, 4, 128)
    moved = transformer(mean, log_variance, torch.zeros(4, 128))
    assert torch.equal(moved[0], transformer(mean, log_variance, torch.ones(4, 128))[0])
    assert not torch.equal(moved[0], transformer(mean, log_variance + 1, torch.zeros(4, 128))[0])


@pytest.mark.parametrize("reads", ["distribution", "sample"])
def test_log_variances_stay_within_their_bounds(reads):
    transformer = GaussianTransformer(3, reads)
    mean, log_variance = transformer(*(1e4 * torch.randn(3, 8, 3)))
    assert mean.shape == log_variance.shape == (8, 3)
    assert float(log_variance.detach().min()) >= LOG_VARIANCE[0] - 1e-4
    assert float(log_variance.detach().max()) <= LOG_VARIANCE[1] + 1e-4
    assert "usual_kl" in transformer.state_dict(), "a run that goes on knows the margin"
