"""Feature maps of any timm model that can give them, frozen and in evaluation mode.

timm: R. Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

import json
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
    from safetensors import SafetensorError, safe_open
except ImportError as error:
    raise MissingExtraError("A timm backbone", "train") from error

DEFAULT_STRIDES = (8, 16)
# Cells of the coarsest map by which the image is continued, mirrored, beyond its border. Zeros
# there (what the network pads with) look like an edge of the part whose strength follows the
# lighting: at the border of good images they made the largest distances of all.
MARGIN_CELLS = 2


class TimmFeatures:
    """A frozen timm model, cut off after the last stage that is asked for."""

    def __init__(self, network: Any, header: dict[str, Any], strides: tuple[int, ...]):
        self.strides = strides
        self._margin_cells = int(header.get("margin", MARGIN_CELLS))
        self.channels = tuple(network.feature_info.channels())
        self.multiple = max(strides)
        self._header = header
        self._network = network.eval().requires_grad_(False)
        # What the file stores are the weights as they came, not as they are folded below.
        weights = self._network.state_dict()
        self._weights = {name: tensor.numpy().copy() for name, tensor in weights.items()}
        _fold_batch_norms(self._network, self.multiple)
        self._network.to(memory_format=torch.channels_last)
        config = network.default_cfg
        self._mean = np.asarray(config["mean"], np.float32)
        self._std = np.asarray(config["std"], np.float32)

    @classmethod
    def open(
        cls, name: str, weights: str | None, strides: tuple[int, ...], margin: int = MARGIN_CELLS
    ) -> TimmFeatures:
        """Open by timm name; see :func:`blemish.backbones.opening.open_backbone`."""
        strides = strides or DEFAULT_STRIDES
        weights = need_weights(name, weights)
        arguments = creation_arguments(weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = create_network(name, strides, weights == "download", arguments)
        if weights not in {"download", "random"}:
            load_weights(network, name, read_weights(Path(weights)), weights)
        header: dict[str, Any] = {"kind": "timm_features", "name": name, "margin": margin}
        header["strides"] = list(strides)
        return cls(network, {**header, "arguments": arguments}, strides)

    @classmethod
    def from_state(cls, header: Mapping[str, Any], arrays: Arrays) -> TimmFeatures:
        """Open again from a header and arrays."""
        strides = tuple(int(s) for s in header["strides"])
        with torch.random.fork_rng(devices=[]):
            network = create_network(header["name"], strides, False, header["arguments"])
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        network.load_state_dict(tensors, strict=True)
        return cls(network, dict(header), strides)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Header and weights."""
        return self._header, dict(self._weights)

    def __call__(self, x: Pixels) -> list[Features]:
        """(B, H, W, 3) float32 in [0, 1] to one (B, h, w, C) float32 array per stride."""
        margin = self._margin_cells * self.multiple
        normalised = x - self._mean
        normalised /= self._std
        around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        wider = np.pad(normalised, around, mode="reflect")
        # NHWC in memory is what channels-last convolutions want: no copy is made here.
        tensor = torch.from_numpy(wider).permute(0, 3, 1, 2)
        with torch.inference_mode():
            maps = self._network(tensor)
        height, width = x.shape[1:3]
        inner = [
            (slice(margin // s, (margin + height) // s), slice(margin // s, (margin + width) // s))
            for s in self.strides
        ]
        return [
            np.ascontiguousarray(m[:, :, i, j].permute(0, 2, 3, 1).float().numpy())
            for m, (i, j) in zip(maps, inner, strict=True)
        ]

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the network to a graph; see :class:`blemish.backbones.base.Backbone`."""
        margin = self._margin_cells * self.multiple
        planes = add_normalised(graph, x, self._mean, self._std)
        if margin:
            # As indices, so that a margin wider than the view is mirrored back and forth as above.
            for axis, n in zip((2, 3), size, strict=True):
                planes = graph.take(planes, np.pad(np.arange(n), margin, mode="reflect"), axis)
        sides = (size[0] + 2 * margin, size[1] + 2 * margin)
        maps = add_network(graph, self._network, planes, (3, *sides))
        if not margin:
            return maps
        for axis, n in zip((2, 3), size, strict=True):
            maps = [
                graph.part(m, axis, margin // s, (margin + n) // s)
                for m, s in zip(maps, self.strides, strict=True)
            ]
        return maps


def create_network(
    name: str, strides: tuple[int, ...], pretrained: bool, arguments: Mapping[str, Any]
) -> Any:
    """A timm network that gives feature maps, cut off after the last one; weights are random."""
    if not timm.is_model(name):
        raise UnknownNameError("backbone (timm model)", name, timm.list_models())
    create = timm.create_model
    try:
        probe: Any = create(name, pretrained=False, features_only=True, **arguments)
    except (RuntimeError, AttributeError, AssertionError, TypeError) as error:
        raise OptionError(
            f"timm cannot give the feature maps of {name}: {error}."
            + (
                f" The weights ask for {dict(arguments)}: are they of another model?"
                * bool(arguments)
            )
        ) from error
    available = list(probe.feature_info.reduction())
    missing = [s for s in strides if s not in available]
    if missing:
        raise OptionError(
            f"The backbone {name} has no stride {missing[0]}; it has "
            f"{', '.join(map(str, available))}."
        )
    stages = tuple(sorted(available.index(s) for s in strides))
    network: Any = create(
        name, pretrained=pretrained, features_only=True, out_indices=stages, **arguments
    )
    if hasattr(network, "_stage_out_idx"):
        # timm's EfficientNet family runs all stages; what is never looked at is cut off.
        network.blocks = network.blocks[: max(network._stage_out_idx)]
    return network


def _fold_batch_norms(network: Any, side: int) -> None:
    """Multiply frozen batch norms into the convolutions before them; the result is the same.

    Which convolution feeds which batch norm is seen in one pass over an empty image, so that it
    works for any model; what does not fit the pattern is left alone.
    """
    made: dict[int, Any] = {}  # tensor identity → the convolution that made it
    alive, pairs, hooks = [], {}, []

    def remember(module: Any, inputs: Any, output: Any) -> None:
        made[id(output)] = module
        alive.append(output)  # an identity is unique among living tensors only

    def pair(module: Any, inputs: Any) -> None:
        if id(inputs[0]) in made:
            pairs[module] = made[id(inputs[0])]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, torch.nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(pair))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 2 * side, 2 * side))
    for hook in hooks:
        hook.remove()
    for norm, convolution in pairs.items():
        if list(pairs.values()).count(convolution) == 1 and norm.track_running_stats:
            _fold(norm, convolution)


def _fold(norm: Any, convolution: Any) -> None:
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            shift = shift + convolution.bias * scale
        convolution.weight.mul_(scale.reshape(-1, 1, 1, 1))
        convolution.bias = torch.nn.Parameter(shift, requires_grad=False)
    # timm's layers hold the activation in the batch norm; a plain one has none.
    activation = getattr(norm, "act", torch.nn.Identity())
    norm.forward = activation.forward


def creation_arguments(weights: str) -> dict[str, Any]:
    """What the weights say of themselves: converted TensorFlow weights need its padding."""
    if not weights.endswith(".safetensors") or not Path(weights).is_file():
        return {}
    try:
        with safe_open(weights, framework="numpy") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise OptionError(f"{weights} is not a safetensors file, or is truncated.") from error
    return (
        {"pad_type": "same"}
        if 'pad_type="same"' in json.dumps(metadata).replace('\\"', '"')
        else {}
    )
