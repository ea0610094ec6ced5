"""Losses: pure functions of tensors, one scalar each.

Sums run over the dimensions of one image, means over the images of a batch. What is not valid
(padding, outside the region of interest) never counts.

[1] O. Rybkin, K. Daniilidis, S. Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", ICML 2021, arXiv 2006.13202.
[2] D. P. Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow",
    NeurIPS 2016, arXiv 1606.04934: free bits.
"""

from __future__ import annotations

from blemish.errors import MissingExtraError

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("A loss", "train") from error

SMALLEST_ERROR = 1e-6  # mean squared error below which images are the same


def mean_squared_error(x: Tensor, drawn: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference over all valid pixels and channels of a batch.

    Args:
        x: (B, C, H, W) in [0, 1].
        drawn: (B, C, H, W) in [0, 1], its reconstruction.
        valid: (B, 1, H, W), 0 or 1.
    """
    total = ((drawn - x).square() * valid).sum()
    return total / (valid.sum() * x.shape[1]).clamp(min=1)


def calibrated_gaussian(x: Tensor, drawn: Tensor, valid: Tensor) -> Tensor:
    """Negative log likelihood with one shared variance, the best one for the batch [1].

    ``D / 2 · log(mean squared error)`` up to a constant, with D valid values per image.
    """
    values = valid.sum() * x.shape[1] / len(x)
    error = mean_squared_error(x, drawn, valid)
    return 0.5 * values * error.clamp(min=SMALLEST_ERROR).log()


def fixed_gaussian(x: Tensor, drawn: Tensor, valid: Tensor, deviation: float) -> Tensor:
    """Negative log likelihood with a given standard deviation: ``½ · Σ (x - x̂)² / deviation²``."""
    return 0.5 * ((drawn - x).square() * valid).sum() / (len(x) * deviation**2)


def bernoulli(x: Tensor, drawn: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy, summed over an image, with `drawn` in (0, 1) as probability."""
    # Not torch's own: that one is not allowed under automatic mixed precision.
    high, low = drawn.clamp(min=1e-7).log(), (1 - drawn).clamp(min=1e-7).log()
    return -((x * high + (1 - x) * low) * valid).sum() / len(x)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, variance) from N(0, 1) per image and unit, (B, latent), in nats.

    ``½ (μ² + σ² - log σ² - 1)``.
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def with_free_bits(kl: Tensor, free: float) -> Tensor:
    """Sum of the mean divergences of the units, each at least `free` nats [2].

    Args:
        kl: (B, latent) in nats.
        free: What a unit may say at no cost, in nats.
    """
    return torch.clamp(kl.mean(dim=0), min=free).sum()
