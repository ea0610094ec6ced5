"""DCGAN: a generator and a judge that tells real from drawn.

[1] A. Radford, L. Metz, S. Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on DCGAN: the layers.

Differs from [2]: the learning rate is that of [1], a tenth of the one printed there; the judge sees
real and drawn images changed alike; what draws is a running mean of the generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from blemish.options import option
from blemish.synthesis.base import GAN, GANOptions
from blemish.training import Moment


@dataclass(frozen=True)
class DCGANOptions(GANOptions):
    """Options of DCGAN."""

    learning_rate: float = option(2e-4, "Learning rate of Adam.", low=1e-9)


class DCGAN(GAN):
    """A GAN with the loss that does not saturate."""

    Options = DCGANOptions
    critic = False
    name = "dcgan"

    @property
    def betas(self) -> tuple[float, float]:
        """As in [1]."""
        return 0.5, 0.999

    def step(self, networks: Mapping[str, Any], real: Tensor, now: Moment) -> Mapping[str, Tensor]:
        """The judge steps, then the generator."""
        judge, drawn = networks["judge"], networks["generator"](self.noise(real))
        on_real, on_drawn = judge(self.changed(real), self.changed(drawn.detach()))
        judged = (functional.softplus(-on_real) + functional.softplus(on_drawn)).mean()
        now.update("judge", judged)
        (again,) = judge(self.changed(drawn))
        fooled = functional.softplus(-again).mean()
        now.update("generator", fooled)
        return {
            "judge_loss": judged,
            "generator_loss": fooled,
            "taken_as_real": (on_real > 0).float().mean(),
            "drawn_taken_as_real": (on_drawn > 0).float().mean(),
        }
