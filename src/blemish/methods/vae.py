"""Convolutional variational autoencoder: what it cannot draw again is not normal.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on CVAE: preset ``thesis``.
[2] D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv 1312.6114.
[3] O. Rybkin, K. Daniilidis, S. Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", ICML 2021, arXiv 2006.13202.

Differs from [1]: the decoder's variance is learned [3], so that no weight between the two losses
has to be found; the divergence is faded in, or units die before they say anything; the network is
narrower where [1] has 98 % of its weights; the score is deterministic; the map is measured in units
of the usual error at each pixel, pooled over its worst half percent instead of all of it, and shown
on one scale for all images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish import losses
from blemish.devices import seeded
from blemish.error_maps import hold_out
from blemish.errors import MissingExtraError
from blemish.methods.base import Run
from blemish.methods.code_drawing import ACTIVE, SMALL, THESIS, TINY, CodeOptions, DrawsFromCodes
from blemish.methods.image_reconstruction import say_size
from blemish.mixing import mix_views
from blemish.options import option, to_json
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("The method vae", "train") from error


@dataclass(frozen=True)
class VAEOptions(CodeOptions):
    """Options of the variational autoencoder."""

    variational: bool = option(True, "False: a plain autoencoder, without noise and divergence.")
    likelihood: str = option(
        "calibrated",
        "Reconstruction loss: Gaussian with learned or with fixed variance, or Bernoulli.",
        choices=("calibrated", "fixed", "bernoulli"),
    )
    deviation: float = option(0.1, "Standard deviation of likelihood=fixed.", low=1e-3)
    beta: float = option(1.0, "Weight of the divergence.", low=0)
    fade_in: float = option(0.2, "Share of all steps in which beta rises from 0.", low=0, high=1)
    free_bits: float = option(0.0, "Nats that each latent unit may say at no cost.", low=0)


class VAE(DrawsFromCodes):
    """A variational autoencoder of good parts."""

    Options = VAEOptions
    presets = {  # noqa: RUF012
        "thesis": {
            **THESIS,
            "channels": (64, 128, 256, 512),
            "likelihood": "bernoulli",
            "fade_in": 0.0,
        },
        "small": SMALL,
        "tiny": TINY,
    }

    options: VAEOptions

    def learn(self, samples: Samples, run: Run) -> None:
        """Train on most of the images; the usual error is measured on the others."""
        o = self.options
        trained_on, held_out = hold_out(samples, run.seed)
        network = self._start(trained_on, run.seed)
        with seeded(run.seed):
            optimiser = torch.optim.Adam(network.parameters(), lr=o.learning_rate, fused=True)
        say_size("vae", {"vae": network}, run)
        identity = {"method": "vae", "options": to_json(o)}
        learner = Learner({"vae": network}, {"vae": optimiser}, self._step, identity)
        plan = Plan(o.epochs, o.train_batch, o.clip, o.schedule)
        train(learner, trained_on, plan, run, mix_views if o.mix else None)
        self.network_ = network
        self.active_units_ = self._count_active(samples)
        run.say(f"vae: {self.active_units_} of {o.latent} latent units are active.")
        self._measure(held_out)

    def _step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        o = self.options
        x = torch.where(batch.valid > 0, batch.x, 0.5)
        noise = torch.randn(len(x), o.latent, device=x.device) if o.variational else None
        drawn, mean, log_variance = networks["vae"](x, noise)
        fit = self._likelihood(x, drawn, batch.valid)
        terms = {"error": losses.mean_squared_error(x, drawn, batch.valid)}
        if not o.variational:
            now.update("vae", fit)
            return {"loss": fit, **terms}
        kl = losses.gaussian_kl(mean, log_variance)
        fading = o.fade_in * now.steps
        beta = o.beta * min(1.0, (now.step + 1) / fading if fading else 1.0)
        loss = fit + beta * losses.with_free_bits(kl, o.free_bits)
        now.update("vae", loss)
        active = (mean.var(dim=0, correction=0) > ACTIVE).sum()
        return {
            "loss": loss,
            **terms,
            "kl": kl.sum(dim=1).mean(),
            "beta": torch.tensor(beta),
            "active_units": active,
        }

    def _likelihood(self, x: Tensor, drawn: Tensor, valid: Tensor) -> Tensor:
        if self.options.likelihood == "bernoulli":
            return losses.bernoulli(x, drawn, valid)
        if self.options.likelihood == "fixed":
            return losses.fixed_gaussian(x, drawn, valid, self.options.deviation)
        return losses.calibrated_gaussian(x, drawn, valid)

    def _noise(self) -> Tensor | None:
        return super()._noise() if self.options.variational else None
