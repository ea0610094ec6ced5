"""The same changes to real and to drawn images, so that a judge cannot learn few images by heart.

[1] S. Zhao, Z. Liu, J. Lin, J.-Y. Zhu, S. Han, "Differentiable Augmentation for Data-Efficient GAN
    Training", NeurIPS 2020, arXiv 2006.10738.

Differs from [1]: colour at a third of its strength, because strong colours leak into what is drawn
where images are few, and not by default.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SHIFT = 1 / 8  # of each side
HOLE = 1 / 2  # of each side
COLOUR = 1 / 3  # of the strength in [1]


def diff_augment(images: Tensor, policy: Sequence[str]) -> Tensor:
    """Change each image in its own way; gradients pass through.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        policy: Any of :data:`POLICIES`, applied in their order there.

    Returns:
        (B, 3, H, W).
    """
    for name, change in POLICIES.items():
        if name in policy:
            images = change(images)
    return images


def _colour(images: Tensor) -> Tensor:
    bright, saturated, contrasted = _uniform(3, images)
    images = images + COLOUR * bright / 2  # ±0.5 in [1]
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (1 + COLOUR * saturated)  # 0 … 2 in [1]
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed: Tensor = mean + (images - mean) * (1 + COLOUR * contrasted / 2)  # 0.5 … 1.5 in [1]
    return changed


def _translation(images: Tensor) -> Tensor:
    """Moved by whole pixels; what comes in is 0, as in [1]."""
    height, width = images.shape[2:]
    down, right = _uniform(2, images)
    rows = _moved(height, down)
    columns = _moved(width, right)
    # An empty border all around, which indices outside the image point to.
    padded = functional.pad(images, (1, 1, 1, 1))
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _moved(side: int, amount: Tensor) -> Tensor:
    """(B, side) positions in a side with a border of 1 at both ends."""
    shift = (amount.flatten() * SHIFT * side).round().long()
    places = torch.arange(side, device=amount.device) + 1
    return (places + shift[:, None]).clamp(0, side + 1)


def _cutout(images: Tensor) -> Tensor:
    """A box that may hang over the border is 0."""
    height, width = images.shape[2:]
    rows, columns = _uniform(2, images)
    hidden_rows = _hidden(height, rows)
    hidden_columns = _hidden(width, columns)
    hole = hidden_rows[:, None, :, None] & hidden_columns[:, None, None, :]
    return images * ~hole


def _hidden(side: int, where: Tensor) -> Tensor:
    """(B, side) bool: half of the side around a place."""
    centre = (where.flatten() + 1) / 2 * side
    places = torch.arange(side, device=where.device)
    return (places - centre[:, None]).abs() < HOLE * side / 2


def _uniform(count: int, images: Tensor) -> Tensor:
    """(count, B, 1, 1, 1) in [-1, 1]."""
    return torch.rand(count, len(images), 1, 1, 1, device=images.device) * 2 - 1


POLICIES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
