"""What the variational autoencoders share: a code with a mean and a deviation, drawn again.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: the layers.
[2] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, arXiv
    1509.00519: active units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.devices import seeded
from blemish.errors import MissingExtraError, OptionError
from blemish.methods.base import State
from blemish.methods.image_reconstruction import (
    BATCH,
    ReconstructionOptions,
    ReconstructsImages,
    to_tensor,
)
from blemish.mixing import mean_view
from blemish.nets.conv_vae import ConvVAE
from blemish.options import option
from blemish.samples import Samples

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("A variational autoencoder", "train") from error

ACTIVE = 0.01  # variance over images above which a latent unit says something [2]
DRAWN_AT_ONCE = 8  # codes of one image: memory does not grow with their number


@dataclass(frozen=True)
class CodeOptions(ReconstructionOptions):
    """Options of methods that draw images from codes."""

    channels: tuple[int, ...] = option(
        (32, 64, 128, 256, 256, 256), "Channels of each stage; between stages sizes halve.", low=1
    )
    hidden: int = option(512, "Units of the dense layers around the code.", low=1)
    latent: int = option(128, "Units of the code.", low=1)
    epochs: int = option(100, "Times that every image is seen.", low=1)
    train_batch: int = option(32, "Views per training step.", low=1)
    learning_rate: float = option(1e-4, "Learning rate of Adam.", low=1e-9)
    schedule: str = option(
        "constant",
        "How the learning rate falls to zero.",
        choices=("constant", "linear", "cosine"),
    )
    clip: float = option(0.0, "Largest norm of the gradient; 0 = no limit.", low=0)
    draws: int = option(0, "Codes whose drawings are averaged; 0 = the mean code only.", low=0)
    centre: bool = option(True, "Read and draw the difference to the mean good image.")
    mix: bool = option(True, "Train on random mixtures of two good images.")


# What the thesis [1] does around its networks; channels are the method's own.
THESIS: dict[str, Any] = {
    "centre": False,
    "mix": False,
    "local": 0.0,
    "standardise": False,
    "blur": 0.0,
    "pooling": "mean",
    "difference_scale": "per_image",
    "image_size": "256",
    "fit": "stretch",
}
SMALL: dict[str, Any] = {
    "channels": (8, 16, 32, 64, 64),
    "hidden": 256,
    "latent": 64,
    "epochs": 30,
    "train_batch": 4,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "local": 4.0,
    "blur": 0.7,
    "image_size": "auto:128",
}
TINY: dict[str, Any] = {
    "channels": (8, 16, 16),
    "hidden": 64,
    "latent": 8,
    "epochs": 20,
    "train_batch": 8,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "image_size": "48",
}


class DrawsFromCodes(ReconstructsImages):
    """A method with an encoder to codes and a generator from codes."""

    options: CodeOptions
    network_: ConvVAE

    def __init__(self, options: CodeOptions):
        super().__init__(options)
        if not options.channels:
            raise OptionError("channels is empty; the network needs a stage, such as channels=16.")

    @property
    def multiple(self) -> int:
        """As often as the encoder halves."""
        return ConvVAE.multiple(self.options.channels)

    def state(self) -> State:
        """As for every reconstruction, and how many units are active."""
        header, arrays = super().state()
        return {**header, "active_units": self.active_units_}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        super().restore(header, arrays)
        self.active_units_ = int(header["active_units"])

    def _make(self) -> ConvVAE:
        o = self.options
        return ConvVAE(self.size_, o.channels, o.hidden, o.latent, o.centre)

    def _start(self, samples: Samples, seed: int) -> ConvVAE:
        """A network with new weights, centred on these samples where it is to be."""
        self.size_ = samples.geometry.view_shape
        with seeded(seed):
            network = self._make()
        if self.options.centre:
            mean, spread = mean_view(samples, BATCH)
            network.centre_on(torch.from_numpy(mean).permute(2, 0, 1), spread)
        return network

    def _drawer(self) -> Drawer:
        return Drawer(self.network_, self._noise())

    def _noise(self) -> Tensor | None:
        """(draws, latent), the same for every image; None = the mean code is drawn."""
        if not self.options.draws:
            return None
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.options.draws, self.options.latent, generator=generator)

    @torch.inference_mode()
    def _count_active(self, samples: Samples) -> int:
        """Latent units whose mean varies over the images [2]."""
        means = [
            self.network_.encoder(to_tensor(view, valid))[0]
            for batch in samples.batches(BATCH)
            for view, valid in zip(batch.x, batch.valid, strict=True)
        ]
        return int((torch.cat(means).var(dim=0, correction=0) > ACTIVE).sum())


class Drawer(torch.nn.Module):
    """What the network draws of a batch (B, 3, H, W), as one module that can be exported.

    Args:
        network: Encoder and generator.
        noise: (D, latent): the mean of D drawings; None draws the mean code.
    """

    def __init__(self, network: ConvVAE, noise: Tensor | None):
        super().__init__()
        self.network = network
        self.noise = noise

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) in [0, 1] to the same of drawings in (0, 1)."""
        mean, log_variance = self.network.encoder(x)
        if self.noise is None:
            return (self.network.generator(mean),)
        deviation = (0.5 * log_variance).exp()
        total = torch.zeros_like(x)
        for noise in torch.split(self.noise, DRAWN_AT_ONCE):
            # One code per draw, (B, D, latent), drawn as if they were more images.
            codes = mean[:, None] + deviation[:, None] * noise
            drawn = self.network.generator(codes.flatten(0, 1))  # (B · D, 3, H, W)
            total = total + drawn.reshape(-1, len(noise), *drawn.shape[1:]).sum(dim=1)
        return (total / len(self.noise),)
