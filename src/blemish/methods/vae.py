"""Convolutional variational autoencoder: what it cannot draw again is not normal.

[1] M. Marchetti, "Rilevazione di anomalie da immagini mediante deep-learning", MSc thesis,
    University of Bologna, 2022, chapter on CVAE: preset ``thesis``.
[2] D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv 1312.6114.
[3] O. Rybkin, K. Daniilidis, S. Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", ICML 2021, arXiv 2006.13202.
[4] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, arXiv
    1509.00519: active units.

Differs from [1]: the decoder's variance is learned [3], so that no weight between the two losses
has to be found; the divergence is faded in, or units die before they say anything; the network is
narrower where [1] has 98 % of its weights; the score is deterministic; the map is measured in units
of the usual error at each pixel, pooled over its worst half percent instead of all of it, and shown
on one scale for all images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blemish import losses
from blemish.devices import seeded
from blemish.errors import MissingExtraError, OptionError
from blemish.graphs import Graph
from blemish.light import add_without_light, without_light
from blemish.maps import Post
from blemish.methods.base import GraphOutput, Method, Output, Run, Size, State
from blemish.mixing import mean_view, mix_views
from blemish.model_file import part
from blemish.nets.conv_vae import ConvVAE
from blemish.network_graph import add_network
from blemish.options import option, to_json
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("The method vae", "train") from error

HELD_OUT = 0.15  # share of the parts that is not trained on but tells the usual error
BATCH = 8
ACTIVE = 0.01  # variance over images above which a latent unit says something [4]
CEILING = 99.5  # percentile of good maps that the difference picture shows as full
SMOOTHING = 2.0  # of the usual error, in pixels


@dataclass(frozen=True)
class VAEOptions:
    """Options of the variational autoencoder."""

    channels: tuple[int, ...] = option(
        (32, 64, 128, 256, 256, 256), "Channels of each stage; between stages sizes halve.", low=1
    )
    hidden: int = option(512, "Units of the dense layers around the code.", low=1)
    latent: int = option(128, "Units of the code.", low=1)
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
    epochs: int = option(100, "Times that every image is seen.", low=1)
    train_batch: int = option(32, "Views per training step.", low=1)
    learning_rate: float = option(1e-4, "Learning rate of Adam.", low=1e-9)
    schedule: str = option(
        "constant",
        "How the learning rate falls to zero.",
        choices=("constant", "linear", "cosine"),
    )
    clip: float = option(0.0, "Largest norm of the gradient; 0 = no limit.", low=0)
    draws: int = option(0, "Codes whose drawings are averaged; 0 = the mean code only.", low=0)
    centre: bool = option(True, "Read and draw the difference to the mean good image.")
    mix: bool = option(True, "Train on random mixtures of two good images.")
    local: float = option(
        8.0,
        "Differences smoother than this many pixels are light, no defect; 0 = all count.",
        low=0,
    )
    standardise: bool = option(True, "Measure errors in units of the usual error at each pixel.")
    blur: float = option(1.0, "Standard deviation of the map's blur in pixels.", low=0)
    pooling: str = option(
        "top",
        "Score: mean of the map, of its largest values, or maximum.",
        choices=("mean", "top", "max"),
    )
    top_share: float = option(0.001, "Share of pixels that pooling=top counts.", low=1e-6, high=1)
    difference_scale: str = option(
        "fixed",
        "The difference picture's scale: one for all images, or per image as in [1].",
        choices=("fixed", "per_image"),
    )


class VAE(Method):
    """A variational autoencoder of good parts."""

    Options = VAEOptions
    exportable = True
    default_size = (256, 256)
    presets = {  # noqa: RUF012
        "thesis": {
            "channels": (64, 128, 256, 512),
            "likelihood": "bernoulli",
            "fade_in": 0.0,
            "centre": False,
            "mix": False,
            "local": 0.0,
            "standardise": False,
            "blur": 0.0,
            "pooling": "mean",
            "difference_scale": "per_image",
            "image_size": "256",
            "fit": "stretch",
        },
        "small": {
            "channels": (8, 16, 32, 64, 64),
            "hidden": 256,
            "latent": 64,
            "epochs": 30,
            "train_batch": 4,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "local": 4.0,
            "blur": 0.7,
            "image_size": "auto:128",
        },
        "tiny": {
            "channels": (8, 16, 16),
            "hidden": 64,
            "latent": 8,
            "epochs": 20,
            "train_batch": 8,
            "learning_rate": 4e-3,
            "schedule": "cosine",
            "image_size": "48",
        },
    }

    options: VAEOptions

    def __init__(self, options: VAEOptions):
        super().__init__(options)
        if not options.channels:
            raise OptionError("channels is empty; the network needs a stage, such as channels=16.")

    @property
    def multiple(self) -> int:
        """As often as the encoder halves."""
        return ConvVAE.multiple(self.options.channels)

    @property
    def post(self) -> Post:
        """Blur and pooling as the options say."""
        if self.options.pooling == "max":
            return Post(blur=self.options.blur)
        share = 1.0 if self.options.pooling == "mean" else self.options.top_share
        return Post(blur=self.options.blur, pool="top_share", pool_value=share)

    def learn(self, samples: Samples, run: Run) -> None:
        """Train on most of the images; the usual error is measured on the others."""
        o = self.options
        self.size_ = samples.geometry.view_shape
        with seeded(run.seed):
            network = ConvVAE(self.size_, o.channels, o.hidden, o.latent, o.centre)
            optimiser = torch.optim.Adam(network.parameters(), lr=o.learning_rate, fused=True)
        count = sum(p.numel() for p in network.parameters())
        # Weights, gradients and two moments of Adam, 4 bytes each.
        run.say(f"vae: {count:,} parameters, about {16 * count / 1e9:.2g} GB to train them.")
        # Another salt than the calibration split: its end of the ranking is not here any more.
        trained_on, held_out = samples.hold_out(HELD_OUT, f"{run.seed}|usual error")
        if o.centre:
            mean, spread = mean_view(trained_on, BATCH)
            network.centre_on(torch.from_numpy(mean).permute(2, 0, 1), spread)
        identity = {"method": "vae", "options": to_json(o)}
        learner = Learner({"vae": network}, {"vae": optimiser}, self._step, identity)
        plan = Plan(o.epochs, o.train_batch, o.clip, o.schedule)
        train(learner, trained_on, plan, run, mix_views if o.mix else None)
        self.network_ = network
        self.active_units_ = self._count_active(samples)
        run.say(f"vae: {self.active_units_} of {o.latent} latent units are active.")
        self._measure(held_out, tiled=samples.geometry.tile > 0)

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Squared difference between each view and what the network draws of it."""
        drawn = np.stack([self._draw(view, ok) for view, ok in zip(x, valid, strict=True)])
        errors = _squared_error(x, drawn, valid, self.options.local)
        name = "squared difference"
        if self.options.difference_scale == "per_image":
            name += ", scaled per image"
            ceilings = errors.max(axis=(1, 2), keepdims=True)
        else:
            ceilings = np.full((len(x), 1, 1), self.ceiling_, np.float32)
        pictures = {"reconstruction": drawn, name: _glow(errors / np.maximum(ceilings, 1e-12))}
        return Output(errors / self.usual_, None, pictures)

    def export_graph(self, graph: Graph, x: str, valid: str, size: Size) -> GraphOutput:
        """The map of :meth:`predict_batch`; pictures are not exported."""
        inside = graph.add("Unsqueeze", valid, graph.integers(3))
        filled = graph.add("Where", inside, x, graph.floats(0.5))
        planes = graph.add("Transpose", filled, perm=[0, 3, 1, 2])
        drawer = _Drawer(self.network_, self._noise()).eval()
        (drawn,) = add_network(graph, drawer, planes, (3, *size))
        difference = graph.add("Sub", x, graph.add("Transpose", drawn, perm=[0, 2, 3, 1]))
        difference = graph.add("Where", inside, difference, graph.floats(0))
        if self.options.local:
            difference = add_without_light(graph, difference, valid, self.options.local, size)
        squared = graph.add("Mul", difference, difference)
        errors = graph.add("ReduceMean", squared, graph.integers(3), keepdims=0)
        errors = graph.add("Where", valid, errors, graph.floats(0))
        return GraphOutput(graph.add("Div", errors, graph.floats(self.usual_)), size)

    def state(self) -> State:
        """The network's weights, the usual error and the scale of the difference picture."""
        header = {
            "size": list(self.size_),
            "ceiling": self.ceiling_,
            "active_units": self.active_units_,
        }
        arrays: dict[str, NDArray[np.generic]] = {"usual": self.usual_}
        for name, tensor in self.network_.state_dict().items():
            arrays[f"network.{name}"] = tensor.numpy()
        return header, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        o = self.options
        self.size_ = (int(header["size"][0]), int(header["size"][1]))
        self.ceiling_ = float(header["ceiling"])
        self.active_units_ = int(header["active_units"])
        self.usual_ = np.asarray(arrays["usual"], np.float32)
        # On the meta device no weights are drawn only to be thrown away.
        with torch.device("meta"):
            network = ConvVAE(self.size_, o.channels, o.hidden, o.latent, o.centre)
        own = part(arrays, "network.")
        weights = {name: torch.from_numpy(np.array(array)) for name, array in own.items()}
        network.load_state_dict(weights, strict=True, assign=True)
        self.network_ = network.to(memory_format=torch.channels_last).eval()

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

    @torch.inference_mode()
    def _draw(self, view: Pixels, valid: NDArray[np.bool_]) -> Pixels:
        """(H, W, 3) to its reconstruction. One by one: a batch could round in another order."""
        mean, log_variance = self.network_.encode(_tensor(view, valid))
        noise = self._noise()
        codes = mean if noise is None else mean + (0.5 * log_variance).exp() * noise
        drawn = self.network_.decode(codes).mean(dim=0)
        return np.ascontiguousarray(drawn.permute(1, 2, 0).float().numpy())

    def _noise(self) -> Tensor | None:
        """(draws, latent), the same for every image; None = the mean code is drawn."""
        if not (self.options.draws and self.options.variational):
            return None
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.options.draws, self.options.latent, generator=generator)

    @torch.inference_mode()
    def _count_active(self, samples: Samples) -> int:
        """Latent units whose mean varies over the images [4]."""
        means = [
            self.network_.encode(_tensor(view, valid))[0]
            for batch in samples.batches(BATCH)
            for view, valid in zip(batch.x, batch.valid, strict=True)
        ]
        return int((torch.cat(means).var(dim=0, correction=0) > ACTIVE).sum())

    def _measure(self, samples: Samples, tiled: bool) -> None:
        """Learn how large the error of good parts usually is, and where."""
        found = []
        for batch in samples.batches(BATCH):
            pairs = zip(batch.x, batch.valid, strict=True)
            drawn = np.stack([self._draw(view, valid) for view, valid in pairs])
            errors = _squared_error(batch.x, drawn, batch.valid, self.options.local)
            found.append((errors, batch.valid))
        errors = np.concatenate([e for e, _ in found])  # (N, h, w)
        valid = np.concatenate([v for _, v in found])
        values = errors[valid]
        self.ceiling_ = float(np.percentile(values, CEILING)) if values.size else 1.0
        overall = max(float(values.mean()) if values.size else 1.0, 1e-8)
        self.usual_ = np.ones((1, 1), np.float32)
        if not self.options.standardise:
            return
        # A place in a tile is no place of the part.
        self.usual_ *= overall
        if not tiled:
            count = ndimage.gaussian_filter(valid.sum(axis=0).astype(np.float32), SMOOTHING)
            total = ndimage.gaussian_filter(errors.sum(axis=0), SMOOTHING)
            # A tenth of the overall error as floor: where nothing ever happens, noise is no news.
            local = np.where(count > 1e-3, total / np.maximum(count, 1e-3), overall)
            self.usual_ = (local + 0.1 * overall).astype(np.float32)


class _Drawer(torch.nn.Module):
    """What the network draws of a batch (B, 3, H, W), as one module that can be exported."""

    def __init__(self, network: ConvVAE, noise: Tensor | None):
        super().__init__()
        self.network = network
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.network.encode(x)
        if self.noise is None:
            return self.network.decode(mean)
        deviation = (0.5 * log_variance).exp()
        # One code per draw, (B, D, latent), drawn as if they were more images.
        codes = mean[:, None] + deviation[:, None] * self.noise
        drawn = self.network.decode(codes.flatten(0, 1))  # (B · D, 3, H, W)
        return drawn.reshape(-1, len(self.noise), *drawn.shape[1:]).mean(dim=1)


def _tensor(view: Pixels, valid: NDArray[np.bool_]) -> Tensor:
    """(H, W, 3) to (1, 3, H, W); mid grey where not valid, as in training."""
    filled = np.where(valid[:, :, None], view, np.float32(0.5))
    return torch.from_numpy(filled).permute(2, 0, 1)[None]


def _squared_error(
    x: Pixels, drawn: Pixels, valid: NDArray[np.bool_], local: float
) -> NDArray[np.float32]:
    """(B, H, W) float32: mean over the channels, 0 where not valid.

    With `local`, only what differs from the difference around it counts.
    """
    found = (x - drawn) * valid[..., None]
    if local:
        found = without_light(found, valid, local)
    return np.where(valid, np.square(found).mean(axis=3), 0).astype(np.float32)


def _glow(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, H, W) in [0, 1] to (B, H, W, 3): black, red, yellow, white."""
    return np.stack([values * 3, values * 3 - 1, values * 3 - 2], axis=3).clip(0, 1)
