"""What a GAN is: one file, one paper. It learns from good images and draws new ones.

The common part is here: options, networks, the running mean of the generator's weights, drawing and
judging. A file beside this one says what the judge is, what the losses are and when the generator
steps.

[1] S. Zhao, Z. Liu, J. Lin, J.-Y. Zhu, S. Han, "Differentiable Augmentation for Data-Efficient GAN
    Training", NeurIPS 2020, arXiv 2006.10738.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from blemish.devices import seeded
from blemish.errors import DataError, MissingExtraError, OptionError
from blemish.nets.generator_pair import FIRST, GROWTH, ImageGenerator, ImageJudge
from blemish.options import option, to_json
from blemish.preprocess import Geometry
from blemish.run import Run
from blemish.samples import Samples
from blemish.synthesis.diff_augment import POLICIES, diff_augment
from blemish.training import Learner, Moment, Plan, Tensors, train
from blemish.types import Image, Pixels

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("A GAN", "train") from error

BATCH = 16  # images that are drawn or judged at once
FEWEST = 32  # images below which a judge knows each of them before the generator has learned any


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # As printed, but for the learning rate: without the changes that came later.
    "thesis": {"policy": (), "average": 0.0},
    "small": {
        "image_size": "120x200",
        "channels": 32,
        "doublings": 3,
        "first_stride": 2,
        "first_norm": False,
    },
    "tiny": {
        "image_size": "30x50",
        "latent": 8,
        "channels": 8,
        "doublings": 1,
        "first_stride": 2,
        "epochs": 2,
    },
}


@dataclass(frozen=True)
class GANOptions:
    """Options of every GAN."""

    image_size: str = option("240x400", "WIDTHxHEIGHT of the images; photos are stretched to it.")
    latent: int = option(100, "Length of the noise that an image is drawn from.", low=1)
    channels: int = option(64, "Channels next to the image; deeper layers have more.", low=1)
    doublings: int = option(4, "Layers of the generator that double the size.", low=1, high=6)
    first_stride: int = option(
        1, "Stride of the judge's first layer: 2 needs a quarter of the time.", low=1, high=2
    )
    first_norm: bool = option(True, "A norm after the judge's first layer, too.")
    epochs: int = option(200, "Times that every image is seen.", low=1)
    train_batch: int = option(16, "Images per training step.", low=2)
    policy: tuple[str, ...] = option(
        ("translation", "cutout"),
        "Changes to all that the judge sees (DiffAugment); empty = none.",
        choices=tuple(POLICIES),
    )
    average: float = option(
        0.999, "Share that the drawn weights keep of their running mean; 0 = no mean.", high=0.99999
    )


class GAN:
    """Base of the GANs: what is the same in all of them.

    Attributes:
        Options: Flat frozen dataclass of options, the paper's values as defaults.
        critic: Whether the judge gives values without batch statistics, or logits with them.
        name: Registered name.
        presets: Name to option values.
    """

    Options: ClassVar[type]
    critic: ClassVar[bool]
    name: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    def __init__(self, options: Any):
        self.options = options
        self.size = _read_size(options)

    def learn(self, samples: Samples, run: Run) -> None:
        """Train on all images of `samples`, which has the geometry of :meth:`geometry`.

        Args:
            samples: Good images.
            run: Seed, device, curves, checkpoints. Always in float32, whatever its precision: a
                gradient's gradient needs it.

        Raises:
            DataError: Too few images.
            TrainingError: As for :func:`blemish.training.train`.
        """
        if len(samples) < FEWEST:
            raise DataError(
                f"{len(samples)} good images of {samples.data.name} are too few for a GAN: below "
                f"{FEWEST} it can only learn them by heart. Take more photos, or leave synthetic "
                "images be and fit with augmentation=aligned."
            )
        o = self.options
        with seeded(run.seed):
            shape = (o.latent, self.size, o.channels, o.doublings)
            networks: dict[str, nn.Module] = {
                "generator": ImageGenerator(*shape),
                "judge": ImageJudge(
                    self.size, o.channels, self.critic, o.first_norm, o.first_stride
                ),
                "average": ImageGenerator(*shape),
            }
            networks["average"].load_state_dict(networks["generator"].state_dict())
            optimisers = {
                name: torch.optim.Adam(
                    networks[name].parameters(), lr=o.learning_rate, betas=self.betas, fused=True
                )
                for name in ("generator", "judge")
            }
        count = sum(p.numel() for network in networks.values() for p in network.parameters())
        run.say(f"{self.name}: {count:,} parameters, {len(samples)} images.")
        learner = Learner(
            networks, optimisers, self._averaged, {"gan": self.name, "options": to_json(o)}
        )
        train(learner, samples, Plan(o.epochs, o.train_batch), replace(run, precision="32"))
        self.generator_, self.judge_ = networks["average"], networks["judge"]

    def geometry(self) -> Geometry:
        """Images are stretched to the size that is drawn."""
        return Geometry(self.size, fit="stretch")

    def draw(self, count: int, seed: int, first: int = 0) -> Iterator[Image]:
        """New images, (H, W, 3) uint8 each; number n is the same however many are asked for.

        Args:
            count: How many.
            seed: Of their noise.
            first: Number of the first one.
        """
        for start in range(first, first + count, BATCH):
            numbers = range(start, min(start + BATCH, first + count))
            noise = [
                np.random.default_rng([seed, n]).standard_normal(self.options.latent, np.float32)
                for n in numbers
            ]
            with torch.inference_mode():
                drawn = self.generator_(torch.from_numpy(np.stack(noise)))
            pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            yield from np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())

    def judge(self, x: Pixels) -> NDArray[np.float64]:
        """How real images look to the judge, (B,); higher = more real.

        Args:
            x: (B, H, W, 3) float32 RGB in [0, 1], of the size that is drawn.
        """
        images = torch.from_numpy(x).permute(0, 3, 1, 2) * 2 - 1
        with torch.inference_mode():
            values = [self.judge_(part)[0] for part in torch.split(images, BATCH)]
        return torch.cat(values).double().numpy()

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's two decays."""
        raise NotImplementedError

    def step(self, networks: Mapping[str, Any], real: Tensor, now: Moment) -> Mapping[str, Tensor]:
        """One step: updates ``judge`` and, when it is its turn, ``generator``.

        Args:
            networks: ``generator``, ``judge``.
            real: (B, 3, H, W) in [-1, 1].
            now: Where the training is.

        Returns:
            The loss terms.
        """
        raise NotImplementedError

    def noise(self, real: Tensor) -> Tensor:
        """Fresh noise for as many images."""
        return torch.randn(len(real), self.options.latent, device=real.device)

    def changed(self, images: Tensor) -> Tensor:
        """As the judge sees them [1]."""
        return diff_augment(images, self.options.policy)

    def _averaged(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment
    ) -> Mapping[str, Tensor]:
        """A step, and then the running mean of the generator moves a little."""
        terms = self.step(networks, batch.x * 2 - 1, now)
        # Early on the mean follows quickly, or it would keep random weights for long.
        keep = min(self.options.average, (1 + now.step) / (10 + now.step))
        with torch.no_grad():
            for kind in ("parameters", "buffers"):
                pairs = zip(
                    getattr(networks["average"], kind)(),
                    getattr(networks["generator"], kind)(),
                    strict=True,
                )
                for mean, value in pairs:
                    if self.options.average and mean.is_floating_point():
                        mean.lerp_(value, 1 - keep)
                    else:
                        mean.copy_(value)
        return terms


def _read_size(options: GANOptions) -> tuple[int, int]:
    """(H, W) of ``WIDTHxHEIGHT``."""
    unit = FIRST * GROWTH**options.doublings
    found = re.fullmatch(r"(\d+)[x×](\d+)", options.image_size.strip().lower())
    sides = (int(found[2]), int(found[1])) if found else (0, 0)
    if not all(sides) or any(side % unit for side in sides):
        raise OptionError(
            f"image_size={options.image_size!r} must be WIDTHxHEIGHT, both a multiple of {unit} "
            f"(5 · 2^doublings): such as {3 * unit}x{5 * unit}."
        )
    return sides
