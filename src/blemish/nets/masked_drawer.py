"""Draw the hidden patches of an image from the visible ones.

[1] K. He, X. Chen, S. Xie, Y. Li, P. Dollár, R. Girshick, "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022, arXiv 2111.06377.
[2] Massari, Pelliccione, "DiYT", course project, Sapienza University of Rome, 2025: DyT, feature
    aggregation, decoder with cross-attention.

Differs from [2]: every token of the decoder carries its position, or all hidden patches would come
out the same; the memory holds the visible tokens only, not a grid that is zero where something is
hidden; each level may have a norm of its own, because levels differ in scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blemish.errors import MissingExtraError
from blemish.nets.vit import (
    OUTER,
    Encoder,
    EncoderSize,
    Grid,
    Layer,
    make_norm,
    patchify,
    start_weights,
    unpatchify,
    waves,
)

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("A masked autoencoder", "train") from error

MID_GREY = 0.5


@dataclass(frozen=True)
class DrawerSize:
    """What a drawer is made of.

    Attributes:
        encoder: The encoder.
        decoder_width: Channels of a token of the decoder, a multiple of 4.
        decoder_depth: Layers of the decoder.
        decoder_heads: Attention heads of the decoder.
        decoder_hidden: Units inside its feed-forward parts.
        levels: Levels of the encoder that the decoder looks at, evenly spread; 1 = the last.
        level_norms: Whether each level has a norm of its own.
    """

    encoder: EncoderSize
    decoder_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_hidden: int = 512
    levels: int = 3
    level_norms: bool = True

    @property
    def keep(self) -> tuple[int, ...]:
        """Numbers of the encoder's layers whose outcome is a level, from 1."""
        depth, n = self.encoder.depth, min(self.levels, self.encoder.depth)
        return tuple(depth * (i + 1) // n for i in range(n))

    @property
    def decoder(self) -> EncoderSize:
        """Sizes of the decoder's layers."""
        return replace(
            self.encoder,
            width=self.decoder_width,
            depth=self.decoder_depth,
            heads=self.decoder_heads,
            hidden=self.decoder_hidden,
        )


class Aggregator(nn.Module):
    """Several levels of the encoder as one memory for the decoder."""

    def __init__(self, size: DrawerSize):
        super().__init__()
        width, count = size.encoder.width, len(size.keep)
        norms = [
            make_norm(size.encoder.norm, width, OUTER) if size.level_norms else nn.Identity()
            for _ in range(count)
        ]
        self.norms = nn.ModuleList(norms)
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.join = nn.Linear(count * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """(B, n, width) each to (B, n, width)."""
        parts = zip(self.maps, self.norms, levels, strict=True)
        joined = torch.cat([own(norm(level)) for own, norm, level in parts], dim=2)
        memory: Tensor = self.out(self.join(joined))
        return memory


class MaskedDrawer(nn.Module):
    """Encoder over visible patches, decoder over all.

    Args:
        size: What it is made of.
        grid: Rows and columns of patches.
    """

    waves: Tensor

    def __init__(self, size: DrawerSize, grid: Grid):
        super().__init__()
        self.size, self.grid = size, grid
        width, decoder = size.encoder.width, size.decoder
        self.encoder = Encoder(size.encoder, grid)
        self.aggregate = Aggregator(size)
        self.embed = nn.Linear(width, decoder.width)
        self.mask_token = nn.Parameter(torch.empty(decoder.width))
        self.layers = nn.ModuleList(Layer(decoder, width) for _ in range(decoder.depth))
        self.norm = make_norm(decoder.norm, decoder.width, OUTER)
        self.head = nn.Linear(decoder.width, 3 * decoder.patch**2)
        start_weights(self)
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.constant_(self.head.bias, MID_GREY)
        self.make_waves()

    def make_waves(self) -> None:
        """Compute what is fixed; needed again where the network was made without memory."""
        self.encoder.make_waves()
        self.register_buffer("waves", waves(self.grid, self.size.decoder_width), persistent=False)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Draw a whole image from some of its patches.

        Args:
            x: (B, 3, H, W) in [0, 1].
            visible: (B, n) int64: numbers of the patches that may be seen.

        Returns:
            (B, 3, H, W), not bounded.
        """
        patch = self.size.encoder.patch
        return unpatchify(self.draw(patchify(x, patch), visible), patch, self.grid)

    def draw(self, patches: Tensor, visible: Tensor) -> Tensor:
        """The same with patches: (B, N, 3·patch·patch) to (B, N, 3·patch·patch)."""
        seen = patches.gather(1, visible[..., None].expand(-1, -1, patches.shape[2]))
        positions = self.encoder.positions(self.grid)[visible]
        levels = self.encoder(seen, positions, self.size.keep)
        tokens = self.embed(self.encoder.norm(levels[-1]))
        # One vector stands for all that is hidden; where it stands is what the waves say.
        everywhere = self.mask_token.to(tokens.dtype).expand(*patches.shape[:2], -1)
        index = visible[..., None].expand(-1, -1, tokens.shape[2])
        sequence = everywhere.scatter(1, index, tokens) + self.waves
        memory = self.aggregate(levels)
        for layer in self.layers:
            sequence = layer(sequence, memory)
        drawn: Tensor = self.head(self.norm(sequence))
        return drawn


class ComplementaryErrors(nn.Module):
    """Errors of an image whose every patch is drawn without being seen.

    Args:
        network: A trained drawer.
        visible: (passes, n) int64: what each pass shows. Where one pass shows everything, nothing
            is hidden and every patch is drawn from itself.
        smallest: Take the smallest of the errors of a patch, not their mean.
    """

    visible: Tensor
    counts: Tensor

    def __init__(self, network: MaskedDrawer, visible: Tensor, smallest: bool):
        super().__init__()
        self.network, self.smallest = network, smallest
        cells = network.grid[0] * network.grid[1]
        counts = torch.ones(len(visible), cells).scatter(1, visible, 0.0)
        if not counts.any():
            counts += 1
        self.register_buffer("visible", visible, persistent=False)
        self.register_buffer("counts", counts, persistent=False)  # (passes, N), 1 where hidden

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All passes as one batch.

        Args:
            x: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 1, H, W) squared error, mean of the channels; (B, 3, H, W) mean of the drawings.
        """
        patch, passes = self.network.size.encoder.patch, len(self.visible)
        patches = patchify(x, patch)
        many = patches[:, None].expand(-1, passes, -1, -1).flatten(0, 1)  # (B · passes, N, P)
        visible = self.visible[None].expand(len(x), -1, -1).flatten(0, 1)
        drawn = self.network.draw(many, visible).float()
        drawn = drawn.reshape(-1, passes, *patches.shape[1:])
        squared = (drawn - patches[:, None]).square()
        squared = squared.reshape(*squared.shape[:3], 3, -1).mean(dim=3)
        weights = self.counts[..., None]
        if self.smallest:
            errors = squared.masked_fill(weights == 0, torch.inf).amin(dim=1)
        else:
            errors = (squared * weights).sum(dim=1) / weights.sum(dim=0)
        mean = (drawn * weights).sum(dim=1) / weights.sum(dim=0)
        grid = self.network.grid
        return unpatchify(errors, patch, grid), unpatchify(mean, patch, grid)
