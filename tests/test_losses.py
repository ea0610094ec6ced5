import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from blemish.losses import (
    bernoulli,
    calibrated_gaussian,
    fixed_gaussian,
    gaussian_kl,
    mean_squared_error,
    with_free_bits,
)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x, drawn = torch.rand(2, 2, 3, 4, 5, generator=generator)
    return x, drawn * 0.98 + 0.01


WHOLE = torch.ones(2, 1, 4, 5)


def test_the_divergence_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(1)
    mean, log_variance = torch.randn(2, 6, 3, generator=generator)
    own = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(own, Normal(torch.zeros(()), torch.ones(())))
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)
    assert float(gaussian_kl(torch.zeros(1, 1), torch.zeros(1, 1))) == 0


def test_free_bits_cost_nothing_below_their_number():
    kl = torch.tensor([[0.01, 2.0], [0.03, 4.0]], requires_grad=True)
    loss = with_free_bits(kl, 0.05)
    assert loss.item() == pytest.approx(3.05)
    loss.backward()
    assert kl.grad.tolist() == [[0, 0.5], [0, 0.5]]
    assert with_free_bits(kl, 0).item() == pytest.approx(3.02)


def test_pixels_that_are_not_valid_never_count(pair):
    x, drawn = pair
    valid = WHOLE.clone()
    valid[:, :, 2:] = 0
    other = torch.where(valid > 0, x, 1 - x)
    for loss in (
        mean_squared_error,
        calibrated_gaussian,
        bernoulli,
        lambda *a: fixed_gaussian(*a, 0.1),
    ):
        assert torch.equal(loss(x, drawn, valid), loss(other, drawn, valid))
        assert torch.isfinite(loss(x, drawn, 0 * valid))


def test_sums_over_pixels_and_means_over_images(pair):
    x, drawn = pair
    squares = (x - drawn).square()
    assert mean_squared_error(x, drawn, WHOLE) == pytest.approx(float(squares.mean()))
    expected = 0.5 * float(squares.sum()) / 2 / 0.2**2
    assert fixed_gaussian(x, drawn, WHOLE, 0.2) == pytest.approx(expected)
    cross_entropy = functional.binary_cross_entropy(drawn, x, reduction="sum") / 2
    assert bernoulli(x, drawn, WHOLE) == pytest.approx(float(cross_entropy))


def test_the_calibrated_likelihood_has_the_best_variance(pair):
    x, drawn = pair
    values = x[0].numel()
    best = min(
        float(fixed_gaussian(x, drawn, WHOLE, s / 1000)) + values * math.log(s / 1000)
        for s in range(50, 2000)
    )
    # Both up to the constant that does not depend on the drawing.
    own = float(calibrated_gaussian(x, drawn, WHOLE)) + 0.5 * values
    assert own == pytest.approx(best, rel=1e-4)


def test_a_perfect_drawing_has_a_finite_loss(pair):
    x, _ = pair
    assert torch.isfinite(calibrated_gaussian(x, x, WHOLE))
    edges = x.round()
    assert torch.isfinite(bernoulli(edges, edges, WHOLE))
