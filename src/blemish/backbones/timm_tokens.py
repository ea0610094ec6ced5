"""Patch tokens of any timm vision transformer after chosen blocks, frozen and in evaluation mode.

Class and register tokens are left out, the final norm is applied to every block that is asked for,
and the table of positions is interpolated to the grid of the image, square or not. Attention runs
in torch's fused kernel, which never holds the whole attention matrix.

timm: R. Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Arrays, Features
from blemish.backbones.joining import add_normalised
from blemish.backbones.weights import load_weights, need_weights, read_weights
from blemish.errors import MissingExtraError, OptionError, UnknownNameError
from blemish.graphs import Graph
from blemish.network_graph import add_network
from blemish.types import Pixels

try:
    import timm
    import torch
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
except ImportError as error:
    raise MissingExtraError("A timm backbone", "train") from error

# Tokens per pass on the CPU: more views at once would need memory and save no time.
TOKENS_AT_ONCE = 1536


class TimmTokens:
    """A frozen vision transformer, cut off after the last block that is asked for."""

    def __init__(self, network: Any, header: dict[str, Any]):
        self.layers = tuple(int(i) for i in header["layers"])
        side = int(network.patch_embed.patch_size[0])
        self.multiple = side
        self.strides = (side,) * len(self.layers)
        self.channels = (int(network.embed_dim),) * len(self.layers)
        self._header = header
        self._network = network.eval().requires_grad_(False)
        weights = self._network.state_dict()
        self._weights = {name: tensor.numpy().copy() for name, tensor in weights.items()}
        config = network.default_cfg
        self._mean = np.asarray(config["mean"], np.float32)
        self._std = np.asarray(config["std"], np.float32)
        self._device = torch.device("cpu")

    @classmethod
    def open(cls, name: str, weights: str | None, layers: tuple[int, ...]) -> TimmTokens:
        """Open by timm name; see :func:`blemish.backbones.opening.open_backbone`.

        Args:
            name: A vision transformer of timm.
            weights: A local file (timm's keys or those of DINOv2's own release), ``"random"`` or
                ``"download"``.
            layers: Blocks, counted from 0, in rising order.

        Raises:
            OptionError: No transformer, no such block, or the weights do not fit.
        """
        weights = need_weights(name, weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = _create(name, layers, weights == "download")
        if weights not in {"download", "random"}:
            tensors = _in_timm_keys(read_weights(Path(weights)), network)
            load_weights(network, name, tensors, weights)
        return cls(network, {"kind": "timm_tokens", "name": name, "layers": list(layers)})

    @classmethod
    def from_state(cls, header: Mapping[str, Any], arrays: Arrays) -> TimmTokens:
        """Open again from a header and arrays."""
        with torch.random.fork_rng(devices=[]):
            network = _create(header["name"], tuple(header["layers"]), False)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        network.load_state_dict(tensors, strict=True)
        return cls(network, dict(header))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Header and weights."""
        return self._header, dict(self._weights)

    def use(self, device: str, bf16: bool) -> None:
        """Compute on a device, in bfloat16 where it has the units for it.

        Args:
            device: ``"cpu"``, ``"cuda"``, …
            bf16: Remembered with the weights, because tokens differ a little.
        """
        self._header = {**self._header, "bf16": bf16}
        self._device = torch.device(device)
        self._network.to(self._device)

    def __call__(self, x: Pixels) -> list[Features]:
        """(B, H, W, 3) float32 in [0, 1] to one (B, H / patch, W / patch, C) float32 per block."""
        rows, columns = x.shape[1] // self.multiple, x.shape[2] // self.multiple
        views = len(x) if self._device.type != "cpu" else max(1, TOKENS_AT_ONCE // (rows * columns))
        parts = [self._tokens(x[first : first + views]) for first in range(0, len(x), views)]
        return [
            np.concatenate(block).reshape(len(x), rows, columns, -1)
            for block in zip(*parts, strict=True)
        ]

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the network to a graph; see :class:`blemish.backbones.base.Backbone`."""
        planes = add_normalised(graph, x, self._mean, self._std)
        maps = add_network(graph, _Maps(self._network.cpu(), self.layers), planes, (3, *size))
        self._network.to(self._device)
        return maps

    @torch.inference_mode()
    def _tokens(self, x: Pixels) -> list[NDArray[np.float32]]:
        normalised = (x - self._mean) / self._std
        tensor = torch.from_numpy(normalised).permute(0, 3, 1, 2).to(self._device)
        half = bool(self._header.get("bf16", False))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            tokens = self._network.forward_intermediates(
                tensor,
                indices=list(self.layers),
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
        return [t.float().cpu().numpy() for t in tokens]


class _Maps(torch.nn.Module):
    """Pixels (B, 3, H, W) to one map (B, C, h, w) per block, as one module."""

    def __init__(self, network: Any, layers: tuple[int, ...]):
        super().__init__()
        self.network, self.layers = network, list(layers)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found: list[torch.Tensor] = self.network.forward_intermediates(
            x,
            indices=self.layers,
            norm=True,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return found


def _create(name: str, layers: tuple[int, ...], pretrained: bool) -> Any:
    if not timm.is_model(name):
        raise UnknownNameError("backbone (timm model)", name, timm.list_models())
    if not timm.models.is_model_in_modules(name, {"vision_transformer", "eva"}):
        raise OptionError(
            f"{name} is no plain vision transformer, so it has no blocks {_listed(layers)}: name "
            "the feature maps of a CNN by their strides, such as strides=8,16."
        )
    # Without pooling timm keeps the final norm, which some models have behind the pooling only.
    network: Any = timm.create_model(
        name, pretrained=pretrained, num_classes=0, global_pool="", dynamic_img_size=True
    )
    depth = len(network.blocks)
    if not layers or min(layers) < 0 or max(layers) >= depth or list(layers) != sorted({*layers}):
        raise OptionError(
            f"layers={_listed(layers)} does not fit {name}: its {depth} blocks are 0 to "
            f"{depth - 1}, to be named in rising order."
        )
    network.blocks = network.blocks[: max(layers) + 1]
    return network


def _in_timm_keys(tensors: Mapping[str, Any], network: Any) -> Mapping[str, Any]:
    """Rename what DINOv2's own release calls otherwise."""
    kernel = tensors.get("patch_embed.proj.weight")
    same = kernel is not None and kernel.shape == network.patch_embed.proj.weight.shape
    if "mask_token" in tensors and same and isinstance(network, VisionTransformer):
        renamed: Mapping[str, Any] = checkpoint_filter_fn(dict(tensors), network)
        return renamed
    return tensors


def _listed(layers: tuple[int, ...]) -> str:
    return ",".join(map(str, layers))
