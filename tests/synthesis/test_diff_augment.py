import pytest
import torch

from blemish.synthesis.diff_augment import POLICIES, diff_augment


def images():
    torch.manual_seed(0)
    return torch.rand(6, 3, 32, 24) + 0.5


def test_no_policy_changes_nothing():
    x = images()
    assert diff_augment(x, ()) is x


@pytest.mark.parametrize("name", POLICIES)
def test_every_image_is_changed_in_its_own_way_and_gradients_pass(name):
    x = images()[:1].repeat(6, 1, 1, 1).requires_grad_()
    changed = diff_augment(x, (name,))
    assert changed.shape == x.shape
    assert not torch.equal(changed[0], changed[1])
    (gradient,) = torch.autograd.grad(changed.sum(), x)
    assert torch.isfinite(gradient).all()
    assert torch.count_nonzero(gradient)


def test_translation_moves_by_at_most_an_eighth_and_fills_with_zero():
    x = torch.zeros(40, 3, 32, 24)
    x[:, :, 16, 12] = 1
    moved = diff_augment(x, ("translation",))
    places = moved[:, 0].nonzero()
    assert len(places) == 40
    assert (places[:, 1] - 16).abs().max() <= 4
    assert (places[:, 2] - 12).abs().max() <= 3
    assert (places[:, 1] != 16).any()
    assert (diff_augment(images(), ("translation",)) == 0).any()


def test_cutout_hides_a_box_of_at_most_half_of_each_side():
    hidden = (diff_augment(images(), ("cutout",)) == 0).all(dim=1)
    for one in hidden:
        rows, columns = one.any(dim=1).sum(), one.any(dim=0).sum()
        assert one.sum() == rows * columns
        assert 8 <= rows <= 16
        assert 6 <= columns <= 12


def test_the_seed_of_the_process_decides():
    torch.manual_seed(3)
    one = diff_augment(images(), tuple(POLICIES))
    torch.manual_seed(3)
    # `images` sets a seed, too: the state after it is the same.
    torch.testing.assert_close(one, diff_augment(images(), tuple(POLICIES)))
