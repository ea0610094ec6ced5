"""Encoders that may be trained: any timm CNN, cut off at a stride, or blocks of any timm ViT.

A backbone is frozen and gives arrays; an encoder is a torch module that can be part of a training.

timm: R. Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Features
from blemish.backbones.timm_features import create_network, creation_arguments
from blemish.backbones.weights import load_weights, read_weights
from blemish.errors import MissingExtraError, OptionError, UnknownNameError
from blemish.types import Pixels

try:
    import timm
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("A trainable encoder", "train") from error

REGIMES = ("frozen", "norm_only", "finetune", "scratch")
NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class EncoderPlan:
    """What an encoder is made of.

    Attributes:
        kind: ``"cnn"`` or ``"vit"``.
        name: Name of the timm model.
        strides: Feature maps of a CNN, joined on the grid of the first.
        blocks: Blocks of a ViT whose tokens are joined, counted from 1; empty = half, three
            quarters and all of the way.
        normalise: Whether pixels are normalised as in the pre-training.
        stem: Two convolutions in front, as an earlier study had them.
        arguments: What the weights say of how to make the network.
    """

    kind: str
    name: str
    strides: tuple[int, ...] = (8,)
    blocks: tuple[int, ...] = ()
    normalise: bool = True
    stem: bool = False
    arguments: tuple[tuple[str, str], ...] = ()


class Encoder(nn.Module):
    """(B, 3, H, W) in [0, 1] to features (B, channels, h, w).

    Attributes:
        channels: Channels of the features.
        multiple: Both sides of the input must be a multiple of this.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, plan: EncoderPlan):
        super().__init__()
        self.plan = plan
        self.stem = _stem() if plan.stem else nn.Identity()
        if plan.kind == "vit":
            self.network, self.blocks = _vision_transformer(plan)
            self.channels = int(self.network.num_features) * len(self.blocks)
            self.multiple = int(self.network.patch_embed.patch_size[0])
        else:
            self.network = create_network(plan.name, plan.strides, False, dict(plan.arguments))
            self.channels = sum(self.network.feature_info.channels())
            self.multiple = max(plan.strides)
        config = self.network.default_cfg
        for name, key in (("mean", "mean"), ("deviation", "std")):
            values = torch.tensor(config[key]).reshape(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features of (B, 3, H, W) in [0, 1]."""
        x = self.stem(x)
        if self.plan.normalise:
            x = (x - self.mean) / self.deviation
        if self.plan.kind == "vit":
            indices = [block - 1 for block in self.blocks]
            maps = self.network.forward_intermediates(
                x, indices=indices, norm=True, intermediates_only=True, output_fmt="NCHW"
            )
        else:
            maps = self.network(x)
        grid = maps[0].shape[2:]
        others = [functional.interpolate(m, grid, mode="bilinear") for m in maps[1:]]
        return torch.cat([maps[0], *others], dim=1)

    def train(self, mode: bool = True) -> Encoder:
        """As for any module, but what is frozen stays as it is: batch norms would drift."""
        super().train(mode)
        if not any(p.requires_grad for p in self.network.parameters()):
            self.network.eval()
        return self

    @torch.inference_mode()
    def arrays(self, x: Pixels) -> Features:
        """(B, H, W, 3) float32 to (B, h, w, channels) float32, as a backbone gives them."""
        found = self(torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2))
        return np.ascontiguousarray(found.permute(0, 2, 3, 1).numpy())

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """A header from which :func:`restore_encoder` makes the network, and its weights."""
        weights = {name: tensor.numpy() for name, tensor in self.state_dict().items()}
        return {**asdict(self.plan), "arguments": dict(self.plan.arguments)}, weights


def open_encoder(plan: EncoderPlan, regime: str, weights: str | None, advice: str) -> Encoder:
    """Make an encoder with its weights, and say which of them are trained.

    Args:
        plan: What it is made of.
        regime: One of `REGIMES`; ``"scratch"`` takes random weights whatever is given.
        weights: A local file, ``"random"``, or ``"download"`` to let timm fetch its own.
        advice: What to do without weights; the end of the message.

    Raises:
        OptionError: No weights for a regime that needs some, or they do not fit.
        UnknownNameError: timm knows no such model.
    """
    if not timm.is_model(plan.name):
        raise UnknownNameError("backbone (timm model)", plan.name, timm.list_models())
    source = "random" if regime == "scratch" else weights
    if source is None:
        raise OptionError(
            f"The encoder {plan.name} needs weights=FILE (a local .safetensors or .pth) or "
            f"weights=download to let timm fetch its own; {advice}"
        )
    arguments = creation_arguments(source)
    encoder = Encoder(EncoderPlan(**{**asdict(plan), "arguments": tuple(arguments.items())}))
    if source == "download":
        pretrained = timm.create_model(plan.name, pretrained=True, num_classes=0)
        own = encoder.network.state_dict()
        encoder.network.load_state_dict({**own, **_known(pretrained.state_dict(), own)})
    elif source != "random":
        load_weights(encoder.network, plan.name, read_weights(Path(source)), source)
    choose_trained(encoder, regime)
    return encoder


def restore_encoder(header: Mapping[str, Any]) -> Encoder:
    """Make the network of a header; its weights are to be loaded."""
    lists = {k: tuple(header[k]) for k in ("strides", "blocks")}
    arguments = tuple(dict(header["arguments"]).items())
    return Encoder(EncoderPlan(**{**header, **lists, "arguments": arguments}))


def choose_trained(encoder: Encoder, regime: str) -> None:
    """Let gradients into the weights that `regime` trains; a stem is always trained."""
    for module in encoder.network.modules():
        own = regime in {"finetune", "scratch"}
        own = own or (regime == "norm_only" and isinstance(module, NORMS))
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(own)


def _vision_transformer(plan: EncoderPlan) -> tuple[Any, tuple[int, ...]]:
    """A ViT for images of any size, cut off after the last block that is looked at."""
    try:
        network: Any = timm.create_model(
            plan.name, pretrained=False, num_classes=0, dynamic_img_size=True
        )
        depth = len(network.blocks)
        network.forward_intermediates  # noqa: B018
    except (TypeError, AttributeError) as error:
        raise OptionError(
            f"{plan.name} is no plain vision transformer ({error}); use one such as "
            "vit_base_patch16_224, or encoder=cnn."
        ) from error
    blocks = plan.blocks or tuple(dict.fromkeys((depth // 2 or 1, 3 * depth // 4 or 1, depth)))
    wrong = [block for block in blocks if not 1 <= block <= depth]
    if wrong:
        raise OptionError(f"{plan.name} has blocks 1 to {depth}, but blocks={wrong[0]} was asked.")
    network.blocks = network.blocks[: max(blocks)]
    return network, blocks


def _stem() -> nn.Sequential:
    """Two full-resolution convolutions: 3,590 parameters."""
    layers: list[nn.Module] = []
    for before, after in ((3, 64), (64, 3)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _known(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in found.items() if name in wanted}
