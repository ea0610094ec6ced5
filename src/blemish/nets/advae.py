"""The Gaussian transformer of adVAE: it moves a code to one that looks anomalous.

[1] X. Wang, Y. Du, S. Lin, P. Cui, Y. Shen, Y. Yang, "adVAE: A self-adversarial variational
    autoencoder with Gaussian anomaly prior knowledge for anomaly detection", Knowledge-Based
    Systems 190, 2020, arXiv 1903.00904.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022: one dense layer that reads a drawn code.

Encoder and generator are those of :mod:`blemish.nets.conv_vae`.
"""

from __future__ import annotations

from blemish.errors import MissingExtraError
from blemish.nets.conv_vae import LOG_VARIANCE, within

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("adVAE", "train") from error


class GaussianTransformer(nn.Module):
    """The distribution of a code to the distribution of an anomalous one.

    It also keeps the usual divergence of the codes of good images, from which the margins are made,
    so that a run that goes on knows it.

    Args:
        latent: Units of a code.
        reads: ``"distribution"``: mean and log variance, through two sigmoid layers [1];
            ``"sample"``: a drawn code, through one ELU layer [2].
    """

    def __init__(self, latent: int, reads: str = "distribution"):
        super().__init__()
        both = 2 * latent
        if reads == "sample":
            self.layers = nn.Sequential(nn.Linear(latent, both), nn.ELU())
        else:
            hidden = [nn.Linear(both, both), nn.Sigmoid(), nn.Linear(both, both), nn.Sigmoid()]
            self.layers = nn.Sequential(*hidden, nn.Linear(both, both))
        self.reads = reads
        self.register_buffer("usual_kl", torch.zeros(()))

    def forward(self, mean: Tensor, log_variance: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, latent) from those of a code, or from a drawn code z."""
        read = z if self.reads == "sample" else torch.cat([mean, log_variance], dim=1)
        moved, moved_log_variance = self.layers(read).chunk(2, dim=1)
        return moved, within(moved_log_variance, *LOG_VARIANCE)
