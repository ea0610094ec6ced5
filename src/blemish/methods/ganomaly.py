"""GANomaly: a part is odd when the code of its drawing is not the code of the part.

[1] S. Akcay, A. Atapour-Abarghouei, T. P. Breckon, "GANomaly: Semi-Supervised Anomaly Detection via
    Adversarial Training", ACCV 2018, arXiv 1805.06725.
[2] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on GANomaly: preset ``thesis``.

Losses and order of the updates are those of the program beside [1]. Differs from [1]: losses are
mean squares, as in that program; the discriminator gives logits, real images count as 0.9, it rests
where it is far ahead and starts anew only where it has won altogether; its features of real images
are constants for the generator; images are rectangles; channels stop growing at 512; statistics of
batch normalisation are measured once more after training and never come from a test batch; nothing
is scaled by the test set.

The score is made of codes, which say nothing about places; the map is the squared difference, for
the eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blemish.devices import mix_seeds, seeded
from blemish.error_maps import hold_out
from blemish.errors import DataError, MissingExtraError, OptionError
from blemish.methods.base import Run
from blemish.methods.image_reconstruction import (
    ReconstructionOptions,
    ReconstructsImages,
    say_size,
)
from blemish.mixing import mix_views
from blemish.nets.ganomaly import Discriminator, Generator, Layout
from blemish.options import option, to_json
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("The method ganomaly", "train") from error

MULTIPLE = 16  # of both sides: two halvings down to four cells
RECALIBRATION = 32  # views at once, at most


@dataclass(frozen=True)
class GANomalyOptions(ReconstructionOptions):
    """Options of GANomaly."""

    latent: int = option(128, "Channels of the code.", low=1)
    base: int = option(32, "Channels after the first convolution; they double each time.", low=1)
    most: int = option(512, "Largest number of channels.", low=1)
    norm: str = option(
        "batch",
        "Normalisation: over the batch as in [1], or per image.",
        choices=("batch", "group"),
    )
    bias: bool = option(False, "The last convolution of encoders and discriminator has a bias.")
    adversarial: float = option(1.0, "Weight of the difference of features.", low=0)
    context: float = option(50.0, "Weight of the difference of pixels.", low=0)
    encoding: float = option(1.0, "Weight of the difference of codes.", low=0)
    smoothing: float = option(0.9, "What the discriminator calls a real image.", low=0.5, high=1)
    rest_below: float = option(
        0.1, "The discriminator is not trained while its loss is below this; 0 = always.", low=0
    )
    restart_below: float = option(
        1e-5, "It starts anew where its loss falls below this, as in [1]; 0 = never.", low=0
    )
    epochs: int = option(30, "Times that every image is seen.", low=1)
    train_batch: int = option(32, "Views per training step.", low=1)
    learning_rate: float = option(2e-4, "Learning rate of Adam, for both sides.", low=1e-9)
    clip: float = option(0.0, "Largest norm of the gradient; 0 = no limit.", low=0)
    mix: bool = option(False, "Train on random mixtures of two good images.")
    score: str = option(
        "absolute",
        "Difference of the codes: mean absolute as in [1], mean square as in its program; or the "
        "map, pooled.",
        choices=("absolute", "squared", "map"),
    )


class GANomaly(ReconstructsImages):
    """An adversarially trained encoder, decoder and second encoder of good parts."""

    Options = GANomalyOptions
    localises = False
    presets = {  # noqa: RUF012
        "thesis": {
            "latent": 256,
            "base": 64,
            "most": 2048,
            "bias": True,
            "smoothing": 1.0,
            "rest_below": 0.0,
            "local": 0.0,
            "standardise": False,
            "blur": 0.0,
            "difference_scale": "per_image",
            "image_size": "256",
            "fit": "stretch",
        },
        "small": {
            "latent": 64,
            "base": 16,
            "most": 128,
            "train_batch": 4,
            "local": 4.0,
            "blur": 0.7,
            "image_size": "auto:128",
        },
        "tiny": {
            "latent": 8,
            "base": 8,
            "most": 16,
            "train_batch": 4,
            "epochs": 12,
            "learning_rate": 2e-3,
            "image_size": "48",
        },
    }

    options: GANomalyOptions
    multiple = MULTIPLE

    def __init__(self, options: GANomalyOptions):
        super().__init__(options)
        if options.norm == "batch" and options.train_batch < 2:
            raise OptionError(
                "train_batch=1 leaves batch normalisation a single image; use at least 2, or "
                "norm=group."
            )

    def learn(self, samples: Samples, run: Run) -> None:
        """Train both sides on most of the images; the usual error is measured on the others."""
        o = self.options
        trained_on, held_out = hold_out(samples, run.seed)
        self.size_ = samples.geometry.view_shape
        self._refuse_too_little(trained_on)
        with seeded(run.seed):
            generator, discriminator = self._make(), Discriminator(self._layout())
            networks: dict[str, nn.Module] = {
                "generator": generator,
                "discriminator": discriminator,
            }
            optimisers = {
                name: torch.optim.Adam(
                    network.parameters(), lr=o.learning_rate, betas=(0.5, 0.999), fused=True
                )
                for name, network in networks.items()
            }
        say_size("ganomaly", networks, run)
        identity = {"method": "ganomaly", "options": to_json(o)}
        learner = Learner(networks, optimisers, self._step, identity)
        plan = Plan(o.epochs, o.train_batch, o.clip, least=2 if o.norm == "batch" else 1)
        train(learner, trained_on, plan, run, mix_views if o.mix else None)
        self.network_ = generator
        _recalibrate(generator, trained_on, o.train_batch)
        self._measure(held_out)

    def _refuse_too_little(self, samples: Samples) -> None:
        height, width = samples.geometry.size
        if min(height, width) < MULTIPLE:
            raise OptionError(
                f"image_size={width}x{height} is smaller than the network of ganomaly, which needs "
                f"{MULTIPLE} pixels on each side; use a larger image_size."
            )
        if len(samples.places) < 2:
            raise DataError("ganomaly learns from 2 views or more, and has 1. Add good images.")

    def _layout(self) -> Layout:
        o = self.options
        return Layout(self.size_, o.latent, o.base, o.most, o.norm, o.bias)

    def _make(self) -> Generator:
        return Generator(self._layout())

    def _drawer(self) -> nn.Module:
        return _Drawer(self.network_, self.options.score)

    def _step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        """Both sides from one drawing: first the generator, then the discriminator."""
        o = self.options
        x = signed(torch.where(batch.valid > 0, batch.x, 0.5))
        drawn, code, again = networks["generator"](x)
        (real, _), (fake, _) = now.frozen("discriminator", x, drawn)
        terms = {
            "adversarial": functional.mse_loss(fake, real.detach()),
            "context": functional.l1_loss(drawn, x),
            "encoding": functional.mse_loss(again, code),
        }
        loss = (
            o.adversarial * terms["adversarial"]
            + o.context * terms["context"]
            + o.encoding * terms["encoding"]
        )
        now.update("generator", loss)
        judged = self._judge(networks["discriminator"], x, drawn.detach(), now)
        spread = code.detach().flatten(1).var(dim=0, correction=0).mean()
        return {"loss": loss, **terms, "code_spread": spread, **judged}

    def _judge(self, network: Any, x: Tensor, drawn: Tensor, now: Moment) -> dict[str, Tensor]:
        """Train the discriminator, unless it is far ahead; start it anew where it has won."""
        o = self.options
        (_, real), (_, fake) = network(x, drawn)
        called = torch.full_like(real, o.smoothing)
        loss = 0.5 * (
            functional.binary_cross_entropy_with_logits(real, called)
            + functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        )
        # On several devices all decide alike, or one would wait for the others for ever.
        usual = float(now.mean(loss))
        rests, restarts = usual < o.rest_below, usual < o.restart_below
        if restarts:
            with seeded(mix_seeds(now.step)):
                fresh = Discriminator(self._layout()).state_dict()
            network.load_state_dict(fresh)
        elif not rests:
            now.update("discriminator", loss)
        return {
            "discriminator": loss,
            "called_real": real.sigmoid().mean(),
            "called_real_drawn": fake.sigmoid().mean(),
            "rests": torch.tensor(float(rests)),
            "restarts": torch.tensor(float(restarts)),
        }


class _Drawer(nn.Module):
    """What the network draws of a batch, and how far its codes are apart."""

    def __init__(self, network: Generator, score: str):
        super().__init__()
        self.network = network
        self.score = score

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) in [0, 1] to drawings and, unless the map is to say it, scores (B,)."""
        drawn, code, again = self.network(signed(x))
        picture = (drawn + 1) / 2
        if self.score == "map":
            return (picture,)
        apart = (code - again).abs() if self.score == "absolute" else (code - again).square()
        # A code of a rectangle is a small map: all of it counts.
        return picture, apart.mean(dim=(1, 2, 3))


def signed(x: Tensor) -> Tensor:
    """[0, 1] to [-1, 1], which is what a tanh can draw."""
    return 2 * x - 1


@torch.no_grad()
def _recalibrate(network: nn.Module, samples: Samples, batch: int) -> None:
    """Measure the statistics of batch normalisation once more, with the final weights.

    Those of the training are of weights that were still moving. Every view counts alike.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for found in samples.batches(min(batch, RECALIBRATION)):
        if len(found.x) > 1:
            x = torch.from_numpy(found.x).permute(0, 3, 1, 2)
            valid = torch.from_numpy(found.valid)[:, None]
            network(signed(torch.where(valid, x, 0.5)))
    network.eval()
