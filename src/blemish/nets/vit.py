"""A small vision transformer over any part of an image's patches, with DyT in place of LayerNorm.

[1] A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
    Scale", ICLR 2021, arXiv 2010.11929.
[2] J. Zhu, X. Chen, K. He, Y. LeCun, Z. Liu, "Transformers without Normalization", CVPR 2025,
    arXiv 2503.10622: DyT.

Differs from [1]: no class token; a table of learned positions, fixed waves of row and column, or
both; the layers before the last are given out too. Attention runs in torch's fused kernel.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from blemish.errors import MissingExtraError, OptionError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("A vision transformer", "train") from error

Grid = tuple[int, int]  # rows and columns of patches
NORMS = ("dyt", "layer")
POSITIONS = ("both", "learned", "waves")
INNER, OUTER = 0.1, 0.5  # alpha that DyT starts with, inside layers and behind them
LONGEST_WAVE = 10_000.0


@dataclass(frozen=True)
class EncoderSize:
    """What an encoder is made of.

    Attributes:
        patch: Side of a patch in pixels.
        width: Channels of a token.
        depth: Layers.
        heads: Attention heads; `width` must be a multiple.
        hidden: Units inside the feed-forward parts.
        norm: One of `NORMS`.
        positions: One of `POSITIONS`.
        dropout: Share in [0, 1), in attention and feed-forward parts.
    """

    patch: int = 16
    width: int = 512
    depth: int = 16
    heads: int = 8
    hidden: int = 512
    norm: str = "dyt"
    positions: str = "both"
    dropout: float = 0.1

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> EncoderSize:
        """Take what is needed from options that hold it beside other things."""
        return cls(**{field.name: options[field.name] for field in fields(cls)})


def patchify(x: Tensor, patch: int) -> Tensor:
    """Cut images into patches.

    Args:
        x: (B, C, H, W).
        patch: Side of a patch; H and W must be multiples.

    Returns:
        (B, N, C·patch·patch): patches by row, then column; values by channel, row, column.

    Raises:
        OptionError: A side is no multiple of the patch.
    """
    channels, height, width = x.shape[1:]
    if height % patch or width % patch:
        raise OptionError(
            f"An image of {width}×{height} pixels has no whole number of patches of {patch}; use "
            f"sides that are multiples of patch={patch}."
        )
    cut = x.reshape(-1, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, grid: Grid) -> Tensor:
    """Put patches together again: the inverse of :func:`patchify`, for any number of channels."""
    rows, columns = grid
    cut = patches.reshape(len(patches), rows, columns, -1, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(len(patches), -1, rows * patch, columns * patch)


def waves(grid: Grid, width: int, like: Grid | None = None) -> Tensor:
    """Sines and cosines of the row (half of the channels) and of the column (the other half).

    Args:
        grid: Rows and columns.
        width: Channels, a multiple of 4.
        like: The grid whose rows and columns are counted: another one is laid over it.

    Returns:
        (rows · columns, width) float32; no two rows are equal.

    Raises:
        OptionError: `width` is no multiple of 4.
    """
    if width % 4:
        raise OptionError(f"width={width} of the tokens must be a multiple of 4; such as 256.")
    steps = torch.exp(-math.log(LONGEST_WAVE) * torch.arange(width // 4) / (width // 4))
    halves = []
    for n, of in zip(grid, like or grid, strict=True):
        # Centres of cells, so that the same place has the same value on every grid.
        places = (torch.arange(n) + 0.5) * of / n - 0.5
        angles = places[:, None] * steps
        halves.append(torch.cat([angles.sin(), angles.cos()], dim=1))
    down, across = halves
    rows, columns = grid
    both = [down[:, None].expand(-1, columns, -1), across[None].expand(rows, -1, -1)]
    return torch.cat(both, dim=2).flatten(0, 1)


def resize_table(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Interpolate a table of positions (N, width) to another grid."""
    planes = table.reshape(*old, -1).permute(2, 0, 1)[None]
    resized = functional.interpolate(planes, new, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).flatten(0, 1)


class DyT(nn.Module):
    """Dynamic tanh [2]: ``gamma · tanh(alpha · x) + beta``, alpha a scalar.

    Args:
        width: Channels.
        alpha: What alpha starts with.
    """

    def __init__(self, width: int, alpha: float):
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to the same."""
        return torch.addcmul(self.beta, torch.tanh(self.alpha * x), self.gamma)


def make_norm(kind: str, width: int, alpha: float) -> nn.Module:
    """One of `NORMS`."""
    return DyT(width, alpha) if kind == "dyt" else nn.LayerNorm(width)


class Attention(nn.Module):
    """Attention of tokens to themselves or to a memory.

    Args:
        width: Channels of a token.
        heads: Heads.
        dropout: Share of the weights that is left out in training.
        memory: Channels of the memory.

    Raises:
        OptionError: `width` is no multiple of `heads`.
    """

    def __init__(self, width: int, heads: int, dropout: float, memory: int):
        super().__init__()
        if width % heads:
            raise OptionError(
                f"width={width} of the tokens must be a multiple of heads={heads}; change one."
            )
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.pair = nn.Linear(memory, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, n, width) tokens and (B, m, memory) to (B, n, width)."""
        query = self._parted(self.query(x))
        key, value = (self._parted(half) for half in self.pair(memory).chunk(2, dim=2))
        dropped = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _parted(self, x: Tensor) -> Tensor:
        """(B, n, width) to (B, heads, n, width / heads)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Self-attention, attention to a memory where there is one, feed-forward; norms come first.

    Args:
        size: Width, heads, hidden units, norm and dropout count.
        memory: Channels of the memory; 0 = there is none.
    """

    def __init__(self, size: EncoderSize, memory: int = 0):
        super().__init__()
        width, dropout = size.width, size.dropout
        self.own = Attention(width, size.heads, dropout, width)
        self.other = Attention(width, size.heads, dropout, memory) if memory else None
        self.feed = nn.Sequential(
            nn.Linear(width, size.hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(size.hidden, width),
            nn.Dropout(dropout),
        )
        count = 3 if memory else 2
        self.norms = nn.ModuleList(make_norm(size.norm, width, INNER) for _ in range(count))

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """(B, n, width) tokens and (B, m, memory) to (B, n, width)."""
        normed = self.norms[0](x)
        x = x + self.own(normed, normed)
        if self.other is not None and memory is not None:
            x = x + self.other(self.norms[1](x), memory)
        out: Tensor = x + self.feed(self.norms[-1](x))
        return out


class Encoder(nn.Module):
    """Layers over the patches that can be seen, however many these are.

    Args:
        size: What it is made of.
        grid: Rows and columns of patches of a whole image.
    """

    waves: Tensor

    def __init__(self, size: EncoderSize, grid: Grid):
        super().__init__()
        self.size, self.grid = size, grid
        self.embed = nn.Linear(3 * size.patch**2, size.width)
        if size.positions != "waves":
            self.learned = nn.Parameter(torch.empty(grid[0] * grid[1], size.width))
            nn.init.trunc_normal_(self.learned, std=0.02)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.depth))
        self.norm = make_norm(size.norm, size.width, OUTER)
        self.make_waves()

    def make_waves(self) -> None:
        """Compute what is fixed; needed again where the network was made without memory."""
        self.register_buffer("waves", waves(self.grid, self.size.width), persistent=False)

    def positions(self, grid: Grid) -> Tensor:
        """What tells the cells of a grid apart, (rows · columns, width)."""
        kind, same = self.size.positions, grid == self.grid
        if kind == "learned":
            return self._table(grid)
        fixed = self.waves if same else waves(grid, self.size.width, self.grid).to(self.waves)
        return fixed if kind == "waves" else fixed + self._table(grid)

    def forward(self, patches: Tensor, positions: Tensor, keep: Collection[int]) -> list[Tensor]:
        """Tokens after some of the layers, before the last norm.

        Args:
            patches: (B, n, 3·patch·patch), any n.
            positions: (B, n, width) or (n, width), see :meth:`positions`.
            keep: Numbers of the layers, from 1.

        Returns:
            (B, n, width) for each layer of `keep`, in rising order.
        """
        x, kept = self.embed(patches) + positions, []
        for number, layer in enumerate(self.layers[: max(keep)], start=1):
            x = layer(x)
            if number in keep:
                kept.append(x)
        return kept

    def _table(self, grid: Grid) -> Tensor:
        return self.learned if grid == self.grid else resize_table(self.learned, self.grid, grid)


def start_weights(network: nn.Module) -> None:
    """Draw the weights of all linear maps so that they keep the variance; biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
