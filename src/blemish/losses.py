"""Losses: pure functions of tensors, one scalar each.

Sums run over the dimensions of one image, means over the images of a batch. What is not valid
(padding, outside the region of interest) never counts.

[1] O. Rybkin, K. Daniilidis, S. Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", ICML 2021, arXiv 2006.13202.
[2] D. P. Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow",
    NeurIPS 2016, arXiv 1606.04934: free bits.
[3] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025: what is drawn instead of a defect.
[4] Z. You et al., "ADTR: Anomaly Detection Transformer with Feature Reconstruction", ICONIP 2022,
    arXiv 2209.01816: pull and push.
[5] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error
    Visibility to Structural Similarity", IEEE Transactions on Image Processing 13, 2004: SSIM.
"""

from __future__ import annotations

from blemish.errors import MissingExtraError

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("A loss", "train") from error

SMALLEST_ERROR = 1e-6  # mean squared error below which images are the same
SMALLEST_PUSH = 1e-6  # mean score of anomalous cells below which the push is that of this value
SMALLEST_DISTANCE = 0.05  # squared, of a pixel from what stands for a defect there
WINDOW, SIGMA = 11, 1.5  # pixels: the Gaussian window of SSIM [5]


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


def gaussian_kl_between(
    mean: Tensor, log_variance: Tensor, other: Tensor, other_log_variance: Tensor
) -> Tensor:
    """Divergence of N(mean, variance) from N(other, other variance) per image and unit, in nats.

    ``log(σ₂ / σ₁) + (σ₁² + (μ₁ - μ₂)²) / (2 σ₂²) - ½``, all (B, latent).
    """
    apart = (log_variance.exp() + (mean - other).square()) / other_log_variance.exp()
    return 0.5 * (other_log_variance - log_variance + apart - 1)


def sum_squared_error(x: Tensor, drawn: Tensor, valid: Tensor) -> Tensor:
    """Sum of the squared differences over the valid pixels and channels of each image, (B,)."""
    return ((drawn - x).square() * valid).sum(dim=(1, 2, 3))


def with_free_bits(kl: Tensor, free: float) -> Tensor:
    """Sum of the mean divergences of the units, each at least `free` nats [2].

    Args:
        kl: (B, latent) in nats.
        free: What a unit may say at no cost, in nats.
    """
    return torch.clamp(kl.mean(dim=0), min=free).sum()


def stand_in(x: Tensor, kind: str, value: float = 2.0) -> tuple[Tensor, Tensor]:
    """What is to be drawn where a defect is, F(x), and the squared distance (F(x) - x)² [3].

    Args:
        x: Pixels in [0, 1], any shape.
        kind: ``"value"``: the same everywhere; ``"inverse"``: 1 - x, whose distance is kept at
            `SMALLEST_DISTANCE` or it would vanish at mid grey; ``"step"``: 0 for bright pixels and
            1 for dark ones, at least 0.25 away.
        value: For ``"value"``; outside [0, 1].
    """
    if kind == "inverse":
        target = 1 - x
    elif kind == "step":
        target = (x < 0.5).to(x.dtype)
    else:
        target = torch.full_like(x, value)
    return target, (target - x).square().clamp(min=SMALLEST_DISTANCE)


def draw_or_replace(
    x: Tensor,
    drawn: Tensor,
    mask: Tensor,
    valid: Tensor,
    kind: str = "value",
    value: float = 2.0,
    per_pixel: bool = False,
) -> Tensor:
    """Squared error to the image, and on defects to F(x), in units of (F(x) - x)² [3].

    ``Σ (1 - y)(x - x̂)² / d + λ y (F(x) - x̂)² / d`` over an image with D valid values, of which the
    λ = D / Σ y defective ones weigh as much as all others; mean over the batch. It is a sum: weight
    decay is meant beside it.

    Args:
        x: (B, C, H, W) in [0, 1].
        drawn: (B, C, H, W), its reconstruction.
        mask: (B, 1, H, W), 1 on defects.
        valid: (B, 1, H, W), 0 or 1.
        kind: As for :func:`stand_in`.
        value: As for :func:`stand_in`.
        per_pixel: Divide the sums over the channels, as an earlier study did, not each channel.
    """
    with torch.no_grad():
        other, distance = stand_in(x, kind, value)
        marked = mask * valid
        if per_pixel:
            distance = distance.mean(dim=1, keepdim=True)
        values = valid.sum(dim=(1, 2, 3), keepdim=True)
        weight = values / marked.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        weight = torch.where(marked > 0, weight, valid) / distance
        target = torch.where(marked > 0, other, x)
    return ((target - drawn).square() * weight).sum() / len(x)


def structural_similarity(x: Tensor, drawn: Tensor) -> Tensor:
    """Mean SSIM of images with values in [0, 1] [5]: 1 for the same image.

    Gaussian windows that lie inside the image, in float32 whatever the precision around it.

    Args:
        x: (B, C, H, W), both sides at least 11 pixels.
        drawn: (B, C, H, W).
    """
    with torch.autocast(x.device.type, enabled=False):
        x, drawn = x.float(), drawn.float()
        rows, columns = (_windows(n, x.device) for n in x.shape[2:])
        # Matrices, because a CPU is many times slower at the gradient of such a convolution.
        at_x, at_drawn, xx, dd, xd = (
            rows @ planes @ columns.T for planes in (x, drawn, x * x, drawn * drawn, x * drawn)
        )
        variances = xx - at_x.square() + dd - at_drawn.square()
        light = (2 * at_x * at_drawn + 0.01**2) / (at_x.square() + at_drawn.square() + 0.01**2)
        shape = (2 * (xd - at_x * at_drawn) + 0.03**2) / (variances + 0.03**2)
        return (light * shape).mean()


def _windows(n: int, device: torch.device) -> Tensor:
    """(n - 10, n): Gaussian weights of every window along one axis."""
    places = torch.arange(n, device=device) - torch.arange(n - WINDOW + 1, device=device)[:, None]
    offsets = places - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA).square()) * (offsets.abs() <= WINDOW // 2)
    return weights / weights.sum(dim=1, keepdim=True)


def pseudo_huber(difference: Tensor) -> Tensor:
    """Score of every cell [4]: ``sqrt(mean over channels of |d|, squared, + 1) - 1``.

    Args:
        difference: (B, C, h, w), features minus their reconstruction.

    Returns:
        (B, h, w), at least 0; about half the square of a small mean.
    """
    return (difference.abs().mean(dim=1).square() + 1).sqrt() - 1


def pull_push_cells(score: Tensor, anomalous: Tensor, valid: Tensor, alpha: float) -> Tensor:
    """Normal cells are pulled to 0 and anomalous ones pushed away from it [4].

    Per image ``(1/n) Σ normal cells - α log(1 - exp(-(1/n) Σ anomalous cells))`` over its n valid
    cells, mean over the batch. An image without an anomalous cell has no push.

    Args:
        score: (B, h, w), see :func:`pseudo_huber`.
        anomalous: (B, h, w), 0 or 1.
        valid: (B, h, w), 0 or 1.
        alpha: About the mean score that anomalous cells are pushed to.
    """
    cells = valid.sum(dim=(1, 2)).clamp(min=1)
    marked = anomalous * valid
    pull = (score * (valid - marked)).sum(dim=(1, 2)) / cells
    away = (score * marked).sum(dim=(1, 2)) / cells
    has_any = marked.amax(dim=(1, 2))
    return (pull + alpha * has_any * _push(away)).mean()


def pull_push_images(
    score: Tensor, anomalous: Tensor, valid: Tensor, alpha: float, top: int
) -> Tensor:
    """The same with labels of images [4]: of the mean of the `top` largest valid cells.

    Args:
        score: (B, h, w), see :func:`pseudo_huber`.
        anomalous: (B,), 0 or 1.
        valid: (B, h, w), 0 or 1.
        alpha: About the mean score that anomalous images are pushed to.
        top: Number of cells; all of them where an image has fewer.
    """
    cells = (score * valid).flatten(1)
    largest = cells.topk(min(top, cells.shape[1]), dim=1).values.mean(dim=1)
    return ((1 - anomalous) * largest + alpha * anomalous * _push(largest)).mean()


def _push(score: Tensor) -> Tensor:
    """``-log(1 - exp(-score))`` without loss of digits, finite at 0."""
    return -torch.log(-torch.expm1(-score.clamp(min=SMALLEST_PUSH)))
