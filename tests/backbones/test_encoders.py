import numpy as np
import pytest
import torch
from torch import nn

from blemish.backbones.encoders import (
    NORMS,
    REGIMES,
    EncoderPlan,
    choose_trained,
    open_encoder,
    restore_encoder,
)
from blemish.errors import OptionError, UnknownNameError

CNN = EncoderPlan("cnn", "resnet10t")
VIT = EncoderPlan("vit", "vit_tiny_patch16_224", blocks=(1, 2))


@pytest.fixture(scope="module")
def cnn():
    return open_encoder(CNN, "frozen", "random", "advice")


@pytest.fixture(scope="module")
def vit():
    return open_encoder(VIT, "frozen", "random", "advice")


def trained(encoder: nn.Module) -> set[str]:
    return {name for name, p in encoder.named_parameters() if p.requires_grad}


def test_features_of_a_cnn_lie_on_the_grid_of_its_stride(cnn):
    found = cnn.eval().arrays(np.zeros((2, 32, 48, 3), np.float32))
    assert found.shape == (2, 4, 6, cnn.channels)
    assert cnn.multiple == 8


def test_tokens_of_several_blocks_are_joined_for_any_size(vit):
    found = vit.eval().arrays(np.zeros((1, 32, 64, 3), np.float32))
    assert found.shape == (1, 2, 4, 2 * 192)
    assert vit.channels == 2 * 192
    assert vit.multiple == 16
    assert len(vit.network.blocks) == 2  # what is never looked at is cut off


def test_blocks_are_half_three_quarters_and_all_of_the_way_by_default():
    encoder = open_encoder(EncoderPlan("vit", "vit_tiny_patch16_224"), "frozen", "random", "")
    assert encoder.blocks == (6, 9, 12)


def test_coarser_feature_maps_are_joined_on_the_first_grid():
    encoder = open_encoder(EncoderPlan("cnn", "resnet10t", (8, 16)), "frozen", "random", "")
    assert encoder.eval().arrays(np.zeros((1, 32, 32, 3), np.float32)).shape[1:3] == (4, 4)


def test_each_regime_trains_what_it_says(cnn):
    everything = {f"network.{name}" for name, _ in cnn.network.named_parameters()}
    norms = {
        f"network.{name}.{own}"
        for name, module in cnn.network.named_modules()
        if isinstance(module, NORMS)
        for own, _ in module.named_parameters(recurse=False)
    }
    expected = {
        "frozen": set(),
        "norm_only": norms,
        "finetune": everything,
        "scratch": everything,
    }
    assert set(expected) == set(REGIMES)
    assert norms < everything
    for regime, names in expected.items():
        choose_trained(cnn, regime)
        assert trained(cnn) == names
    choose_trained(cnn, "frozen")


def test_a_stem_has_as_many_parameters_as_published_and_is_always_trained():
    plan = EncoderPlan("cnn", "resnet10t", stem=True)
    encoder = open_encoder(plan, "frozen", "random", "")
    assert sum(p.numel() for p in encoder.stem.parameters()) == 3590
    assert all(name.startswith("stem") for name in trained(encoder))
    assert trained(encoder)


def test_batch_norms_of_a_frozen_network_never_drift():
    plan = EncoderPlan("cnn", "resnet10t", stem=True)
    encoder = open_encoder(plan, "frozen", "random", "")
    before = {k: v.clone() for k, v in encoder.network.state_dict().items()}
    encoder.train()
    encoder(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in encoder.network.state_dict().items())
    assert encoder.stem[1].num_batches_tracked == 1
    choose_trained(encoder, "finetune")
    encoder.train()
    encoder(torch.rand(2, 3, 32, 32))
    after = encoder.network.state_dict()
    assert any(not torch.equal(v, before[k]) for k, v in after.items() if "running" in k)


def test_normalisation_is_that_of_the_pre_training():
    plain = EncoderPlan("cnn", "resnet10t", normalise=False)
    one, other = (open_encoder(p, "frozen", "random", "").eval() for p in (CNN, plain))
    other.load_state_dict(one.state_dict())
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(other((x - one.mean) / one.deviation), one(x))


def test_an_encoder_comes_back_from_its_header_and_weights(vit):
    header, weights = vit.state()
    again = restore_encoder(header)
    again.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
    x = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.eval().arrays(x), vit.eval().arrays(x))


def test_scratch_takes_no_weights_and_the_others_say_what_they_need():
    assert open_encoder(CNN, "scratch", None, "advice").channels
    with pytest.raises(OptionError, match=r"resnet10t needs weights=FILE .* use none"):
        open_encoder(CNN, "finetune", None, "use none")
    with pytest.raises(OptionError, match="no weights file"):
        open_encoder(CNN, "finetune", "nowhere.pth", "")
    with pytest.raises(UnknownNameError, match="resnet50"):
        open_encoder(EncoderPlan("cnn", "resnet500"), "scratch", None, "")


def test_what_is_no_plain_vit_or_has_fewer_blocks_is_refused():
    with pytest.raises(OptionError, match="blocks 1 to 12, but blocks=13"):
        open_encoder(EncoderPlan("vit", VIT.name, blocks=(13,)), "scratch", None, "")
    with pytest.raises(OptionError, match="no plain vision transformer"):
        open_encoder(EncoderPlan("vit", "resnet10t"), "scratch", None, "")


def test_local_weights_are_loaded(tmp_path, cnn):
    torch.save(cnn.network.state_dict(), tmp_path / "weights.pth")
    again = open_encoder(CNN, "norm_only", str(tmp_path / "weights.pth"), "").eval()
    x = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.arrays(x), cnn.eval().arrays(x))
