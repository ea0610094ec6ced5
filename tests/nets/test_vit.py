"""Vision transformer: patches, positions, norms, tokens of any part of an image."""

import pytest

torch = pytest.importorskip("torch")

from blemish.errors import OptionError  # noqa: E402
from blemish.nets.vit import (  # noqa: E402
    Attention,
    DyT,
    Encoder,
    EncoderSize,
    Layer,
    patchify,
    resize_table,
    unpatchify,
    waves,
)

SMALL = EncoderSize(patch=4, width=16, depth=4, heads=2, hidden=24, dropout=0.0)


def test_patches_go_together_again_and_hold_channel_then_row_then_column():
    x = torch.rand(2, 3, 12, 20)
    patches = patchify(x, 4)
    assert patches.shape == (2, 15, 48)
    assert torch.equal(unpatchify(patches, 4, (3, 5)), x)
    # Patch number 6 is in the second row, second column; its value 1·16 + 2·4 + 3 is green.
    assert patches[1, 6, 27] == x[1, 1, 4 + 2, 4 + 3]


def test_an_image_without_a_whole_number_of_patches_is_refused():
    with pytest.raises(OptionError, match="20×10 pixels has no whole number of patches of 4"):
        patchify(torch.zeros(1, 3, 10, 20), 4)


def test_all_256_positions_differ():
    table = waves((16, 16), 512)
    apart = torch.cdist(table, table) + torch.eye(256)
    assert apart.min() > 1e-2


def test_positions_of_another_grid_are_those_of_the_same_place():
    fine = waves((8, 8), 16, like=(4, 4)).unflatten(0, (8, 8))
    coarse = waves((4, 4), 16).unflatten(0, (4, 4))
    between = (fine[0::2, 0::2] + fine[1::2, 1::2]) / 2
    torch.testing.assert_close(between, coarse, atol=0.04, rtol=0)
    with pytest.raises(OptionError, match=r"width=18 .* multiple of 4"):
        waves((4, 4), 18)


def test_a_resized_table_keeps_its_values_where_it_is_linear():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    table = torch.stack([rows, columns], dim=2).flatten(0, 1)
    assert torch.equal(resize_table(table, (4, 6), (4, 6)), table)
    finer = resize_table(table, (4, 6), (8, 12)).unflatten(0, (8, 12))
    assert finer[3, 5].tolist() == pytest.approx([1.25, 2.25])


@pytest.mark.parametrize("kind", ["both", "learned", "waves"])
def test_an_encoder_gives_levels_for_any_number_of_patches(kind):
    encoder = Encoder(EncoderSize(**{**vars(SMALL), "positions": kind}), (4, 4))
    assert ("learned" in dict(encoder.named_parameters())) == (kind != "waves")
    for grid in ((4, 4), (6, 2)):
        positions = encoder.positions(grid)
        levels = encoder(torch.rand(2, 5, 48), positions[:5], (2, 4))
        assert [level.shape for level in levels] == [(2, 5, 16), (2, 5, 16)]
    assert torch.equal(encoder(torch.ones(1, 2, 48), positions[:2], (2,))[0],
                       encoder(torch.ones(1, 2, 48), positions[:2], (2, 4))[0])  # fmt: skip


def test_dyt_is_a_scaled_hyperbolic_tangent():
    norm = DyT(3, 0.5)
    with torch.no_grad():
        norm.gamma.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.beta.fill_(0.25)
    x = torch.tensor([0.0, 1.0, -1.0])
    expected = torch.tensor([1.0, 2.0, 3.0]) * torch.tanh(0.5 * x) + 0.25
    torch.testing.assert_close(norm(x), expected)


def test_attention_is_that_of_torch():
    ours, theirs = Attention(16, 4, 0.0, 24), torch.nn.MultiheadAttention(
        16, 4, kdim=24, vdim=24, batch_first=True
    )  # fmt: skip
    with torch.no_grad():
        theirs.q_proj_weight.copy_(ours.query.weight)
        theirs.k_proj_weight.copy_(ours.pair.weight[:16])
        theirs.v_proj_weight.copy_(ours.pair.weight[16:])
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.pair.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, memory = torch.rand(2, 5, 16), torch.rand(2, 7, 24)
    torch.testing.assert_close(ours(x, memory), theirs(x, memory, memory)[0])
    with pytest.raises(OptionError, match=r"width=18 .* multiple of heads=4"):
        Attention(18, 4, 0.0, 18)


def test_layers_of_the_published_size_have_the_published_number_of_parameters():
    layer = Layer(EncoderSize())
    assert sum(p.numel() for p in layer.parameters()) == 1_577_986
