"""adVAE: a variational autoencoder that learns to tell drawings of odd codes from good images.

[1] X. Wang, Y. Du, S. Lin, P. Cui, Y. Shen, Y. Yang, "adVAE: A self-adversarial variational
    autoencoder with Gaussian anomaly prior knowledge for anomaly detection", Knowledge-Based
    Systems 190, 2020, arXiv 1903.00904: Algorithm 1.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on adVAE: the layers of the preset ``thesis``.

A transformer T moves the code of a good part to an odd one. In step 1 the generator G learns to
draw good codes well and odd ones differently, in step 2 the encoder E learns to find the divergence
of both drawings large. Differs from [1]: what it does to rows of a table is done to images, so that
the margin between drawings is per value; the margin of the divergences is measured in a warm-up, in
which the adversarial terms are off; T has a weight of its own; hinges count per image; log
variances stay within bounds. Two places of [1] contradict its Algorithm 1, which is followed: the
weight is on the loss of T, and its divergence is a positive one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish import losses
from blemish.devices import seeded
from blemish.error_maps import hold_out
from blemish.errors import MissingExtraError, OptionError
from blemish.methods.base import Run
from blemish.methods.code_drawing import (
    ACTIVE,
    SMALL,
    THESIS,
    TINY,
    CodeOptions,
    DrawsFromCodes,
)
from blemish.methods.image_reconstruction import say_size
from blemish.mixing import mix_views
from blemish.nets.advae import GaussianTransformer
from blemish.options import option, to_json
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("The method advae", "train") from error

COLOURS = 3
FORGETTING = 0.1  # of the usual divergence, per step of the warm-up
HINGES = {  # name of the curve: what it keeps apart
    "generator_image": "the generator's drawings of good and odd codes",
    "generator_code": "the generator's odd drawings and the good codes",
    "encoder_drawn": "the encoder's codes of good drawings",
    "encoder_odd": "the encoder's codes of odd drawings",
}


@dataclass(frozen=True)
class AdVAEOptions(CodeOptions):
    """Options of adVAE."""

    draws: int = option(16, "Codes whose drawings are averaged; 0 = the mean code only.", low=0)
    weight_kl: float = option(0.02, "Weight λ of the divergence of good images.", low=0)
    weight_transformer: float = option(0.1, "Weight of the loss of the transformer.", low=0)
    weight_adversarial: float = option(0.001, "Weight γ of the divergences of drawings.", low=0)
    image_margin: float = option(
        0.01,
        "Squared difference per value that drawings of odd codes are to have; 0 = none.",
        low=0,
    )
    code_margin: float = option(
        1.2, "Divergence that drawings are to have, in units of that of good images.", low=0
    )
    warm_up: float = option(
        0.2, "Share of all steps without the adversarial terms.", low=0.01, high=0.99
    )
    transformer: str = option(
        "distribution",
        "What the transformer reads: mean and variance as in [1], a drawn code as in [2].",
        choices=("distribution", "sample"),
    )
    adv_encoder: bool = option(True, "The encoder's adversarial terms.")
    adv_generator: bool = option(True, "The generator's adversarial terms.")


class AdVAE(DrawsFromCodes):
    """A self-adversarial variational autoencoder of good parts."""

    Options = AdVAEOptions
    presets = {  # noqa: RUF012
        "thesis": {**THESIS, "channels": (32, 64, 128, 256), "transformer": "sample"},
        "small": {**SMALL, "draws": 8},
        "tiny": {**TINY, "draws": 4},
    }

    options: AdVAEOptions

    def learn(self, samples: Samples, run: Run) -> None:
        """Train on most of the images; the usual error is measured on the others."""
        o = self.options
        height, width = samples.geometry.size
        if min(height, width) < self.multiple:
            raise OptionError(
                f"image_size={width}x{height} is smaller than the network of advae, which halves "
                f"{len(o.channels) - 1} times; use {self.multiple} pixels or more on each side, or "
                "fewer channels."
            )
        trained_on, held_out = hold_out(samples, run.seed)
        network = self._start(trained_on, run.seed)
        with seeded(run.seed):
            transformer = GaussianTransformer(o.latent, o.transformer)
            networks: dict[str, nn.Module] = {
                "encoder": network.encoder,
                "generator": network.generator,
                "transformer": transformer,
            }
            drawing = [*network.generator.parameters(), *transformer.parameters()]
            optimisers = {
                "generator": torch.optim.Adam(drawing, lr=o.learning_rate, fused=True),
                "encoder": torch.optim.Adam(
                    network.encoder.parameters(), lr=o.learning_rate, fused=True
                ),
            }
        say_size("advae", networks, run)
        identity = {"method": "advae", "options": to_json(o)}
        learner = Learner(networks, optimisers, self._step, identity)
        plan = Plan(o.epochs, o.train_batch, o.clip, o.schedule)
        train(learner, trained_on, plan, run, mix_views if o.mix else None)
        self.network_ = network.eval()
        self.active_units_ = self._count_active(samples)
        run.say(f"advae: {self.active_units_} of {o.latent} latent units are active.")
        for sentence in idle_hinges(run.history, o.warm_up, self._used):
            run.say(sentence)
        self._measure(held_out)

    @property
    def _used(self) -> tuple[str, ...]:
        """Names of the hinges that these options train with."""
        o = self.options
        sides = {"generator": o.adv_generator, "encoder": o.adv_encoder}
        used = [name for name in HINGES if sides[name.partition("_")[0]]]
        return tuple(n for n in used if n != "generator_image" or o.image_margin)

    def _step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        """Algorithm 1 of [1]: generator and transformer with a fixed encoder, then the encoder."""
        x = torch.where(batch.valid > 0, batch.x, 0.5)
        noise = torch.randn(2, len(x), self.options.latent, device=x.device)
        started = now.step >= self.options.warm_up * now.steps
        drawing = self._step_generator(networks, x, batch.valid, noise, now, started)
        encoding = self._step_encoder(networks, x, batch.valid, noise, now, started)
        return {"loss": encoding.pop("loss"), **drawing, **encoding}

    def _step_generator(
        self,
        networks: Mapping[str, Any],
        x: Tensor,
        valid: Tensor,
        noise: Tensor,
        now: Moment,
        started: bool,
    ) -> dict[str, Tensor]:
        o = self.options
        mean, log_variance = (t.detach() for t in now.frozen("encoder", x))
        z = drawn_code(mean, log_variance, noise[0])
        odd = networks["transformer"](mean, log_variance, z)
        pictures = networks["generator"](torch.cat([z, drawn_code(odd[0], odd[1], noise[1])]))
        good_picture, odd_picture = pictures.chunk(2)
        apart = losses.gaussian_kl_between(mean, log_variance, *odd).sum(dim=1)
        loss = losses.sum_squared_error(x, good_picture, valid) + o.weight_transformer * apart
        terms = {"transformer": apart.mean()}
        if o.adv_generator:
            kl, odd_kl = divergences(now.frozen("encoder", filled(pictures, valid)))
            margins = self._margins(networks, valid)
            between = losses.sum_squared_error(good_picture, odd_picture, valid)
            hinges = {
                "generator_image": (margins[0] - between).relu(),
                "generator_code": (margins[1] - odd_kl).relu(),
            }
            image, code = hinges.values()
            if started:
                loss = loss + image + o.weight_adversarial * (kl + code)
            terms |= {
                "drawn_kl": kl.mean(),
                "odd_kl": odd_kl.mean(),
                **active_shares(hinges, started),
            }
        now.update("generator", loss.mean())
        return {"generator_loss": loss.mean(), **terms}

    def _step_encoder(
        self,
        networks: Mapping[str, Any],
        x: Tensor,
        valid: Tensor,
        noise: Tensor,
        now: Moment,
        started: bool,
    ) -> dict[str, Tensor]:
        o = self.options
        mean, log_variance = networks["encoder"](x)
        z = drawn_code(mean, log_variance, noise[0])
        good_picture = now.frozen("generator", z)
        kl = losses.gaussian_kl(mean, log_variance).sum(dim=1)
        error = losses.sum_squared_error(x, good_picture, valid)
        loss = error + o.weight_kl * kl
        terms = {
            "error": losses.mean_squared_error(x, good_picture, valid),
            "kl": kl.mean(),
            "active_units": (mean.var(dim=0, correction=0) > ACTIVE).sum(),
        }
        if not started:  # until then the margin follows what is usual
            usual, found = networks["transformer"].usual_kl, now.mean(kl.mean())
            usual.copy_(torch.where(usual > 0, usual.lerp(found, FORGETTING), found))
        if o.adv_encoder:
            with torch.no_grad():
                odd = now.frozen("transformer", mean, log_variance, z)
                odd_picture = now.frozen("generator", drawn_code(odd[0], odd[1], noise[1]))
            # Detached: the encoder judges these drawings, it does not change them.
            seen = torch.cat([good_picture.detach(), odd_picture])
            drawn_kl, odd_kl = divergences(networks["encoder"](filled(seen, valid)))
            margin = self._margins(networks, valid)[1]
            hinges = {
                "encoder_drawn": (margin - drawn_kl).relu(),
                "encoder_odd": (margin - odd_kl).relu(),
            }
            if started:
                loss = loss + o.weight_adversarial * sum(hinges.values())
            terms |= active_shares(hinges, started)
        now.update("encoder", loss.mean())
        return {"loss": loss.mean(), **terms}

    def _margins(self, networks: Mapping[str, Any], valid: Tensor) -> tuple[Tensor, Tensor]:
        """Of the drawings, per image and over its valid values; of the divergences, in nats."""
        values = valid.sum(dim=(1, 2, 3)) * COLOURS
        usual = networks["transformer"].usual_kl
        return self.options.image_margin * values, self.options.code_margin * usual


def drawn_code(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A code (B, latent) from a distribution and standard normal noise."""
    return mean + (0.5 * log_variance).exp() * noise


def filled(pictures: Tensor, valid: Tensor) -> Tensor:
    """Drawings (n · B, 3, H, W) with mid grey where their images (B, 1, H, W) are not valid."""
    inside = valid.repeat(len(pictures) // len(valid), 1, 1, 1)
    return torch.where(inside > 0, pictures, 0.5)


def divergences(codes: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Divergences (B,) of the codes of good drawings, and of the odd ones that follow them."""
    return losses.gaussian_kl(*codes).sum(dim=1).chunk(2)


def active_shares(hinges: Mapping[str, Tensor], started: bool) -> dict[str, Tensor]:
    """Share of the images at which each hinge pulls; 0 before the adversarial terms start."""
    return {name: (hinge > 0).float().mean() * started for name, hinge in hinges.items()}


def idle_hinges(
    history: Mapping[str, list[float]], warm_up: float, used: tuple[str, ...]
) -> list[str]:
    """One sentence per hinge that pulled at no image in a whole epoch after the warm-up."""
    found = []
    for name in used:
        values = history.get(name, [])
        after = values[math.ceil(warm_up * len(values)) :]
        idle = sum(value == 0 for value in after)
        if idle:
            found.append(
                f"advae: the term {name} was idle in {idle} of {len(after)} epochs after the "
                f"warm-up: {HINGES[name]} were apart already. Without its adversarial terms this "
                "is a plain variational autoencoder; raise image_margin or code_margin."
            )
    return found
