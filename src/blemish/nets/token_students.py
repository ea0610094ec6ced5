"""Two students that see one patch at a time: from an early layer to a late one, and back.

[1] A. Costanzino, P. Zama Ramirez, G. Lisanti, L. Di Stefano, "Learning to Be a Transformer to
    Pinpoint Anomalies", IEEE Access 13, 2025, arXiv 2407.04092.
"""

from __future__ import annotations

from typing import Any

from blemish.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("The students of l2bt", "train") from error


SMALLEST = 1e-6  # norm below which a vector has no direction


class TokenStudents(nn.Module):
    """Both students of [1]: three linear layers each, GELU between them, no norm, no residual.

    Args:
        early: Channels of the early layer.
        late: Channels of the late layer.
        hidden: Units of both hidden layers.
    """

    def __init__(self, early: int, late: int, hidden: int):
        super().__init__()
        self.forward_student = _student(early, hidden, late)
        self.backward_student = _student(late, hidden, early)

    def forward(self, early: Tensor, late: Tensor) -> tuple[Tensor, Tensor]:
        """Guess the late from the early vectors, and the early from the late ones.

        Args:
            early: (n, early) float.
            late: (n, late) float.

        Returns:
            (n, late) and (n, early).
        """
        return self.forward_student(early), self.backward_student(late)


class StudentErrors(nn.Module):
    """How far the students' guesses are from the teacher, patch by patch.

    Args:
        students: Both students.
        early: Channels of the early layer.
        direction: ``"product"`` of both errors, or ``"forward"`` or ``"backward"`` alone.
    """

    def __init__(self, students: TokenStudents, early: int, direction: str):
        super().__init__()
        self.students, self.early, self.direction = students, early, direction

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, early + late) to (n,): the distance of unit vectors, in [0, 2], or the product."""
        early, late = vectors[:, : self.early], vectors[:, self.early :]
        found = []
        if self.direction != "backward":
            found.append(_apart(self.students.forward_student(early), late))
        if self.direction != "forward":
            found.append(_apart(self.students.backward_student(late), early))
        return found[0] if len(found) == 1 else found[0] * found[1]


def _apart(guess: Tensor, target: Tensor) -> Tensor:
    unit = nn.functional.normalize
    distance: Tensor = (unit(guess, dim=1) - unit(target, dim=1)).norm(dim=1)
    return distance


def both_directions(
    guesses: tuple[Tensor, Tensor], early: Tensor, late: Tensor
) -> tuple[Tensor, Tensor]:
    """The losses of [1]: one minus the mean cosine of guess and teacher, forward and backward."""
    forward, backward = guesses
    return 1 - _mean_cosine(forward, late), 1 - _mean_cosine(backward, early)


def _mean_cosine(guess: Tensor, target: Tensor) -> Tensor:
    cosine: Tensor = _MeanCosine.apply(guess.to(target.dtype), target)
    return cosine


class _MeanCosine(torch.autograd.Function):
    """Mean cosine of the rows of two matrices; the second has no gradient.

    What torch's own function does in a dozen passes over both matrices takes four here. On a CPU
    the passes had cost a quarter of the training step.
    """

    @staticmethod
    def forward(ctx: Any, guess: Tensor, target: Tensor) -> Tensor:
        dot = torch.einsum("nd,nd->n", guess, target)
        norm = torch.linalg.vector_norm(guess, dim=1).clamp_min(SMALLEST)
        length = torch.linalg.vector_norm(target, dim=1).clamp_min(SMALLEST)
        cosine = dot / (norm * length)
        ctx.save_for_backward(guess, target, cosine, norm, length)
        mean: Tensor = cosine.mean()
        return mean

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        guess, target, cosine, norm, length = ctx.saved_tensors
        share = gradients[0] / len(cosine)
        inward = guess * (-share * cosine / norm.square())[:, None]
        return inward.addcmul_(target, (share / (norm * length))[:, None]), None


def _student(before: int, hidden: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, after),
    )
