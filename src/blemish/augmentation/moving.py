"""Turn, shift and mirror whole batches where they are computed: one resampling for all of them.

What comes in from beyond the border is the image mirrored there, so that no black wedge becomes a
part of what is normal. No image is zoomed: the size of a defect stays what it is. For changes of
light, and for methods that see every view once, there is ``classic.py``, view by view.
"""

from __future__ import annotations

import math

from blemish.errors import MissingExtraError

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("Moving batches of images", "train") from error

MOVES = ("none", "object", "texture")
TURN = 5.0  # degrees
SHIFT = 0.03  # of a side


def move(x: Tensor, valid: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Move every image of a batch in its own way; random numbers are torch's.

    Args:
        x: (B, C, H, W).
        valid: (B, 1, H, W), 0 or 1; it goes with its image.
        kind: ``"object"``: turned by up to `TURN` and shifted by up to `SHIFT`; never mirrored,
            which would give a screw the other hand. ``"texture"``: mirrored, and turned by right
            angles where H = W. ``"none"``: as they are.

    Returns:
        Both, moved.
    """
    if kind == "none":
        return x, valid
    make = _small_moves if kind == "object" else _symmetries
    grid = functional.affine_grid(make(x), [len(x), 1, *x.shape[2:]], align_corners=False)
    moved = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    inside = functional.grid_sample(
        valid, grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    return moved, inside


def _small_moves(x: Tensor) -> Tensor:
    """(B, 2, 3) affine maps in units of half a side."""
    turn, across, down = 2 * torch.rand(3, len(x), device=x.device) - 1
    angle, aspect = turn * math.radians(TURN), x.shape[2] / x.shape[3]
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([cos, -sin * aspect, 2 * SHIFT * across], dim=1)
    second = torch.stack([sin / aspect, cos, 2 * SHIFT * down], dim=1)
    return torch.stack([first, second], dim=1)


def _symmetries(x: Tensor) -> Tensor:
    """(B, 2, 3): each of the eight symmetries of a square, or the four of a rectangle."""
    choices = torch.randint(0, 2, (3, len(x), 1), device=x.device)
    signs = 1 - 2 * choices[:2].float()
    straight = (choices[2] if x.shape[2] == x.shape[3] else 0 * choices[2]) == 0
    none = torch.zeros_like(signs[0])
    across = torch.cat([signs[0], none, none], dim=1)
    down = torch.cat([none, signs[1], none], dim=1)
    rows = torch.where(straight, across, down), torch.where(straight, down, across)
    return torch.stack(rows, dim=1)
