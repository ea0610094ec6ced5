"""WGAN-GP: a critic of slope one measures how far drawn images are from real ones.

[1] I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of
    Wasserstein GANs", NeurIPS 2017, arXiv 1704.00028.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on WGAN-GP: the layers.

Differs from [2]: the critic's norm looks at one image at a time, or the penalty of an image would
depend on the rest of its batch; the penalty, the steps per generator step and the optimiser are
those of [1], because [2] names none; the critic sees real and drawn images changed alike; what
draws is a running mean of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blemish.nets.generator_pair import gradient_penalty
from blemish.options import option
from blemish.synthesis.base import GAN, GANOptions
from blemish.training import Moment


@dataclass(frozen=True)
class WGANGPOptions(GANOptions):
    """Options of WGAN-GP."""

    learning_rate: float = option(1e-4, "Learning rate of Adam.", low=1e-9)
    penalty: float = option(10.0, "Weight of the gradient penalty.", low=0)
    critic_steps: int = option(5, "Steps of the critic per step of the generator.", low=1)


class WGANGP(GAN):
    """A Wasserstein GAN with gradient penalty."""

    Options = WGANGPOptions
    critic = True
    name = "wgan_gp"

    @property
    def betas(self) -> tuple[float, float]:
        """As in [1]."""
        return 0.0, 0.9

    def step(self, networks: Mapping[str, Any], real: Tensor, now: Moment) -> Mapping[str, Tensor]:
        """The critic steps; every few steps the generator does, too."""
        o, judge = self.options, networks["judge"]
        with torch.no_grad():
            drawn = networks["generator"](self.noise(real))
        real, drawn = self.changed(real), self.changed(drawn)
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        mixed = (share * real + (1 - share) * drawn).requires_grad_()
        on_real, on_drawn, on_mixed = judge(real, drawn, mixed)
        penalties, norms = gradient_penalty(on_mixed, mixed)
        distance, penalty = on_real.mean() - on_drawn.mean(), penalties.mean()
        now.update("judge", o.penalty * penalty - distance)
        if now.step % o.critic_steps == o.critic_steps - 1:
            (fooled,) = judge(self.changed(networks["generator"](self.noise(real))))
            now.update("generator", -fooled.mean())
        return {
            "distance": distance,
            "penalty": penalty,
            "gradient_norm": norms.mean(),
            "on_real": on_real.mean(),
            "on_drawn": on_drawn.mean(),
        }
