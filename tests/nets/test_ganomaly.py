import pytest
import torch

from blemish.methods.ganomaly import GANomaly, GANomalyOptions
from blemish.nets.first_weights import SPREAD
from blemish.nets.ganomaly import Discriminator, Generator, Layout
from blemish.options import build


def meta(options, side=256):
    o = options
    layout = Layout((side, side), o.latent, o.base, o.most, o.norm, o.bias)
    with torch.device("meta"):  # shapes without memory
        return Generator(layout), Discriminator(layout)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def running(*modules):
    """Means and variances that batch normalisation keeps beside its parameters."""
    found = [b for m in modules for name, b in m.named_buffers() if "running" in name]
    return sum(b.numel() for b in found)


def thesis(**changes):
    values = {**GANomaly.presets["thesis"], **changes}
    del values["image_size"], values["fit"]
    return build(GANomalyOptions, values, "method ganomaly")


def test_the_thesis_preset_has_the_parameters_that_the_thesis_states():
    networks = generator, discriminator = meta(thesis())
    parts = (generator.encoder, generator.decoder, generator.again, discriminator)
    stated = (53_103_360, 53_103_360, 53_103_360, 44_747_265)
    assert tuple(count(p) + running(p) for p in parts) == stated
    assert count(*networks) + running(*networks) == 204_057_345
    assert running(*networks) == 31_872


def test_a_code_of_a_hundred_is_what_the_text_says_and_not_what_the_counts_say():
    networks = meta(thesis(latent=100))
    assert count(*networks) + running(*networks) == 188_721_609
    assert count(*meta(thesis(bias=False))) == 204_024_960
    assert count(*meta(thesis(bias=False, latent=100))) == 188_689_536


def test_the_default_has_thirty_one_million_parameters():
    assert count(*meta(GANomalyOptions())) == 31_090_240


@pytest.mark.parametrize(
    ("size", "code"),
    [((32, 32), (1, 1)), ((64, 64), (1, 1)), ((128, 128), (1, 1)), ((256, 256), (1, 1)),
     ((16, 48), (1, 9)), ((64, 320), (1, 17)), ((48, 80), (3, 7))],
)  # fmt: skip
def test_what_comes_out_has_the_shape_of_what_went_in(size, code):
    layout = Layout(size, 5, 4, 8)
    drawn, one, two = Generator(layout)(torch.rand(2, 3, *size))
    assert drawn.shape == (2, 3, *size)
    assert one.shape == two.shape == (2, 5, *code)
    assert float(drawn.detach().abs().max()) <= 1
    ((features, logits),) = Discriminator(layout)(torch.rand(2, 3, *size))
    assert logits.shape == (2, 1, *code)
    assert features.shape[1] == layout.channels[-1]


def test_first_weights_are_those_of_dcgan_in_every_layer():
    network = Generator(Layout((64, 64), 32, 16, 64))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            assert float(module.weight.detach().std()) == pytest.approx(SPREAD, rel=0.15)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
            assert not torch.equal(module.weight, torch.ones_like(module.weight))
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.encoder.modules()) == 3


def test_group_normalisation_makes_images_independent_of_each_other():
    x = torch.rand(3, 3, 32, 32)
    for norm, same in (("group", True), ("batch", False)):
        network = Generator(Layout((32, 32), 4, 8, 16, norm)).train()
        together, alone = network(x)[0][:1], network(x[:1])[0]
        assert torch.allclose(together, alone, atol=1e-5) == same


def test_each_batch_of_the_discriminator_has_statistics_of_its_own():
    network = Discriminator(Layout((32, 32), 4, 8, 16)).train()
    x, y = torch.rand(4, 3, 32, 32), 10 * torch.rand(4, 3, 32, 32)
    (_, alone), (_, beside) = network(x)[0], network(x, y)[0]
    torch.testing.assert_close(alone, beside)
