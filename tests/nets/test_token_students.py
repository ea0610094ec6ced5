import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from blemish.nets.token_students import StudentErrors, TokenStudents, both_directions  # noqa: E402


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(20, n, generator=generator) for n in (6, 10, 10, 6)]


def test_a_student_sees_one_vector_at_a_time(vectors):
    early, late = vectors[0], vectors[1]
    students = TokenStudents(6, 10, 8)
    forward, backward = students(early, late)
    assert forward.shape == (20, 10)
    assert backward.shape == (20, 6)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(students(early[order], late[order])[0], forward[order])


def test_loss_and_gradient_are_those_of_torch(vectors):
    early, late, forward, backward = (v.clone() for v in vectors)
    forward[3] = 0  # no direction: finite all the same
    losses, gradients = [], []
    for own in (True, False):
        guesses = forward.clone().requires_grad_(), backward.clone().requires_grad_()
        if own:
            found = both_directions(guesses, early, late)
        else:
            cosine = torch.nn.functional.cosine_similarity
            found = tuple(
                1 - cosine(guess, target, dim=1, eps=1e-6).mean()
                for guess, target in zip(guesses, (late, early), strict=True)
            )
        (2 * found[0] + found[1]).backward()
        losses.append(found)
        gradients.append([guess.grad for guess in guesses])
    torch.testing.assert_close(losses[0], losses[1])
    rows = torch.arange(20) != 3
    torch.testing.assert_close(gradients[0][0][rows], gradients[1][0][rows])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])
    assert torch.isfinite(gradients[0][0]).all()


def test_guesses_in_half_precision_are_compared_in_single(vectors):
    early, late, forward, backward = vectors
    half = forward.bfloat16(), backward.bfloat16()
    exact = both_directions((forward, backward), early, late)
    for found, expected in zip(both_directions(half, early, late), exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.01, atol=0.01)


def test_errors_are_distances_of_unit_vectors_alone_or_multiplied(vectors):
    early, late = vectors[0], vectors[1]
    students = TokenStudents(6, 10, 8)
    forward, backward = students(early, late)
    expected = [
        (2 - 2 * torch.cosine_similarity(guess, target)).clamp(min=0).sqrt()
        for guess, target in ((forward, late), (backward, early))
    ]
    expected.append(expected[0] * expected[1])
    joined = torch.cat([early, late], dim=1)
    for direction, wanted in zip(("forward", "backward", "product"), expected, strict=True):
        found = StudentErrors(students, 6, direction)(joined)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
