"""Two students that see one patch at a time: from an early layer to a late one, and back.

[1] A. Costanzino, P. Zama Ramirez, G. Lisanti, L. Di Stefano, "Learning to Be a Transformer to
    Pinpoint Anomalies", IEEE Access 13, 2025, arXiv 2407.04092.
"""

from __future__ import annotations

from blemish.errors import MissingExtraError

try:
    from torch import Tensor, nn
    from torch.nn.functional import cosine_similarity
except ImportError as error:
    raise MissingExtraError("The students of l2bt", "train") from error


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


def both_directions(
    guesses: tuple[Tensor, Tensor], early: Tensor, late: Tensor
) -> tuple[Tensor, Tensor]:
    """The losses of [1]: one minus the mean cosine of guess and teacher, forward and backward."""
    forward, backward = guesses
    return (
        1 - cosine_similarity(forward, late, dim=1, eps=1e-6).mean(),
        1 - cosine_similarity(backward, early, dim=1, eps=1e-6).mean(),
    )


def _student(before: int, hidden: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, after),
    )
