"""The encoder of a masked autoencoder that was pre-trained on own photos, frozen.

``backbone=pretrained_encoder weights=encoder.safetensors`` with a file of `blemish pretrain
masked_autoencoder`. All patches are visible; the table of positions is interpolated to the grid of
the image. The digests of the images that it was learned from travel along: none of them calibrates
or tests a detector that stands on it.

[1] K. He, X. Chen, S. Xie, Y. Li, P. Dollár, R. Girshick, "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022, arXiv 2111.06377.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Arrays, Features
from blemish.errors import MissingExtraError, OptionError
from blemish.graphs import Graph
from blemish.model_file import ModelFile, part, read_encoder_file
from blemish.nets.vit import Encoder, EncoderSize, patchify
from blemish.network_graph import add_network
from blemish.types import Pixels

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("A pre-trained encoder", "train") from error

INSIDE = "method.network.encoder."  # of the file
LEVELS = 3  # blocks that are looked at unless told otherwise, evenly spread


class PretrainedEncoder:
    """A frozen vision transformer from own photos."""

    def __init__(self, encoder: Encoder, header: dict[str, Any]):
        size = encoder.size
        self.layers = tuple(int(i) for i in header["layers"])
        self.multiple = size.patch
        self.strides = (size.patch,) * len(self.layers)
        self.channels = (size.width,) * len(self.layers)
        self._header = header
        self._encoder = encoder.eval().requires_grad_(False)

    @classmethod
    def open(cls, name: str, weights: str | None, strides: tuple[int, ...]) -> PretrainedEncoder:
        """Open a file; see :func:`blemish.backbones.opening.open_backbone`.

        Args:
            name: ``"pretrained_encoder"``.
            weights: A file of `blemish pretrain masked_autoencoder`.
            strides: Empty, or the one stride that it has: the side of its patches.

        Raises:
            OptionError: No file, or another stride.
            ModelFileError: The file is no such file, truncated or damaged.
        """
        depth = EncoderSize.of(_read(weights).header["options"]).depth
        count = min(LEVELS, depth)
        layers = tuple(depth * (i + 1) // count - 1 for i in range(count))
        opened = cls.open_layers(name, weights, layers)
        if strides and set(strides) != {opened.multiple}:
            raise OptionError(
                f"The pre-trained encoder {weights} has one stride, {opened.multiple}; use "
                f"strides={opened.multiple}, not {','.join(map(str, strides))}."
            )
        return opened

    @classmethod
    def open_layers(
        cls, name: str, weights: str | None, layers: tuple[int, ...]
    ) -> PretrainedEncoder:
        """Open a file for chosen blocks, counted from 0, in rising order.

        Raises:
            OptionError: No file, or no such blocks.
            ModelFileError: As for :meth:`open`.
        """
        content = _read(weights)
        depth = EncoderSize.of(content.header["options"]).depth
        if not layers or min(layers) < 0 or max(layers) >= depth or [*layers] != sorted({*layers}):
            raise OptionError(
                f"layers={','.join(map(str, layers))} does not fit {weights}: its {depth} blocks "
                f"are 0 to {depth - 1}, to be named in rising order."
            )
        header = {
            "kind": name,
            "layers": list(layers),
            "grid": list(content.header["state"]["grid"]),
            "options": dict(content.header["options"]),
        }
        return cls.from_state(header, part(content.arrays, INSIDE))

    @staticmethod
    def images_seen(weights: str | None) -> tuple[str, ...]:
        """Digests of the images that the file was learned from."""
        return tuple(_read(weights).header["learned"])

    @classmethod
    def from_state(cls, header: Mapping[str, Any], arrays: Arrays) -> PretrainedEncoder:
        """Open again from a header and arrays."""
        grid = (int(header["grid"][0]), int(header["grid"][1]))
        with torch.device("meta"):
            encoder = Encoder(EncoderSize.of(header["options"]), grid)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        encoder.load_state_dict(tensors, strict=True, assign=True)
        encoder.make_waves()
        return cls(encoder, dict(header))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """Header and weights."""
        weights = self._encoder.state_dict()
        return self._header, {name: tensor.numpy() for name, tensor in weights.items()}

    def __call__(self, x: Pixels) -> list[Features]:
        """(B, H, W, 3) float32 in [0, 1] to one (B, H / patch, W / patch, C) array per block."""
        blocks = _Blocks(self._encoder, self.layers, (x.shape[1], x.shape[2]))
        with torch.inference_mode():
            maps = blocks(torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2))
        return [np.ascontiguousarray(m.permute(0, 2, 3, 1).numpy()) for m in maps]

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the encoder to a graph; see :class:`blemish.backbones.base.Backbone`."""
        planes = graph.add("Transpose", x, perm=[0, 3, 1, 2])
        return add_network(graph, _Blocks(self._encoder, self.layers, size), planes, (3, *size))


class _Blocks(nn.Module):
    """(B, 3, H, W) to one (B, C, h, w) per block, all behind the last norm."""

    def __init__(self, encoder: Encoder, layers: tuple[int, ...], size: tuple[int, int]):
        super().__init__()
        patch = encoder.size.patch
        self.grid = (size[0] // patch, size[1] // patch)
        self.encoder = encoder
        self.keep = tuple(i + 1 for i in layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        encoder = self.encoder
        patches = patchify(x, encoder.size.patch)
        found = encoder(patches, encoder.positions(self.grid), self.keep)
        return [encoder.norm(t).transpose(1, 2).unflatten(2, self.grid) for t in found]


def _read(weights: str | None) -> ModelFile:
    if weights is None or not Path(weights).is_file():
        named = "" if weights is None else f" There is no file {weights}."
        raise OptionError(
            "backbone=pretrained_encoder needs weights=FILE, a file that `blemish pretrain "
            f"masked_autoencoder` wrote.{named}"
        )
    return read_encoder_file(weights)
