"""AE-XAD: an autoencoder that draws good parts as they are, and defects as something else.

[1] F. Angiulli, F. Fassetti, L. Ferragina, S. Nisticò, "Explaining Anomalies through
    Semi-supervised Autoencoders", Array, 2025.
[2] A later thesis on [1] with a vision transformer as encoder: preset ``thesis``.

It learns from a few marked defects too: never rank it beside methods that saw none.

Differs from [1], where [1] is silent: see ``nets/two_branch.py`` (head), ``adaptive_blur.py``
(short runs), ``augmentation/cut_paste.py`` (placement). Differs from [2]: normalisation, tokens
of several blocks, a head that reaches 2, and what is fine-tuned starts from pre-trained weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish import losses
from blemish.adaptive_blur import RULES, Rule, heat_and_score
from blemish.augmentation.cut_paste import PLACEMENTS, Pasting
from blemish.backbones.base import Backbone, Features
from blemish.backbones.encoders import REGIMES, EncoderPlan, open_encoder, restore_encoder
from blemish.backbones.joining import join_grids
from blemish.backbones.opening import open_backbone, restore_backbone
from blemish.defect_pool import DefectPool, add_noise, make_pool
from blemish.devices import seeded
from blemish.errors import MissingExtraError, OptionError
from blemish.features.feature_bank import FeatureBank
from blemish.features.feature_cache import cached
from blemish.methods.base import Method, Output, Run, State
from blemish.model_file import part
from blemish.nets.two_branch import (
    HEADS,
    STRIDE,
    ConvReduction,
    Drawer,
    TokenReduction,
    TwoBranchDecoder,
    shown,
)
from blemish.options import option, to_json
from blemish.samples import Batch, Samples
from blemish.training import Augment, Learner, Moment, Plan, Tensors, train
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("The method aexad", "train") from error

BACKBONES = {"cnn": "resnet50", "vit": "vit_base_patch16_224"}
THIRD = np.full(3, 1 / 3, np.float32)  # a product with it is a fast mean of the channels
ADVICE = "backbone=filter_bank (preset small) needs none."


@dataclass(frozen=True)
class AEXADOptions:
    """Options of AE-XAD."""

    encoder: str = option("cnn", "Kind of encoder.", choices=("cnn", "vit"))
    backbone: str | None = option(
        None, "filter_bank or a timm model; none = resnet50 (cnn), vit_base_patch16_224 (vit)."
    )
    weights: str | None = option(None, "Weights of a timm model: a file, 'random' or 'download'.")
    regime: str = option(
        "frozen",
        "Which weights of the encoder are trained; scratch starts from random ones.",
        choices=REGIMES,
    )
    strides: tuple[int, ...] = option((8,), "Feature maps of a cnn to join, 8 first.")
    blocks: tuple[int, ...] = option(
        (), "Blocks of a vit whose tokens are joined, from 1; empty = half, ¾ and all of the way."
    )
    normalise: bool = option(True, "Normalise pixels as in the pre-training (vit, trained cnn).")
    stem: bool = option(False, "Two trained convolutions before the encoder, as in the thesis.")
    reduction: str = option(
        "three", "Convolutions from a cnn's features to the code.", choices=("three", "single")
    )
    order: str = option(
        "conv_first", "Order within a decoder block.", choices=("conv_first", "up_first")
    )
    kernel: int = option(4, "Side of the transposed convolutions.", choices=(2, 4))
    gate: str = option(
        "groups", "Branch without parameters: 8 maps, or one.", choices=("groups", "squares")
    )
    head: str = option("relu", "What makes pixels of the last layer.", choices=tuple(HEADS))
    target: str = option(
        "value",
        "What is drawn instead of a defect: a value, 1 - x, or 0 for bright and 1 for dark.",
        choices=("value", "inverse", "step"),
    )
    target_value: float = option(2.0, "The value of target=value, outside [0, 1].")
    per_pixel: bool = option(False, "Divide errors per pixel instead of per channel.")
    copies: int = option(5, "Copies of each marked image, against …", low=0)
    pastes: int = option(10, "… so many images with its defect pasted; 0 = none.", low=0)
    larger_pool: int = option(1, "Times more pasted images are made than pastes says.", low=1)
    fresh: bool = option(False, "Paste anew in every step instead of from a pool.")
    placement: str = option("object", "Where defects are pasted.", choices=PLACEMENTS)
    rotation: float = option(20.0, "Largest angle of a pasted defect in degrees.", low=0, high=180)
    zoom_out: float = option(0.7, "Smallest zoom of a pasted defect.", low=0.05, high=1)
    zoom_in: float = option(1.3, "Largest zoom of a pasted defect.", low=1, high=20)
    shift: float = option(0.1, "Largest shift of placement=near, share of the image.", low=0)
    noise: float = option(0.0, "Deviation of noise on all training images alike.", low=0, high=1)
    defects_only: bool = option(False, "Learn from defective images only; good ones calibrate.")
    defect_share: float = option(1 / 3, "Share of defective views in a batch.", low=0.01, high=0.9)
    epochs: int = option(200, "Times that every good image is seen.", low=1)
    train_batch: int = option(16, "Views per training step.", low=2)
    optimiser: str = option("adam", "Optimiser.", choices=("adam", "adamw"))
    learning_rate: float = option(1e-3, "Learning rate.", low=1e-9)
    encoder_rate: float = option(1e-5, "Learning rate of a trained encoder.", low=1e-9)
    weight_decay: float = option(1e-4, "Weight decay; the loss is a sum.", low=0)
    schedule: str = option(
        "exponential",
        "How learning rates fall.",
        choices=("exponential", "constant", "linear", "cosine"),
    )
    decay: float = option(0.985, "Factor per epoch of schedule=exponential.", low=0.01, high=1)
    clip: float = option(0.0, "Largest norm of the gradient; 0 = no limit.", low=0)
    radius: str = option("runs", "How the radius of the filter is found.", choices=RULES)
    score: str = option("mean", "Mean of error × filtered error, or norm.", choices=("mean", "l2"))
    cache_mb: float = option(1000.0, "Memory for frozen features, in MB (10^6 bytes).", low=0)


class AEXAD(Method):
    """Learns to draw marked defects as something that no image holds."""

    Options = AEXADOptions
    supervision = "masks"
    default_size = (224, 224)
    presets = {  # noqa: RUF012
        "thesis": {
            "encoder": "vit",
            "blocks": (12,),
            "normalise": False,
            "stem": True,
            "kernel": 2,
            "head": "sigmoid",
            "per_pixel": True,
            "placement": "uniform",
            "train_batch": 32,
            "optimiser": "adamw",
            "learning_rate": 5e-4,
            "encoder_rate": 1e-4,
            "weight_decay": 1e-5,
            "schedule": "cosine",
            "clip": 1.0,
            "radius": "boxes",
            "score": "l2",
            "image_size": "224",
            "fit": "stretch",
            "interpolation": "nearest",
        },
        "small": {
            "backbone": "filter_bank",
            "reduction": "single",
            "larger_pool": 2,
            "epochs": 30,
            "decay": 0.9,
            "image_size": "auto:160",
        },
        "tiny": {
            "backbone": "filter_bank",
            "reduction": "single",
            "pastes": 5,
            "epochs": 14,
            "train_batch": 6,
            "learning_rate": 3e-3,
            "decay": 0.9,
            "image_size": "48",
        },
    }

    options: AEXADOptions

    def __init__(self, options: AEXADOptions):
        super().__init__(options)
        o = options
        if not o.strides or o.strides[0] != STRIDE:
            raise OptionError(
                f"strides={o.strides} must start with {STRIDE}: the decoder draws {STRIDE}×{STRIDE}"
                " pixels per cell."
            )
        if o.target == "value" and 0 <= o.target_value <= 1:
            raise OptionError(
                f"target_value={o.target_value} is the value of some good pixel; use one outside "
                "[0, 1], such as 2."
            )
        if self._name == "filter_bank" and not self._arrays:
            raise OptionError(
                "filter_bank is not trained; use encoder=cnn, regime=frozen, no stem."
            )

    @property
    def _name(self) -> str:
        return self.options.backbone or BACKBONES[self.options.encoder]

    @property
    def _arrays(self) -> bool:
        """Whether the encoder is a backbone: arrays in, arrays out."""
        return self.options.encoder == "cnn" and self._frozen

    @property
    def _frozen(self) -> bool:
        """Whether the features of a view never change."""
        return self.options.regime == "frozen" and not self.options.stem

    @property
    def multiple(self) -> int:
        """Cells of the code, patches of a vit."""
        if self.options.encoder == "cnn":
            return math.lcm(STRIDE, *self.options.strides)
        patch = re.search(r"patch(\d+)", self._name)
        return math.lcm(2 * STRIDE, int(patch[1]) if patch else 1)

    def learn(self, samples: Samples, run: Run) -> None:
        """Train the decoder, and the encoder where its regime says so."""
        o = self.options
        how = Pasting(o.rotation, (o.zoom_out, o.zoom_in), o.shift, o.placement)
        pool = make_pool(
            samples,
            o.copies,
            o.pastes,
            how,
            run.seed,
            larger=o.larger_pool,
            fresh=o.fresh and not o.defects_only,
            whole=o.defects_only,
        )
        with seeded(run.seed):
            channels = self._open()
            # The mean of a few good views is where the head starts.
            mean = float(next(iter(samples.normals.batches(8))).x.mean())
            drawer = self._make_drawer(channels, mean)
        self.drawer_, networks = drawer, dict[str, nn.Module](drawer=drawer)
        if not self._frozen:
            networks["encoder"] = self.encoder_
        count = sum(p.numel() for n in networks.values() for p in n.parameters() if p.requires_grad)
        own, more = len(pool.originals), len(pool.pasted)
        run.say(f"aexad: {count:,} trained parameters; {own} marked views, {more} pasted ones.")
        backbone = None
        if self._arrays and not (o.fresh or o.noise):  # nothing of those would come again
            backbone = cached(self.backbone_, samples, run)
        bank = FeatureBank(partial(self._encode, backbone=backbone), 0 if o.noise else o.cache_mb)
        learner = Learner(
            networks,
            {"aexad": self._make_optimiser(networks)},
            lambda nets, batch, now: self._step(nets, batch, now, bank),
            {"method": "aexad", "options": to_json(o)},
        )
        # An epoch is a pass over the good images; the defective ones are drawn beside them.
        seen, own = samples.normals, o.train_batch - max(1, round(o.train_batch * o.defect_share))
        if o.defects_only:
            seen, own = samples.part(item.key for item in pool.originals), o.train_batch
        plan = Plan(o.epochs, max(1, own), o.clip, o.schedule, decay=o.decay)
        train(learner, seen, plan, run, self._augment(pool))
        self._warn_of_head(samples, run)

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """How far each view is from what was drawn, filtered as wide as it is itself."""
        # One by one: a batch could round in another order.
        found = [self._judge(view, inside) for view, inside in zip(x, valid, strict=True)]
        maps, scores, drawn = zip(*found, strict=True)
        return Output(
            np.stack(maps), np.asarray(scores, float), {"reconstruction": np.stack(drawn)}
        )

    def state(self) -> State:
        """Weights of the decoder and of the encoder."""
        arrays = {f"drawer.{k}": t.numpy() for k, t in self.drawer_.state_dict().items()}
        if self._arrays:
            header, own = self.backbone_.state()
        else:
            header, own = self.encoder_.state()
        return {"encoder": header}, {**arrays, **{f"encoder.{k}": a for k, a in own.items()}}

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what :meth:`state` gave."""
        own = part(arrays, "encoder.")
        with torch.random.fork_rng(devices=[]):
            if self._arrays:
                self.backbone_ = restore_backbone(header["encoder"], own)
                channels = sum(self.backbone_.channels)
            else:
                self.encoder_ = restore_encoder(header["encoder"])
                _load(self.encoder_, own)
                channels = self.encoder_.channels
            self.drawer_ = self._make_drawer(channels, 0.5)
        _load(self.drawer_, part(arrays, "drawer."))

    def _open(self) -> int:
        """Open the encoder; returns the channels of its features."""
        o = self.options
        if self._arrays:
            self.backbone_ = open_backbone(self._name, o.weights, o.strides)
            return sum(self.backbone_.channels)
        plan = EncoderPlan(o.encoder, self._name, o.strides, o.blocks, o.normalise, o.stem)
        self.encoder_ = open_encoder(plan, o.regime, o.weights, ADVICE).eval()
        return self.encoder_.channels

    def _make_drawer(self, channels: int, mean: float) -> Drawer:
        o = self.options
        single = o.reduction == "single"
        reduce = TokenReduction(channels) if o.encoder == "vit" else ConvReduction(channels, single)
        return Drawer(reduce, TwoBranchDecoder(o.order, o.kernel, o.gate, o.head, mean))

    def _make_optimiser(self, networks: Mapping[str, nn.Module]) -> torch.optim.Optimizer:
        o = self.options
        groups: list[dict[str, Any]] = [{"params": list(networks["drawer"].parameters())}]
        if "encoder" in networks:
            own = [p for p in self.encoder_.network.parameters() if p.requires_grad]
            groups[0]["params"] += list(self.encoder_.stem.parameters())
            # Random weights have nothing to lose by the full rate.
            rate = o.learning_rate if o.regime == "scratch" else o.encoder_rate
            groups += [{"params": own, "lr": rate}] if own else []
        make = torch.optim.AdamW if o.optimiser == "adamw" else torch.optim.Adam
        return make(groups, lr=o.learning_rate, weight_decay=o.weight_decay)

    def _augment(self, pool: DefectPool) -> Augment:
        """Defective views beside the good ones of a batch, noise on all."""
        o = self.options

        def augment(batch: Batch, generator: np.random.Generator) -> Batch:
            if o.defects_only:
                mixed = pool.replace(batch, generator)
            else:
                count = round(len(batch.x) * o.defect_share / (1 - o.defect_share))
                mixed = pool.mix(batch, max(1, count), generator)
            return add_noise(mixed, o.noise, generator)

        return augment

    def _step(
        self, networks: Mapping[str, Any], batch: Tensors, now: Moment, bank: FeatureBank
    ) -> Mapping[str, Tensor]:
        o, x = self.options, batch.x
        size = (x.shape[2], x.shape[3])
        if self._frozen:
            kept = bank.take(batch.places, lambda i: x[i].permute(1, 2, 0).cpu().numpy())
            features = torch.from_numpy(kept).to(x.device).float().permute(0, 3, 1, 2)
        else:
            features = networks["encoder"](x)
        drawn = networks["drawer"](features, size)
        loss = losses.draw_or_replace(
            x, drawn.float(), batch.mask, batch.valid, o.target, o.target_value, o.per_pixel
        )
        now.update("aexad", loss)
        return {"loss": loss}

    def _encode(self, x: Pixels, backbone: Backbone | None = None) -> Features:
        """(B, H, W, 3) to (B, h, w, C)."""
        if not self._arrays:
            return self.encoder_.arrays(x)
        return join_grids((backbone or self.backbone_)(x))

    @torch.inference_mode()
    def _draw(self, view: Pixels) -> Pixels:
        features = torch.from_numpy(self._encode(view[None])).permute(0, 3, 1, 2)
        drawn = self.drawer_(features, view.shape[:2])[0]
        return np.ascontiguousarray(drawn.permute(1, 2, 0).numpy())

    def _judge(
        self, view: Pixels, valid: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], float, Pixels]:
        """Heat map (H, W), score and picture of one view."""
        o = self.options
        drawn = self._draw(view)
        errors = np.square(view - drawn) * valid[:, :, None]
        distance = losses.stand_in(torch.from_numpy(view), o.target, o.target_value)[1].numpy()
        raw = errors @ THIRD
        ratio = raw / (distance @ THIRD) if o.per_pixel else (errors / distance) @ THIRD
        normalised = np.minimum(ratio, 1)
        rule: Rule = o.radius  # type: ignore[assignment]
        heat, score = heat_and_score(raw, normalised, valid, rule, o.score)
        return heat, score, shown(drawn)

    def _warn_of_head(self, samples: Samples, run: Run) -> None:
        drawn = self._draw(next(iter(samples.normals.batches(1))).x[0])
        if self.options.head == "relu" and not drawn.max(axis=(0, 1)).all():
            run.say("A colour is drawn as 0 everywhere: fit again with head=softplus.")
        if self.options.head == "sigmoid" and self.options.target == "value":
            run.say("head=sigmoid cannot reach target_value: bright defects become invisible.")


def _load(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    network.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in arrays.items()})
    network.to(memory_format=torch.channels_last).eval()
