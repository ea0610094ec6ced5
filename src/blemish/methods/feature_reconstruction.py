"""What ADTR and ADTR+ share: frozen features, a network that draws them again, the map.

[1] Z. You, K. Yang, W. Luo, L. Cui, Y. Zheng, X. Le, "ADTR: Anomaly Detection Transformer with
    Feature Reconstruction", ICONIP 2022, arXiv 2209.01816.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from blemish.backbones.base import Backbone, Features, to_half
from blemish.backbones.joining import add_join, channel_scale, join_grids
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.devices import seeded
from blemish.errors import MissingExtraError
from blemish.features.feature_bank import FeatureBank
from blemish.features.feature_cache import cached
from blemish.features.view_feed import View, ViewFeed, good_views
from blemish.graphs import Graph
from blemish.maps import Post
from blemish.methods.base import GraphOutput, Method, Output, Run, State
from blemish.model_file import part
from blemish.nets.feature_transformer import RECONSTRUCTORS, Size, make_reconstructor
from blemish.network_graph import add_network
from blemish.options import option, to_json
from blemish.preprocess import add_cell_valid, cell_valid
from blemish.samples import Samples
from blemish.training import Learner, Moment, Plan, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("Reconstructing features", "train") from error

SCALE_VIEWS = 64  # views that tell how much a channel varies


@dataclass(frozen=True)
class ReconstructionOptions:
    """Options of methods that reconstruct features."""

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
    attention_dropout: float | None = option(
        None,
        "Dropout of the weights of attention; none = as dropout. With 0 CPUs fuse attention.",
        low=0,
        high=0.9,
    )
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


PRESETS: dict[str, dict[str, Any]] = {
    "cifar": {"cell": 4, "image_size": "32", "train_batch": 128, "pool": 0},
    "small": {
        "backbone": "filter_bank",
        "strides": (8, 16),
        "width": 128,
        "layers": 2,
        "hidden": 512,
        "attention_dropout": 0.0,
        "epochs": 20,
        "train_batch": 4,
        "image_size": "auto:256",
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


class ReconstructsFeatures(Method):
    """A method whose map is the difference between features and what was drawn of them."""

    exportable = True
    default_size = (256, 256)

    options: ReconstructionOptions

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

    def _prepare(self, samples: Samples, run: Run) -> FeatureBank:
        """Open the backbone; features of these samples are computed once."""
        o = self.options
        self.backbone_: Backbone = open_backbone(o.backbone, o.weights, o.strides)
        height, width = samples.geometry.view_shape
        self.grid_ = (height // o.cell, width // o.cell)
        remembering = cached(self.backbone_, samples, run)
        self._measure_scale(samples.normals, remembering)
        with seeded(run.seed):
            self.network_ = make_reconstructor(o.reconstructor, self._size())
        return FeatureBank(lambda x: self._join(remembering, x), o.cache_mb)

    def _train(
        self,
        name: str,
        samples: Samples,
        bank: FeatureBank,
        run: Run,
        defects: Sequence[View] = (),
        share: float = 0.0,
    ) -> None:
        """Train on good views and, a share of every batch, on defective ones."""
        o = self.options
        count = sum(p.numel() for p in self.network_.parameters())
        run.say(f"{name}: {count:,} parameters, {self.grid_[0]}×{self.grid_[1]} cells.")
        with seeded(run.seed):
            optimiser = torch.optim.AdamW(
                self.network_.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay
            )

        def step(
            networks: Mapping[str, Any], batch: tuple[Tensor, ...], now: Moment
        ) -> Mapping[str, Tensor]:
            kept, *cells = batch
            features = self._scaled(kept.float())
            loss = self._loss(networks[name](features) - features, *(c.float() for c in cells))
            now.update(name, loss)
            return {"loss": loss}

        identity = {"method": name, "options": to_json(o)}
        learner = Learner({name: self.network_}, {name: optimiser}, step, identity)
        own = max(1, round(o.train_batch * (1 - share)))
        plan = Plan(o.epochs, own, o.clip, "drop", decay=o.drop, drop_at=o.drop_at)
        feed = ViewFeed(good_views(samples, self.grid_), bank, defects, share)
        train(learner, samples, plan, run, feed=feed)

    def _loss(
        self, difference: Tensor, valid: Tensor, anomalous: Tensor, defective: Tensor
    ) -> Tensor:
        """Loss of the differences (B, C, h, w) at cells.

        Args:
            difference: Reconstruction minus features.
            valid: (B, h, w), 0 or 1.
            anomalous: (B, h, w), 0 or 1.
            defective: (B,), 0 or 1.
        """
        raise NotImplementedError

    def _scaled(self, kept: Tensor) -> Tensor:
        """(B, h, w, C) as the backbone gives them to (B, C, h, w) as the network sees them."""
        mean, scale = (torch.from_numpy(a).to(kept.device) for a in (self.mean_, self.scale_))
        scaled: Tensor = (kept - mean) * scale
        return scaled.permute(0, 3, 1, 2)

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
        return np.asarray(_Difference(self.network_)(features)[0].numpy(), np.float32)

    def export_graph(self, graph: Graph, x: str, valid: str, size: tuple[int, int]) -> GraphOutput:
        """The same as :meth:`predict_batch`."""
        grids = [(size[0] // s, size[1] // s) for s in self.backbone_.strides]
        joined = add_join(graph, self.backbone_.export(graph, x, size), grids, self.grid_)
        half = graph.add("Cast", _add_within_half(graph, joined), to=TensorProto.FLOAT16)
        kept = graph.add("Cast", half, to=TensorProto.FLOAT)
        mean, scale = (graph.floats(v[:, None, None]) for v in (self.mean_, self.scale_))
        features = graph.add("Mul", graph.add("Sub", kept, mean), scale)
        shape = (len(self.mean_), *self.grid_)
        (maps,) = add_network(graph, _Difference(self.network_).eval(), features, shape)
        inside = add_cell_valid(graph, valid, size, self.grid_)
        return GraphOutput(graph.add("Where", inside, maps, graph.floats(0)), self.grid_)

    def state(self) -> State:
        """Backbone, scale of its channels, and reconstructor."""
        header, weights = self.backbone_.state()
        arrays: dict[str, NDArray[np.generic]] = {"mean": self.mean_, "scale": self.scale_}
        arrays |= {f"backbone.{name}": array for name, array in weights.items()}
        arrays |= {f"network.{k}": t.numpy() for k, t in self.network_.state_dict().items()}
        return {"backbone": header, "grid": list(self.grid_)}, arrays

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        self.backbone_ = restore_backbone(header["backbone"], part(arrays, "backbone."))
        self.grid_ = (int(header["grid"][0]), int(header["grid"][1]))
        self.mean_ = np.asarray(arrays["mean"], np.float32)
        self.scale_ = np.asarray(arrays["scale"], np.float32)
        with torch.random.fork_rng(devices=[]):
            self.network_ = make_reconstructor(self.options.reconstructor, self._size())
        own = part(arrays, "network.")
        self.network_.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in own.items()})
        self.network_.eval()

    def _size(self) -> Size:
        o = self.options
        channels = sum(self.backbone_.channels)
        dropped = o.dropout if o.attention_dropout is None else o.attention_dropout
        return Size(channels, self.grid_, o.width, o.layers, o.heads, o.hidden, o.dropout, dropped)

    def _join(self, backbone: Backbone, x: Pixels) -> Features:
        """(B, H, W, 3) to (B, h, w, C) with the precision of float16, as the features kept are."""
        return to_half(join_grids(backbone(x), self.grid_)).astype(np.float32)

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
        self.scale_ = channel_scale(deviation)


class _Difference(torch.nn.Module):
    """Features (B, C, h, w) to the length of what is not drawn again, (B, h, w)."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        difference: Tensor = self.network(features) - features
        return difference.square().sum(dim=1).sqrt()


def _add_within_half(graph: Graph, values: str) -> str:
    """What :func:`to_half` does before it rounds."""
    limit = float(np.finfo(np.float16).max)
    return graph.add("Clip", values, graph.floats(-limit), graph.floats(limit))
