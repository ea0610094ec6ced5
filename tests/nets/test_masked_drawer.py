"""Drawing hidden patches: what may depend on what."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.mask_bank import complementary  # noqa: E402
from blemish.nets.masked_drawer import ComplementaryErrors, DrawerSize, MaskedDrawer  # noqa: E402
from blemish.nets.vit import EncoderSize, patchify  # noqa: E402

GRID = (4, 6)
SIZE = DrawerSize(
    EncoderSize(patch=4, width=16, depth=4, heads=2, hidden=24, dropout=0.0),
    decoder_width=16,
    decoder_depth=2,
    decoder_heads=2,
    decoder_hidden=24,
)
VISIBLE = torch.tensor([[0, 3, 9, 14, 20, 23]])
HIDDEN = [i for i in range(24) if i not in VISIBLE[0].tolist()]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MaskedDrawer(SIZE, GRID).eval()


@pytest.fixture(scope="module")
def x():
    return torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_the_original_size_has_29_784_360_parameters():
    size = DrawerSize(EncoderSize(), level_norms=False)
    assert size.keep == (5, 10, 16)
    with torch.device("meta"):
        network = MaskedDrawer(size, (16, 16))
    assert sum(p.numel() for p in network.parameters()) == 29_784_360


@torch.inference_mode()
def test_hidden_patches_are_told_apart_by_their_positions(network, x):
    drawn = network.draw(patchify(x[:1], 4), VISIBLE)[0, HIDDEN]
    apart = (drawn[:, None] - drawn[None]).abs().amax(dim=2) + torch.eye(len(HIDDEN))
    assert apart.min() > 1e-4


@torch.inference_mode()
def test_swapping_two_positions_of_the_decoder_swaps_what_is_drawn_there(x):
    torch.manual_seed(0)
    network = MaskedDrawer(SIZE, GRID).eval()
    before = network.draw(patchify(x[:1], 4), VISIBLE)[0]
    one, other = HIDDEN[2], HIDDEN[7]
    network.waves[[one, other]] = network.waves[[other, one]]
    after = network.draw(patchify(x[:1], 4), VISIBLE)[0]
    torch.testing.assert_close(after[[one, other]], before[[other, one]], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_an_image_is_drawn_alone_as_in_a_batch(network, x):
    visible = VISIBLE.expand(3, -1)
    torch.testing.assert_close(
        network(x, visible)[1:2], network(x[1:2], VISIBLE), atol=1e-5, rtol=0
    )


@torch.inference_mode()
def test_what_is_hidden_changes_nothing_that_is_drawn(network, x):
    patches = patchify(x[:1], 4)
    other = patches.clone()
    other[0, HIDDEN] = 0
    assert torch.equal(network.draw(patches, VISIBLE), network.draw(other, VISIBLE))


@pytest.mark.parametrize("smallest", [False, True])
@torch.inference_mode()
def test_no_pixel_of_a_patch_changes_its_own_drawing(network, x, smallest):
    sets = torch.from_numpy(complementary(GRID, 4))
    judge = ComplementaryErrors(network, sets, smallest)
    assert judge.counts.sum(dim=0).tolist() == [3.0] * 24, "each patch is drawn three times"
    other = x[:1].clone()
    other[:, :, 4:8, 8:12] = 0.5  # patch 8
    drawn, again = (patchify(judge(image)[1], 4) for image in (x[:1], other))
    assert torch.allclose(drawn[0, 8], again[0, 8], atol=1e-6)
    assert not torch.allclose(drawn[0, 9], again[0, 9], atol=1e-6)


@torch.inference_mode()
def test_errors_are_the_mean_or_the_smallest_of_all_drawings_but_their_own(network, x):
    sets = torch.from_numpy(complementary(GRID, 4))
    squares = torch.stack([(network(x, s.expand(3, -1)) - x).square().mean(1) for s in sets])
    seen = torch.zeros(4, 24).scatter(1, sets, 1.0).unflatten(1, GRID)
    seen = torch.from_numpy(np.kron(seen.numpy(), np.ones((1, 4, 4), np.float32)))[:, None]
    mean = (squares * (1 - seen)).sum(dim=0) / 3
    smallest = (squares + 1e9 * seen).amin(dim=0)
    for wanted, how in ((mean, False), (smallest, True)):
        found = ComplementaryErrors(network, sets, how)(x)[0][:, 0]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_one_pass_hides_nothing_and_draws_every_patch_from_itself_too(network, x):
    judge = ComplementaryErrors(network, torch.from_numpy(complementary(GRID, 1)), False)
    whole = network(x, torch.arange(24).expand(3, -1))
    torch.testing.assert_close(judge(x)[0][:, 0], (whole - x).square().mean(1))


@pytest.mark.parametrize(
    ("levels", "own", "keep"), [(1, True, (4,)), (2, False, (2, 4)), (9, True, (1, 2, 3, 4))]
)
def test_the_decoder_looks_at_as_many_levels_as_it_is_told(levels, own, keep):
    size = replace(SIZE, levels=levels, level_norms=own)
    network = MaskedDrawer(size, GRID)
    assert size.keep == keep
    assert len(network.aggregate.maps) == len(keep)
    assert any("aggregate.norms" in name for name, _ in network.named_parameters()) == own


def test_every_weight_has_a_gradient(network, x):
    network(x, VISIBLE.expand(3, -1)).square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    network.zero_grad(set_to_none=True)
