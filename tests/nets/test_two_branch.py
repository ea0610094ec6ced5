import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from blemish.nets.two_branch import (
    HEADS,
    ConvReduction,
    TokenReduction,
    TwoBranchDecoder,
    fuse,
    gate,
    shown,
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def code(batch: int = 2, rows: int = 28, columns: int = 28) -> torch.Tensor:
    return torch.randn(batch, 64, rows, columns, generator=torch.Generator().manual_seed(0))


def test_parameters_are_as_many_as_published():
    assert count(ConvReduction(512)) == 1_549_632
    assert count(ConvReduction(512, single=True)) == 294_976
    assert count(TwoBranchDecoder().learned) == 45_808
    assert count(TwoBranchDecoder(kernel=2).learned) == 29_680
    assert count(TwoBranchDecoder(order="up_first").learned) == 55_216
    assert count(TwoBranchDecoder().head) == 803
    tokens = TokenReduction(768)
    assert count(tokens.narrow) == 491_904
    assert count(tokens.widen) == 32_832 + 73_856


def test_shapes_are_as_published():
    assert ConvReduction(512)(torch.zeros(2, 512, 28, 28)).shape == (2, 64, 28, 28)
    assert TokenReduction(192)(torch.zeros(2, 192, 14, 14), (28, 28)).shape == (2, 64, 28, 28)
    assert TokenReduction(9)(torch.zeros(2, 9, 16, 16), (28, 28)).shape == (2, 64, 28, 28)
    decoder = TwoBranchDecoder()
    assert gate(code()).shape == (2, 8, 28, 28)
    assert decoder.learned(code()).shape == (2, 8, 224, 224)
    assert decoder(code()).shape == (2, 3, 224, 224)
    assert decoder(code(1, 3, 5)).shape == (1, 3, 24, 40)


def test_the_gate_on_the_small_grid_is_bit_for_bit_that_at_full_resolution():
    z = code()
    expected = gate(functional.interpolate(z, scale_factor=8, mode="nearest"))
    assert torch.equal(functional.interpolate(gate(z), scale_factor=8, mode="nearest"), expected)


@pytest.mark.parametrize(("kind", "low", "high"), [("groups", -8, 8), ("squares", 0, 64)])
def test_the_gate_stays_in_its_range(kind, low, high):
    values = gate(20 * code(), kind)
    assert values.min() >= low
    assert values.max() <= high


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["groups", "squares"])
def test_fusion_is_the_published_formula(memory, kind):
    z = code(2, 3, 4)
    learned = torch.randn(2, 8, 24, 32).to(memory_format=memory)
    up = functional.interpolate(gate(z, kind), scale_factor=8, mode="nearest")
    found = fuse(learned, gate(z, kind))
    torch.testing.assert_close(found, learned + up * learned)
    assert found.is_contiguous(memory_format=memory)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_every_head_starts_near_the_mean_pixel_and_has_a_gradient(head):
    torch.manual_seed(0)
    decoder = TwoBranchDecoder(head=head, mean=0.6)
    drawn = decoder(0.01 * code(1, 4, 4))
    # SELU layers on nearly nothing: what is left is the bias.
    assert (drawn.mean() - 0.6).abs() < 0.25
    drawn.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.head.parameters())


def test_only_a_head_without_ceiling_reaches_what_stands_for_a_defect():
    z = code(1, 4, 4)
    for head, reaches in {"relu": True, "linear": True, "softplus": True, "sigmoid": False}.items():
        decoder = TwoBranchDecoder(head=head)
        nn.init.constant_(decoder.head[-1].bias, 3.0)
        assert (decoder(z).max() >= 2) == reaches


def test_what_is_brighter_than_a_screen_shows_turns_red():
    drawn = np.full((1, 3, 3), 0.5, np.float32)
    drawn[0, 1] = 1.0
    drawn[0, 2] = 2.0
    np.testing.assert_allclose(shown(drawn)[0], [[0.5] * 3, [1] * 3, [1, 0, 0]], atol=1e-6)
