"""ADTR: features of a frozen network, drawn again by a transformer that starts from a query.

[1] Z. You, K. Yang, W. Luo, L. Cui, Y. Zheng, X. Le, "ADTR: Anomaly Detection Transformer with
    Feature Reconstruction", ICONIP 2022, arXiv 2209.01816.

There is no published program. Where [1] is silent, what follows is a choice: see
``nets/feature_transformer.py`` for the network; the gradient is clipped; the last epoch is kept;
the score is the largest mean over 16 × 16 pixels of the map. Differs from [1]: cells outside the
region of interest and padding do not count; channels of ``filter_bank`` are centred and divided by
their deviation over good parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Backbone, Features
from blemish.backbones.feature_bank import FeatureBank
from blemish.backbones.feature_cache import cached
from blemish.backbones.joining import join_grids
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.devices import seeded
from blemish.errors import MissingExtraError
from blemish.maps import Post
from blemish.methods.base import Method, Output, Run, State
from blemish.nets.feature_transformer import RECONSTRUCTORS, Size, make_reconstructor
from blemish.options import option, to_json
from blemish.preprocess import cell_valid
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, Tensors, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor
    from torch.nn.functional import adaptive_max_pool2d
except ImportError as error:
    raise MissingExtraError("The method adtr", "train") from error

SCALE_VIEWS = 64  # views that tell how much a channel varies
LARGEST = 65504  # of half precision


@dataclass(frozen=True)
class ADTROptions:
    """Options of ADTR."""

    backbone: str = option("efficientnet_b4", "Backbone: filter_bank, or any timm model.")
    weights: str | None = option(None, "Weights of a timm model: a file, 'random' or 'download'.")
    strides: tuple[int, ...] = option((2, 4, 8, 16, 32), "Feature maps to join, by stride.")
    cell: int = option(16, "Pixels per cell of the grid that is drawn again.", low=1)
    reconstructor: str = option(
        "transformer", "What draws the features again.", choices=RECONSTRUCTORS
    )
    width: int = option(256, "Channels of a token.", low=2)
    layers: int = option(4, "Layers of the encoder, and of the decoder.", low=1)
    heads: int = option(8, "Attention heads.", low=1)
    hidden: int = option(1024, "Width of the feed-forward parts.", low=1)
    dropout: float = option(0.1, "Dropout while training.", low=0, high=0.9)
    epochs: int = option(500, "Times that every view is seen.", low=1)
    train_batch: int = option(16, "Views per training step.", low=1)
    learning_rate: float = option(1e-4, "Learning rate of AdamW.", low=1e-9)
    weight_decay: float = option(1e-4, "Weight decay of AdamW.", low=0)
    drop_at: float = option(0.8, "Share of the steps after which the rate falls.", low=0, high=1)
    drop: float = option(0.1, "Factor by which it falls.", low=1e-6, high=1)
    clip: float = option(0.1, "Largest norm of the gradient; 0 = no limit.", low=0)
    pool: int = option(16, "Window of the score in pixels; 0 = mean of the map.", low=0)
    standardise: bool | None = option(
        None,
        "Centre channels, divide by their deviation over good parts; none = for filter_bank only.",
    )
    cache_mb: float = option(1000.0, "Memory for features, in MB (10^6 bytes).", low=0)


class ADTR(Method):
    """What a transformer that knows good parts cannot draw again is not normal."""

    Options: type = ADTROptions
    name = "adtr"
    default_size = (256, 256)
    presets = {  # noqa: RUF012
        "cifar": {"cell": 4, "image_size": "32", "train_batch": 128, "pool": 0},
        "small": {
            "backbone": "filter_bank",
            "strides": (8, 16),
            "width": 128,
            "layers": 2,
            "hidden": 512,
            "epochs": 60,
            "learning_rate": 5e-4,
        },
        "tiny": {
            "backbone": "filter_bank",
            "strides": (8,),
            "cell": 8,
            "width": 32,
            "layers": 1,
            "heads": 4,
            "hidden": 64,
            "epochs": 30,
            "train_batch": 6,
            "learning_rate": 3e-3,
            "pool": 8,
            "image_size": "48",
        },
    }

    options: ADTROptions

    @property
    def multiple(self) -> int:
        """Whole cells of the grid and of every feature map."""
        return math.lcm(self.options.cell, *self.options.strides)

    @property
    def post(self) -> Post:
        """The largest mean over a window, as [1] has it; for tiny images the mean of the map."""
        if not self.options.pool:
            return Post(pool="top_share", pool_value=1.0)
        return Post(pool="mean_pool", pool_value=self.options.pool)

    def learn(self, samples: Samples, run: Run) -> None:
        """Train the reconstructor on the features of good parts."""
        self._open(samples)
        encode = cached(self.backbone_, samples.normals, run)
        bank = FeatureBank(lambda x: self._join(encode, x), self.options.cache_mb)
        self._measure_scale(samples.normals, encode)
        with seeded(run.seed):
            self.network_ = make_reconstructor(self.options.reconstructor, self._size())
        self._train(samples.normals, bank, run)

    def _train(self, samples: Samples, bank: FeatureBank, run: Run, augment: Any = None) -> None:
        o, name = self.options, self.name
        count = sum(p.numel() for p in self.network_.parameters())
        run.say(f"{name}: {count:,} parameters, {self.grid_[0]}×{self.grid_[1]} cells.")
        with seeded(run.seed):
            optimiser = torch.optim.AdamW(
                self.network_.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay
            )
        learner = Learner(
            {name: self.network_},
            {name: optimiser},
            lambda nets, batch, now: self._step(nets[name], batch, now, bank),
            {"method": name, "options": to_json(o)},
        )
        plan = Plan(o.epochs, o.train_batch, o.clip, "drop", decay=o.drop, drop_at=o.drop_at)
        train(learner, samples, plan, run, augment)

    def _step(
        self, network: Any, batch: Tensors, now: Moment, bank: FeatureBank
    ) -> Mapping[str, Tensor]:
        features, valid = self._features(batch, bank)
        error = (network(features) - features).square().mean(dim=1)
        loss = (error * valid).sum() / valid.sum().clamp(min=1)
        now.update(self.name, loss)
        return {"loss": loss}

    def _features(self, batch: Tensors, bank: FeatureBank) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) features and (B, h, w) valid cells of a batch."""
        x = batch.x
        kept = bank.take(batch.places, x.permute(0, 2, 3, 1).cpu().numpy())
        features = (
            torch.from_numpy((kept - self.mean_) * self.scale_).permute(0, 3, 1, 2).to(x.device)
        )
        return features, adaptive_max_pool2d(batch.valid, self.grid_)[:, 0]

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Length of the difference at every cell."""
        maps = np.stack([self._difference(view) for view in x])
        cells = np.stack([cell_valid(v, self.grid_) for v in valid])
        return Output(np.where(cells, maps, np.float32(0)))

    @torch.inference_mode()
    def _difference(self, view: Pixels) -> NDArray[np.float32]:
        """(h, w) of one view. One by one: a batch could round in another order."""
        kept = self._join(self.backbone_, view[None])
        features = torch.from_numpy((kept - self.mean_) * self.scale_).permute(0, 3, 1, 2)
        difference = self.network_(features) - features
        return np.asarray(difference[0].square().sum(dim=0).sqrt().numpy(), np.float32)

    def state(self) -> State:
        """Backbone, scale of its channels, and reconstructor."""
        header, weights = self.backbone_.state()
        arrays: dict[str, NDArray[np.generic]] = {"mean": self.mean_, "scale": self.scale_}
        arrays |= {f"backbone.{name}": array for name, array in weights.items()}
        arrays |= {f"network.{k}": t.numpy() for k, t in self.network_.state_dict().items()}
        return {"backbone": header, "grid": list(self.grid_)}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        self.backbone_ = restore_backbone(header["backbone"], _part(arrays, "backbone."))
        self.grid_ = (int(header["grid"][0]), int(header["grid"][1]))
        self.mean_ = np.asarray(arrays["mean"], np.float32)
        self.scale_ = np.asarray(arrays["scale"], np.float32)
        with torch.random.fork_rng(devices=[]):
            self.network_ = make_reconstructor(self.options.reconstructor, self._size())
        own = _part(arrays, "network.")
        self.network_.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in own.items()})
        self.network_.eval()

    def _open(self, samples: Samples) -> None:
        o = self.options
        self.backbone_: Backbone = open_backbone(o.backbone, o.weights, o.strides)
        height, width = samples.geometry.view_shape
        self.grid_ = (height // o.cell, width // o.cell)

    def _size(self) -> Size:
        o = self.options
        channels = sum(self.backbone_.channels)
        return Size(channels, self.grid_, o.width, o.layers, o.heads, o.hidden, o.dropout)

    def _join(self, backbone: Backbone, x: Pixels) -> Features:
        """(B, H, W, 3) to (B, h, w, C) with the precision of float16, as the features kept are."""
        joined = join_grids(backbone(x), self.grid_)
        return joined.clip(-LARGEST, LARGEST).astype(np.float16).astype(np.float32)

    def _measure_scale(self, samples: Samples, backbone: Backbone) -> None:
        channels = sum(self.backbone_.channels)
        self.mean_, self.scale_ = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        wanted = self.options.standardise
        if not (self.options.backbone == "filter_bank" if wanted is None else wanted):
            return
        places = samples.places
        some = places[:: max(1, len(places) // SCALE_VIEWS)]
        values = np.concatenate(
            [self._join(backbone, samples.take([place]).x).reshape(-1, channels) for place in some]
        )
        self.mean_, deviation = values.mean(axis=0), values.std(axis=0)
        # A channel that never varies says nothing of good parts, and any change there is news.
        floor = max(float(deviation.max()) * 1e-3, 1e-4)
        self.scale_ = np.asarray(1 / np.maximum(deviation, floor), np.float32)


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
