"""Reconstruct a grid of features from a query that has never seen the image.

[1] Z. You, K. Yang, W. Luo, L. Cui, Y. Zheng, X. Le, "ADTR: Anomaly Detection Transformer with
    Feature Reconstruction", ICONIP 2022, arXiv 2209.01816.
[2] N. Carion, F. Massa, G. Synnaeve, N. Usunier, A. Kirillov, S. Zagoruyko, "End-to-End Object
    Detection with Transformers", ECCV 2020, arXiv 2005.12872: order of the parts of a layer.

[1] says neither where norms stand nor how the networks of its study without query, without
attention and of convolutions were built: here norms follow the residual sum as in [2], without
query the decoder starts from the encoder's output, without attention every attention is a linear
map of each token, and the convolutional network has about as many parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from blemish.errors import MissingExtraError, OptionError

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("The feature transformer", "train") from error

RECONSTRUCTORS = ("transformer", "no_query", "no_attention", "cnn")


@dataclass(frozen=True)
class Size:
    """Size of a reconstructor.

    Attributes:
        channels: Of the features.
        grid: (h, w) cells.
        width: Channels of a token.
        layers: Of the encoder, and of the decoder.
        heads: Attention heads; `width` must be a multiple.
        hidden: Width inside the feed-forward parts.
        dropout: Share in [0, 1), of what attention and feed-forward parts give.
        attention_dropout: Share in [0, 1), of the weights of attention.
    """

    channels: int
    grid: tuple[int, int]
    width: int = 256
    layers: int = 4
    heads: int = 8
    hidden: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.1


def make_reconstructor(kind: str, size: Size) -> nn.Module:
    """Make one of `RECONSTRUCTORS`: (B, C, h, w) features to (B, C, h, w) reconstructed ones.

    Raises:
        OptionError: `width` is no multiple of `heads`, or odd.
    """
    if size.width % size.heads or size.width % 2:
        raise OptionError(
            f"width={size.width} must be even and a multiple of heads={size.heads}; such as 256."
        )
    return ConvReconstructor(size) if kind == "cnn" else FeatureTransformer(size, kind)


class FeatureTransformer(nn.Module):
    """Encoder over the tokens of an image, decoder from a learned query.

    Args:
        size: Sizes; the grid is fixed, as the query and the position embedding are.
        kind: ``"transformer"``, ``"no_query"`` or ``"no_attention"``.
    """

    def __init__(self, size: Size, kind: str = "transformer"):
        super().__init__()
        self.grid = size.grid
        attend = kind != "no_attention"
        self.reduce = nn.Conv2d(size.channels, size.width, 1)
        self.expand = nn.Conv2d(size.width, size.channels, 1)
        self.encoder = nn.ModuleList(Layer(size, False, attend) for _ in range(size.layers))
        self.decoder = nn.ModuleList(Layer(size, True, attend) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        rows, columns = size.grid
        self.rows = nn.Parameter(torch.rand(rows, size.width // 2))
        self.columns = nn.Parameter(torch.rand(columns, size.width // 2))
        asks = kind != "no_query"
        self.query = nn.Parameter(torch.randn(rows * columns, size.width)) if asks else None
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and name not in {"rows", "columns", "query"}:
                nn.init.xavier_uniform_(parameter.flatten(1))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        tokens = self.reduce(features).flatten(2).transpose(1, 2)
        position = self._position()
        memory = tokens
        for layer in self.encoder:
            memory = layer(memory, position)
        out = memory if self.query is None else self.query.expand_as(memory)
        for layer in self.decoder:
            out = layer(out, position, memory)
        grid = self.norm(out).transpose(1, 2).unflatten(2, self.grid)
        expanded: Tensor = self.expand(grid)
        return expanded

    def _position(self) -> Tensor:
        """(h·w, width): the embedding of the row, then that of the column."""
        rows, columns = self.grid
        return torch.cat(
            [
                self.rows[:, None].expand(rows, columns, -1),
                self.columns[None].expand(rows, columns, -1),
            ],
            dim=2,
        ).flatten(0, 1)


class Layer(nn.Module):
    """Self-attention, attention to a memory where there is one, feed-forward.

    The position is added to queries and keys at every attention, never to values.
    """

    def __init__(self, size: Size, to_memory: bool, attend: bool):
        super().__init__()
        self.own = _Attention(size) if attend else _PerToken(size)
        self.other = (_Attention(size) if attend else _PerToken(size)) if to_memory else None
        self.feed = nn.Sequential(
            nn.Linear(size.width, size.hidden),
            nn.ReLU(),
            nn.Dropout(size.dropout),
            nn.Linear(size.hidden, size.width),
            nn.Dropout(size.dropout),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size.width) for _ in range(2 + to_memory))

    def forward(self, x: Tensor, position: Tensor, memory: Tensor | None = None) -> Tensor:
        """(B, K, width) tokens, (K, width) position, (B, K, width) memory to (B, K, width)."""
        x = self.norms[0](x + self.own(x + position, x + position, x))
        if self.other is not None and memory is not None:
            x = self.norms[1](x + self.other(x + position, memory + position, memory))
        out: Tensor = self.norms[-1](x + self.feed(x))
        return out


class _Attention(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.attention = nn.MultiheadAttention(
            size.width, size.heads, dropout=size.attention_dropout, batch_first=True
        )
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # Without the weights it is one fused operation; on CPUs only where none are dropped.
        attended, _ = self.attention(query, key, value, need_weights=False)
        dropped: Tensor = self.dropout(attended)
        return dropped


class _PerToken(nn.Module):
    """What stands for attention in the study without it."""

    def __init__(self, size: Size):
        super().__init__()
        self.map = nn.Linear(size.width, size.width)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(self.map(value))
        return dropped


class ConvReconstructor(nn.Module):
    """Residual 3×3 convolutions between two 1×1 ones."""

    def __init__(self, size: Size):
        super().__init__()
        # Three convolutions of 3×3 have about the parameters of one encoder and decoder layer.
        blocks = [_residual(size.width) for _ in range(max(1, round(1.5 * size.layers)))]
        self.reduce = nn.Conv2d(size.channels, size.width, 1)
        self.blocks = nn.ModuleList(blocks)
        self.expand = nn.Conv2d(size.width, size.channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        x = self.reduce(features)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.expand(x)
        return out


def _residual(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
    )
