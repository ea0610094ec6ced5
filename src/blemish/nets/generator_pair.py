"""The two networks of DCGAN and WGAN-GP: one draws images from noise, one judges them.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapters on DCGAN and WGAN-GP: the layer tables.
[2] A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.
[3] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of
    Wasserstein GANs", NeurIPS 2017, arXiv 1704.00028: no batch statistics in the critic.

Differs from [1]: the critic's norm takes its statistics from each image alone, as [3] asks for, not
from each place or from the batch; small networks begin with a stride, which [1] does not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blemish.nets.first_weights import dcgan_weights

FIRST = 5  # stride of the generator's first layer
GROWTH = 2  # of every other one
SLOPE, DROPOUT = 0.2, 0.3
MOST = 8  # times the base channels: no layer has more


class ImageGenerator(nn.Module):
    """Noise to images.

    A dense layer without bias, a transposed convolution of stride 5, then of stride 2, each with
    batch norm and ReLU; the last one ends in tanh.

    Args:
        latent: Length of the noise.
        size: (H, W) of the images, both a multiple of 5 · 2^doublings.
        channels: Channels before the last layer; they double from layer to layer towards the noise.
        doublings: Layers of stride 2.
    """

    def __init__(self, latent: int, size: tuple[int, int], channels: int, doublings: int):
        super().__init__()
        self.latent = latent
        unit = FIRST * GROWTH**doublings
        widths = [min(channels * 2**i, MOST * channels) for i in reversed(range(doublings))]
        self._start = (widths[0], size[0] // unit, size[1] // unit)
        dense = self._start[0] * self._start[1] * self._start[2]
        self.dense = nn.Linear(latent, dense, bias=False)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(widths[0], widths[0], 5, stride=FIRST),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for given, wanted in zip(widths, [*widths[1:], 3], strict=True):
            layers.append(nn.ConvTranspose2d(given, wanted, 5, GROWTH, 2, output_padding=1))
            if wanted != 3:
                layers += [nn.BatchNorm2d(wanted), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Tanh())
        self.apply(dcgan_weights)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, latent) to (B, 3, H, W) in [-1, 1]."""
        images: Tensor = self.body(self.dense(noise).view(-1, *self._start))
        return images


class ImageJudge(nn.Module):
    """Images to one number each: a logit for DCGAN, a critic's value for WGAN-GP.

    Four convolutions of 3 × 3, each with a norm and a leaky ReLU; a dense layer over all places.

    Args:
        size: (H, W) of the images.
        channels: Of the first convolution; they double from layer to layer.
        critic: Norm over each image and no dropout, in place of batch norm and dropout.
        first_norm: A norm after the first convolution, too.
        first_stride: Of the first convolution; the others have 2.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        critic: bool,
        first_norm: bool = True,
        first_stride: int = 1,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        height, width, given = *size, 3
        for number in range(4):
            wanted, stride = channels * 2**number, 2 if number else first_stride
            layers.append(nn.Conv2d(given, wanted, 3, stride, 1))
            if number or first_norm:
                layers.append(nn.GroupNorm(1, wanted) if critic else nn.BatchNorm2d(wanted))
            layers.append(nn.LeakyReLU(SLOPE))
            height, width, given = -(-height // stride), -(-width // stride), wanted
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.dropout = nn.Identity() if critic else nn.Dropout(DROPOUT)
        self.dense = nn.Linear(given * height * width, 1)
        self.apply(dcgan_weights)

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """Each (B, 3, H, W) in [-1, 1] to (B,), with batch statistics of its own.

        All in one call, because networks on several devices may be called once per step.
        """
        return tuple(self.dense(self.dropout(self.body(batch)))[:, 0] for batch in batches)


def gradient_penalty(values: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """How far a critic is from a slope of one at each image [3].

    Args:
        values: (B,) what the critic made of the images; each of one image alone, or the penalty of
            an image would depend on the others.
        images: (B, 3, H, W), between real and drawn ones, with ``requires_grad`` before they were
            judged.

    Returns:
        (B,) squared distances of the gradient's norm from 1, and (B,) norms. The norm of a zero
        gradient is 10^-6, so that its derivative is a number.
    """
    (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True)
    norms = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (norms - 1).square(), norms
