import pytest
import torch

from blemish.nets.generator_pair import ImageGenerator, ImageJudge, gradient_penalty

THESIS = (400, 240)


def trainable(network):
    return sum(p.numel() for p in network.parameters())


def statistics(network):
    """Running means and variances, which Keras counts as parameters."""
    return sum(b.numel() for name, b in network.named_buffers() if "running" in name)


def test_the_generator_has_the_printed_layers():
    with torch.device("meta"):
        generator = ImageGenerator(100, THESIS, 64, 4)
    rows = [trainable(layer) for layer in (generator.dense, *generator.body) if trainable(layer)]
    # Dense; then each transposed convolution and the trainable half of its norm.
    assert rows == [
        768_000, 6_554_112, 1_024, 3_277_056, 512, 819_328, 256, 204_864, 128, 4_803,
    ]  # fmt: skip
    assert trainable(generator) == 11_630_083
    assert trainable(generator) + statistics(generator) == 11_632_003


def test_the_judge_has_the_printed_layers_and_the_critic_too():
    with torch.device("meta"):
        judge, critic = ImageJudge(THESIS, 64, False), ImageJudge(THESIS, 64, True)
    convolutions = [trainable(layer) for layer in judge.body if isinstance(layer, torch.nn.Conv2d)]
    assert convolutions == [1_792, 73_856, 295_168, 1_180_160]
    assert trainable(judge.dense) == 768_001
    assert trainable(judge) + statistics(judge) == 2_322_817
    # A norm over each image has no running statistics: two numbers per channel.
    assert trainable(critic) + statistics(critic) == 2_320_897


@pytest.mark.parametrize(("size", "doublings"), [(THESIS, 4), ((200, 120), 3), ((50, 30), 1)])
def test_images_have_the_size_that_was_asked_for(size, doublings):
    with torch.device("meta"):
        generator = ImageGenerator(8, size, 4, doublings)
        assert generator(torch.empty(2, 8)).shape == (2, 3, *size)
        assert ImageJudge(size, 4, True)(torch.empty(2, 3, *size))[0].shape == (2,)


def slopes(judge):
    """How much the value of the first of four images depends on each of them."""
    torch.manual_seed(0)
    images = torch.randn(4, 3, 50, 30, requires_grad=True)
    (values,) = judge(images)
    (gradient,) = torch.autograd.grad(values[0], images)
    return gradient.flatten(1).norm(dim=1)


def test_the_critic_judges_each_image_alone_and_batch_norm_would_not():
    alone = slopes(ImageJudge((50, 30), 8, critic=True))
    assert alone[0] > 0
    assert torch.count_nonzero(alone[1:]) == 0
    assert torch.count_nonzero(slopes(ImageJudge((50, 30), 8, critic=False))[1:]) == 3


def test_the_penalty_of_an_image_depends_on_that_image_alone():
    torch.manual_seed(0)
    critic = ImageJudge((50, 30), 8, critic=True)
    images = torch.randn(4, 3, 50, 30)

    def penalties(batch):
        batch = batch.clone().requires_grad_()
        return gradient_penalty(critic(batch)[0], batch)[0]

    together = penalties(images)
    others = images.clone()
    others[1:] = torch.randn(3, 3, 50, 30)
    torch.testing.assert_close(penalties(others)[0], together[0])
    torch.testing.assert_close(penalties(images[:1])[0], together[0])


def test_a_plane_of_slope_one_has_no_penalty():
    torch.manual_seed(0)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    direction = torch.randn(3 * 4 * 4)
    direction /= direction.norm()
    penalties, norms = gradient_penalty(images.flatten(1) @ direction, images)
    torch.testing.assert_close(norms, torch.ones(5))
    torch.testing.assert_close(penalties, torch.zeros(5), atol=1e-10, rtol=0)


def test_where_the_slope_is_zero_its_derivative_is_a_number():
    weight = torch.zeros(48, requires_grad=True)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    penalties, norms = gradient_penalty(images.flatten(1) @ weight, images)
    torch.testing.assert_close(norms, torch.full((2,), 1e-6))
    (gradient,) = torch.autograd.grad(penalties.sum(), weight)
    assert torch.isfinite(gradient).all()


def test_the_penalty_has_the_slope_that_finite_differences_give():
    torch.manual_seed(1)
    images = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    weight = torch.randn(8, 48, dtype=torch.float64, requires_grad=True)

    def total(w):
        batch = images.clone().requires_grad_()
        return gradient_penalty(torch.tanh(batch.flatten(1) @ w.T).sum(dim=1), batch)[0].sum()

    assert torch.autograd.gradcheck(total, weight)
