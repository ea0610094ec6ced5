import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from blemish import losses
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


def three_pixels():
    """One image of a dark, a middle and a bright pixel, the last one defective."""
    x = torch.tensor([0.0, 0.5, 0.75]).expand(1, 3, 3).reshape(1, 3, 1, 3)
    mask = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    return x, mask, torch.ones(1, 1, 1, 3)


def images(batch=2, side=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, side, side, generator=generator)
    mask = torch.zeros(batch, 1, side, side)
    mask[0, :, 1:3, 2:5] = 1
    return x, mask, torch.ones_like(mask)


KINDS = ("value", "inverse", "step")


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_drawing_of_good_and_of_defective_images_costs_nothing(kind):
    x, mask, valid = images()
    other = losses.stand_in(x, kind)[0]
    perfect = torch.where(mask > 0, other, x)
    assert losses.draw_or_replace(x, perfect, mask, valid, kind) == 0
    assert losses.draw_or_replace(x, x, torch.zeros_like(mask), valid, kind) == 0


def test_drawing_a_defect_as_it_is_costs_as_many_as_the_image_has_values():
    x, mask, valid = images()
    alone = losses.draw_or_replace(x[:1], x[:1], mask[:1], valid[:1])
    assert alone == pytest.approx(3 * 8 * 8, rel=1e-5)
    # the second image is good and drawn perfectly: the mean halves
    assert losses.draw_or_replace(x, x, mask, valid) == pytest.approx(3 * 8 * 8 / 2, rel=1e-5)


def test_the_loss_of_three_pixels_is_the_one_by_hand():
    x, mask, valid = three_pixels()
    drawn = torch.full_like(x, 0.5)
    # dark: .25 / 4; middle: 0; bright: λ = 3, (2 - .5)² / 1.25²; three channels
    expected = 3 * (0.0625 + 0 + 3 * 2.25 / 1.5625)
    assert losses.draw_or_replace(x, drawn, mask, valid) == pytest.approx(expected, rel=1e-6)


def test_dividing_per_pixel_is_the_same_for_grey_images_only():
    x, mask, valid = three_pixels()
    drawn = torch.full_like(x, 0.5)
    one = losses.draw_or_replace(x, drawn, mask, valid)
    assert losses.draw_or_replace(x, drawn, mask, valid, per_pixel=True) == pytest.approx(
        float(one)
    )
    x, mask, valid = images()
    one, two = (losses.draw_or_replace(x, x * 0, mask, valid, per_pixel=p) for p in (False, True))
    assert float(one) != pytest.approx(float(two), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marked", [True, False])
def test_gradients_are_finite_at_mid_grey_and_for_an_empty_mask(kind, marked):
    _, mask, valid = images()
    x = torch.full((2, 3, 8, 8), 0.5)
    drawn = torch.rand(2, 3, 8, 8).requires_grad_()
    loss = losses.draw_or_replace(x, drawn, mask * float(marked), valid, kind)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(drawn.grad).all()


def test_the_inverse_keeps_its_distance_from_mid_grey():
    target, distance = losses.stand_in(torch.tensor([0.5, 0.0, 0.4]), "inverse")
    torch.testing.assert_close(target, torch.tensor([0.5, 1.0, 0.6]))
    torch.testing.assert_close(distance, torch.tensor([0.05, 1.0, 0.05]))
    assert losses.stand_in(torch.rand(99), "step")[1].min() >= 0.25


def test_what_is_not_valid_costs_nothing_and_weighs_nothing():
    x, mask, valid = images()
    valid = valid.clone()
    valid[:, :, :, 4:] = 0
    drawn = torch.rand_like(x).requires_grad_()
    losses.draw_or_replace(x, drawn, mask, valid).backward()
    assert not drawn.grad[:, :, :, 4:].any()
    cropped = losses.draw_or_replace(
        x[..., :4], drawn.detach()[..., :4], mask[..., :4], valid[..., :4]
    )
    whole = losses.draw_or_replace(x, drawn.detach(), mask, valid)
    assert whole == pytest.approx(float(cropped), rel=1e-5)


def test_the_score_of_a_cell_is_the_pseudo_huber_of_the_mean_difference():
    difference = torch.zeros(1, 4, 1, 3)
    difference[0, :, 0, 1] = torch.tensor([1.0, -1.0, 2.0, 0.0])
    difference[0, :, 0, 2] = -3.0
    score = losses.pseudo_huber(difference)
    assert score[0, 0].tolist() == pytest.approx([0, 2**0.5 - 1, 10**0.5 - 1])
    torch.testing.assert_close(losses.pseudo_huber(-difference), score)
    small = losses.pseudo_huber(torch.full((1, 4, 1, 1), 1e-2))
    assert float(small) == pytest.approx(0.5e-4, rel=1e-2)


def test_without_an_anomalous_cell_there_is_only_the_pull():
    score, valid = torch.rand(2, 3, 4, requires_grad=True), torch.ones(2, 3, 4)
    loss = losses.pull_push_cells(score, torch.zeros(2, 3, 4), valid, alpha=0.003)
    torch.testing.assert_close(loss, score.mean())
    loss.backward()
    assert torch.isfinite(score.grad).all()


def test_normal_cells_are_pulled_and_anomalous_ones_pushed():
    score = torch.full((1, 2, 2), 0.01, requires_grad=True)
    anomalous = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    losses.pull_push_cells(score, anomalous, torch.ones(1, 2, 2), alpha=0.003).backward()
    assert score.grad[0, 0, 0] < 0
    assert (score.grad.flatten()[1:] > 0).all()
    expected = 3 * 0.01 / 4 - 0.003 * math.log(1 - math.exp(-0.01 / 4))
    loss = losses.pull_push_cells(score, anomalous, torch.ones(1, 2, 2), alpha=0.003)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_push_is_finite_where_nothing_differs():
    score = torch.zeros(1, 2, 2, requires_grad=True)
    loss = losses.pull_push_cells(score, torch.ones(1, 2, 2), torch.ones(1, 2, 2), alpha=0.003)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(score.grad).all()


def test_cells_that_are_not_valid_neither_pull_nor_push():
    score, valid = torch.rand(1, 2, 3), torch.ones(1, 2, 3)
    valid[0, :, 2] = 0
    changed = score.clone()
    changed[0, :, 2] = 9
    anomalous = torch.zeros(1, 2, 3)
    anomalous[0, 0] = 1
    for loss in (
        lambda s: losses.pull_push_cells(s, anomalous, valid, 0.1),
        lambda s: losses.pull_push_images(s, torch.ones(1), valid, 0.1, 3),
    ):
        torch.testing.assert_close(loss(score), loss(changed))


def test_labels_of_images_reach_exactly_the_largest_cells():
    score = torch.arange(1.0, 7).reshape(1, 2, 3).requires_grad_()
    loss = losses.pull_push_images(score, torch.zeros(1), torch.ones(1, 2, 3), 0.003, top=2)
    assert loss.item() == pytest.approx(5.5)
    loss.backward()
    assert score.grad.flatten().tolist() == pytest.approx([0, 0, 0, 0, 0.5, 0.5])
    everything = losses.pull_push_images(score, torch.zeros(1), torch.ones(1, 2, 3), 0.003, 99)
    assert everything.item() == pytest.approx(3.5)


def test_structural_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    generator = np.random.default_rng(0)
    x = generator.random((2, 3, 20, 24))
    drawn = np.clip(x + generator.normal(0, 0.2, x.shape), 0, 1)
    wanted = []
    for one, other in zip(x, drawn, strict=True):
        _, whole = metrics.structural_similarity(
            one, other, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True, win_size=11,
        )  # fmt: skip
        wanted.append(whole[:, 5:-5, 5:-5].mean())
    found = losses.structural_similarity(torch.from_numpy(x), torch.from_numpy(drawn))
    assert found.item() == pytest.approx(np.mean(wanted), rel=1e-5)


def test_an_image_is_similar_to_itself_whatever_the_precision_around_it():
    x = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.structural_similarity(x, x)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(1)


def test_the_divergence_between_two_normals_is_that_of_torch():
    values = torch.randn(4, 5, 3)
    mean, log_variance, other, other_log_variance = values
    expected = kl_divergence(
        Normal(mean, (log_variance / 2).exp()), Normal(other, (other_log_variance / 2).exp())
    )
    found = losses.gaussian_kl_between(mean, log_variance, other, other_log_variance)
    torch.testing.assert_close(found, expected)
    zero = torch.zeros_like(mean)
    torch.testing.assert_close(
        losses.gaussian_kl_between(mean, log_variance, zero, zero),
        losses.gaussian_kl(mean, log_variance),
    )


def test_squared_errors_are_summed_over_the_valid_pixels_of_each_image():
    x, drawn = torch.zeros(2, 3, 2, 2), torch.full((2, 3, 2, 2), 0.5)
    valid = torch.ones(2, 1, 2, 2)
    valid[1, :, 0] = 0
    assert losses.sum_squared_error(x, drawn, valid).tolist() == [3.0, 1.5]
