"""A convolutional variational autoencoder with dense layers at its narrowest place.

[1] D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv 1312.6114.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: the layers, two convolutions per stage.

Differs from [2]: the head gives the logarithm of the variance, softly kept in a range so that its
gradient never dies, instead of a standard deviation. Where a mean image is given, the network reads
and draws the difference to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from blemish.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("A convolutional autoencoder", "train") from error

DRAWABLE = (0.01, 0.99)  # a sigmoid reaches nothing beyond
SMALLEST_SPREAD = 0.01
LOG_VARIANCE = (-8.0, 4.0)  # between these a unit is certain enough, or says nothing


class ConvEncoder(nn.Module):
    """Images to the means and log variances of codes.

    Per stage two 3×3 convolutions with ELU, with a halving of the size between stages, then two
    dense layers.

    Args:
        size: (height, width) of the images, a multiple of :meth:`ConvVAE.multiple`.
        channels: Channels of each stage; there is one halving less than stages.
        hidden: Units of the dense layer.
        latent: Units of the code.
        centred: Whether it reads differences to a mean image.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: Sequence[int],
        hidden: int,
        latent: int,
        centred: bool = False,
    ):
        super().__init__()
        self.centred = centred
        if centred:
            self.register_buffer("centre", torch.full((3, *size), 0.5))
            self.register_buffer("spread", torch.ones(()))
        self.layers = nn.Sequential(
            *_encoder_stages(channels),
            nn.Flatten(),
            nn.Linear(_flat(_grid(size, channels)), hidden),
            nn.ELU(),
            nn.Linear(hidden, 2 * latent),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Describe images by codes.

        Args:
            x: (B, 3, H, W) in [0, 1].

        Returns:
            Means and log variances, (B, latent) each.
        """
        if self.centred:
            x = (x - self.get_buffer("centre")) / self.get_buffer("spread")
        mean, log_variance = self.layers(x).chunk(2, dim=1)
        return mean, within(log_variance, *LOG_VARIANCE)


class ConvGenerator(nn.Module):
    """Codes to images: the encoder mirrored, with transposed convolutions and a sigmoid at the end.

    Args:
        size: (height, width) of the images.
        channels: Channels of each stage of the encoder.
        hidden: Units of the dense layer.
        latent: Units of the code.
        centred: Whether it draws differences to a mean image.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: Sequence[int],
        hidden: int,
        latent: int,
        centred: bool = False,
    ):
        super().__init__()
        self.centred = centred
        if centred:
            self.register_buffer("centre", torch.full((3, *size), 0.5))
        self.grid = _grid(size, channels)
        flat = _flat(self.grid)
        self.code = nn.Sequential(
            nn.Linear(latent, hidden), nn.ELU(), nn.Linear(hidden, flat), nn.ELU()
        )
        self.layers = nn.Sequential(*_decoder_stages(channels))

    def forward(self, z: Tensor) -> Tensor:
        """Draw the images (B, 3, H, W) in (0, 1) of codes (B, latent)."""
        grid = self.code(z).unflatten(1, self.grid)  # (B, C, h, w)
        drawn = self.layers(grid.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(drawn + self.get_buffer("centre").logit() if self.centred else drawn)


class ConvVAE(nn.Module):
    """Encoder and generator.

    Args:
        size: (height, width) of the images, a multiple of :meth:`multiple`.
        channels: Channels of each stage; there is one halving less than stages.
        hidden: Units of the dense layer on each side.
        latent: Units of the code.
        centred: Whether it reads and draws differences to a mean image (:meth:`centre_on`).
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: Sequence[int],
        hidden: int,
        latent: int,
        centred: bool = False,
    ):
        super().__init__()
        self.latent = latent
        self.encoder = ConvEncoder(size, channels, hidden, latent, centred)
        self.generator = ConvGenerator(size, channels, hidden, latent, centred)
        self.apply(_start)
        self.to(memory_format=torch.channels_last)

    @staticmethod
    def multiple(channels: Sequence[int]) -> int:
        """What both sides of an image must be a multiple of."""
        return 1 << (len(channels) - 1)

    def centre_on(self, centre: Tensor, spread: float) -> None:
        """Set the mean image (3, H, W) in [0, 1] and the usual deviation from it, > 0."""
        centre = centre.clamp(*DRAWABLE)
        self.encoder.centre, self.generator.centre = centre, centre.clone()
        self.encoder.spread = torch.tensor(max(spread, SMALLEST_SPREAD))

    def forward(self, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw a code, decode.

        Args:
            x: (B, 3, H, W) in [0, 1].
            noise: (B, latent) standard normal; None takes the mean of the code itself.

        Returns:
            Reconstruction (B, 3, H, W), means and log variances (B, latent).
        """
        mean, log_variance = self.encoder(x)
        z = mean if noise is None else mean + (0.5 * log_variance).exp() * noise
        return self.generator(z), mean, log_variance


def within(values: Tensor, low: float, high: float) -> Tensor:
    """Keep values between two limits, softly: a hard clamp has no gradient to come back with."""
    values = high - functional.softplus(high - values)
    return low + functional.softplus(values - low)


def _grid(size: tuple[int, int], channels: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of the narrowest map."""
    scale = ConvVAE.multiple(channels)
    return channels[-1], size[0] // scale, size[1] // scale


def _flat(grid: tuple[int, int, int]) -> int:
    return grid[0] * grid[1] * grid[2]


def _start(module: nn.Module) -> None:
    """Weights that keep the variance from layer to layer, as in [2].

    PyTorch's own shrink it by three per layer: after a dozen of them the code hardly depends on the
    image, and training stays at the mean image.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1), nn.ELU()]


def _encoder_stages(channels: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        layers += [nn.MaxPool2d(2)] if layers else []
        layers += [*_convolution(before, after), *_convolution(after, after)]
    return layers


def _decoder_stages(channels: Sequence[int]) -> list[nn.Module]:
    last = channels[-1]
    layers = [*_convolution(last, last), *_convolution(last, last)]
    for before, after in zip(channels[:0:-1], channels[-2::-1], strict=True):
        # Output padding 1: exactly twice the size.
        up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        layers += [up, nn.ELU(), *_convolution(after, after)]
    return [*layers, nn.Conv2d(channels[0], 3, 3, padding=1)]
