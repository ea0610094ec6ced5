"""The decoder of AE-XAD: one branch without parameters gates a learned one.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025.

Differs from [1], which leaves it open: transposed convolutions are 4×4, since 2×2 without overlap
prints a grid; the image comes out of a ReLU, since a sigmoid cannot reach 2; its bias starts at the
mean pixel, so that no channel starts dead. The gate is computed on the small grid and is bit for
bit the same there: nearest upsampling commutes with tanh and with sums of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from blemish.errors import MissingExtraError
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("The decoder of AE-XAD", "train") from error

CODE = 64  # channels between encoder and decoder
GROUPS = 8  # of the gate, and channels at full resolution
STRIDE = 8  # pixels per cell of the code
WIDTHS = (32, 16, GROUPS)  # channels of the three blocks
HEADS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "softplus": functional.softplus,
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
}
# What has to go into a head for the mean pixel to come out.
STARTS: dict[str, Callable[[float], float]] = {
    "relu": lambda mean: mean,
    "softplus": lambda mean: math.log(math.expm1(mean)),
    "linear": lambda mean: mean,
    "sigmoid": lambda mean: math.log(mean / (1 - mean)),
}


class ConvReduction(nn.Sequential):
    """Feature maps of a CNN (B, channels, h, w) to a code (B, 64, h, w).

    Args:
        channels: Channels of the features.
        single: One 3×3 convolution, as [1] has it in words; otherwise three with batch norms, as
            the program behind it has.
    """

    def __init__(self, channels: int, single: bool = False):
        if single:
            super().__init__(nn.Conv2d(channels, CODE, 3, padding=1))
            return
        layers: list[nn.Module] = []
        for before, after in zip((channels, 256, 128), (256, 128, CODE), strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers[:-1])


class TokenReduction(nn.Module):
    """Tokens of a ViT (B, channels, h, w) to a code (B, 64, 2 h, 2 w)."""

    def __init__(self, channels: int):
        super().__init__()
        self.narrow = nn.Sequential(
            nn.Conv2d(channels, 256, 1), nn.SELU(), nn.Conv2d(256, 128, 3, padding=1), nn.SELU()
        )
        self.widen = nn.Sequential(
            nn.ConvTranspose2d(128, CODE, 2, stride=2),
            nn.SELU(),
            nn.Conv2d(CODE, CODE, 3, padding=1),
            nn.SELU(),
            nn.Conv2d(CODE, CODE, 3, padding=1),
            nn.SELU(),
        )

    def forward(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the code on `grid` (h, w), both even; patches of 16 pixels need no resizing."""
        narrow = self.narrow(features)
        half = (grid[0] // 2, grid[1] // 2)
        if narrow.shape[2:] != half:
            narrow = functional.interpolate(narrow, half, mode="bilinear")
        return self.widen(narrow)  # type: ignore[no-any-return]


class TwoBranchDecoder(nn.Module):
    """Code (B, 64, h, w) to image (B, 3, 8 h, 8 w).

    Args:
        order: ``"conv_first"``: convolution, then transposed convolution, as [1]; ``"up_first"``
            the other way round, as the program behind it.
        kernel: 4 or 2: side of the transposed convolutions.
        gate: ``"groups"``: 8 maps in (-8, 8), as [1]; ``"squares"``: one map in [0, 64).
        head: One of `HEADS`: what makes pixels of the last layer.
        mean: Mean of the training pixels in (0, 1), where the head starts.
    """

    def __init__(
        self,
        order: str = "conv_first",
        kernel: int = 4,
        gate: str = "groups",
        head: str = "relu",
        mean: float = 0.5,
    ):
        super().__init__()
        self.gate, self.activation = gate, HEADS[head]
        layers: list[nn.Module] = []
        for before, after in zip((CODE, *WIDTHS), WIDTHS, strict=False):
            layers += _block(before, after, order, kernel)
        self.learned = nn.Sequential(*layers)
        last = nn.Conv2d(GROUPS, 3, 3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(GROUPS, GROUPS, 3, padding=1), _selu(), last)
        nn.init.constant_(last.bias, STARTS[head](min(max(mean, 0.01), 0.99)))  # type: ignore[arg-type]

    def forward(self, code: Tensor) -> Tensor:
        """Draw the images of codes."""
        return self.activation(self.head(fuse(self.learned(code), gate(code, self.gate))))


class Drawer(nn.Module):
    """Features (B, channels, h, w) of views (H, W) to images (B, 3, H, W).

    Args:
        reduction: From features to the code.
        decoder: From the code to the image.
    """

    def __init__(self, reduction: ConvReduction | TokenReduction, decoder: TwoBranchDecoder):
        super().__init__()
        self.reduction, self.decoder = reduction, decoder
        self.to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw views of `size` (H, W), multiples of 8."""
        if isinstance(self.reduction, TokenReduction):
            code = self.reduction(features, (size[0] // STRIDE, size[1] // STRIDE))
        else:
            code = self.reduction(features)
        return self.decoder(code)  # type: ignore[no-any-return]


def gate(code: Tensor, kind: str = "groups") -> Tensor:
    """The branch without parameters, on the grid of the code: (B, 8 or 1, h, w)."""
    squashed = code.tanh()  # (B, 64, h, w)
    if kind == "squares":
        return squashed.square().sum(dim=1, keepdim=True)
    # One after the other: a library's sum adds in an order that depends on the size.
    batch, channels, height, width = squashed.shape
    grouped = squashed.view(batch, GROUPS, channels // GROUPS, height, width)
    total = grouped[:, :, 0]
    for member in range(1, channels // GROUPS):
        total = total + grouped[:, :, member]
    return total


def fuse(learned: Tensor, gate: Tensor) -> Tensor:
    """``learned + up(gate) · learned``, with every cell of the gate on 8×8 pixels.

    The gate is spread over views of `learned`: nothing is copied to full resolution.

    Args:
        learned: (B, 8, 8 h, 8 w).
        gate: (B, 8 or 1, h, w).
    """
    batch, channels, height, width = learned.shape
    cells = learned.view(batch, channels, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    fused = cells * (1 + gate)[:, :, :, None, :, None]
    return fused.view(batch, channels, height, width)


def shown(drawn: Pixels) -> Pixels:
    """Drawn views (H, W, 3) as a screen can show them: what lies above 1 turns red."""
    picture = np.clip(drawn, 0, 1)
    mean = drawn @ np.full(3, 1 / 3, np.float32)  # many times as fast as asking for the mean
    high = mean > 1
    beyond = np.clip(mean[high] - 1, 0, 1)[:, None]
    picture[high] = picture[high] * (1 - beyond) + np.array([1, 0, 0], np.float32) * beyond
    return picture


def _block(before: int, after: int, order: str, kernel: int) -> list[nn.Module]:
    """Twice as large, `after` channels."""
    padding = (kernel - 2) // 2
    if order == "conv_first":
        up = nn.ConvTranspose2d(after, after, kernel, stride=2, padding=padding)
        return [nn.Conv2d(before, after, 3, padding=1), _selu(), up, _selu()]
    up = nn.ConvTranspose2d(before, after, kernel, stride=2, padding=padding)
    return [up, _selu(), nn.Conv2d(after, after, 3, padding=1), _selu()]


def _selu() -> nn.Module:
    # In place: at full resolution memory is what takes the time.
    return nn.SELU(inplace=True)
