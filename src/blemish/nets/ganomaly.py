"""The networks of GANomaly: an encoder, a decoder, an encoder of what was drawn, a discriminator.

[1] S. Akcay, A. Atapour-Abarghouei, T. P. Breckon, "GANomaly: Semi-Supervised Anomaly Detection via
    Adversarial Training", ACCV 2018, arXiv 1805.06725.
[2] A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434: layers and first weights.

Differs from [1]: images may be rectangles; channels stop growing at a limit; the discriminator
gives a logit. Where an image is no square of a power of two, the code is a small map instead of a
vector, and the discriminator judges every place of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import gcd

from blemish.errors import MissingExtraError
from blemish.nets.first_weights import dcgan_weights

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("GANomaly", "train") from error

CELLS = 4  # of the smaller side, in front of the code
SLOPE = 0.2  # of the leaky ReLU
GROUPS = 8


@dataclass(frozen=True)
class Layout:
    """What the networks are built from.

    Attributes:
        size: (height, width) of the images, multiples of 16.
        latent: Channels of the code.
        base: Channels after the first convolution; they double with every halving.
        most: Largest number of channels.
        norm: ``"batch"`` or ``"group"``.
        bias: Whether the last convolution of encoders and discriminator has a bias.
    """

    size: tuple[int, int]
    latent: int
    base: int
    most: int
    norm: str = "batch"
    bias: bool = False

    @property
    def channels(self) -> list[int]:
        """Channels after each halving, down to `CELLS` cells or an odd number of them."""
        height, width = self.size
        found: list[int] = []
        while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * CELLS:
            found.append(min(self.base * 2 ** len(found), self.most))
            height, width = height // 2, width // 2
        return found


class Trunk(nn.Module):
    """Convolutions that halve an image until it is a few cells: (B, 3, H, W) to (B, C, h, w)."""

    def __init__(self, layout: Layout):
        super().__init__()
        channels = layout.channels
        # No norm after the first one: it would take away the colour of the image.
        layers: list[nn.Module] = [_half(3, channels[0]), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(channels):
            layers += [_half(before, after), _norm(after, layout.norm), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to the last feature map."""
        found: Tensor = self.layers(x)
        return found


class Encoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] to codes (B, latent, h, w)."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.trunk = Trunk(layout)
        self.head = nn.Conv2d(layout.channels[-1], layout.latent, CELLS, bias=layout.bias)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        code: Tensor = self.head(self.trunk(x))
        return code


class Decoder(nn.Module):
    """Codes (B, latent, h, w) to images (B, 3, H, W) in (-1, 1)."""

    def __init__(self, layout: Layout):
        super().__init__()
        channels = layout.channels[::-1]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(layout.latent, channels[0], CELLS, bias=False),
            _norm(channels[0], layout.norm),
            nn.ReLU(),
        ]
        for before, after in pairwise(channels):
            layers += [_double(before, after), _norm(after, layout.norm), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _double(channels[-1], 3), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        drawn: Tensor = self.layers(z)
        return drawn


class Generator(nn.Module):
    """Encoder, decoder, and the encoder of what was drawn: trained together."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.encoder = Encoder(layout)
        self.decoder = Decoder(layout)
        self.again = Encoder(layout)
        self.apply(dcgan_weights)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [-1, 1] to the reconstruction, its code z and the code of it ẑ."""
        code = self.encoder(x)
        drawn = self.decoder(code)
        return drawn, code, self.again(drawn)


class Discriminator(nn.Module):
    """Judges images; its last feature map is what real and drawn ones are compared by."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.trunk = Trunk(layout)
        self.head = nn.Conv2d(layout.channels[-1], 1, CELLS, bias=layout.bias)
        self.apply(dcgan_weights)
        self.to(memory_format=torch.channels_last)

    def forward(self, *batches: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Of each batch (B, 3, H, W), with batch statistics of its own: features and logits.

        All in one call, because networks on several devices may be called once per step.
        """
        features = [self.trunk(batch) for batch in batches]
        return tuple((found, self.head(found)) for found in features)


def _half(before: int, after: int) -> nn.Module:
    return nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)


def _double(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)


def _norm(channels: int, kind: str) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(gcd(GROUPS, channels), channels)
    return nn.BatchNorm2d(channels)
