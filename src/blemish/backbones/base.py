"""What a backbone is: pixels in, feature maps out. Frozen: nothing here is ever trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from blemish.graphs import Graph
from blemish.types import Pixels

Arrays = Mapping[str, NDArray[np.generic]]
Features = NDArray[np.float32]  # (B, h, w, C)


def to_half(features: Features) -> NDArray[np.float16]:
    """Features in half precision; beyond its range there is nothing to tell apart."""
    limit = np.finfo(np.float16).max
    return np.clip(features, -limit, limit).astype(np.float16)


class Backbone(Protocol):
    """One open backbone.

    Attributes:
        strides: Pixels per cell of each feature map.
        channels: Channels of each feature map.
        multiple: Both sides of the input must be a multiple of this.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    multiple: int

    def __call__(self, x: Pixels) -> list[Features]:
        """Compute the feature maps of a batch.

        Args:
            x: (B, H, W, 3) float32 RGB in [0, 1].

        Returns:
            One (B, H / stride, W / stride, C) float32 array per stride.
        """
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """A JSON header and arrays from which ``from_state`` opens the same backbone again."""
        ...

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the same computation to an ONNX graph.

        Args:
            graph: Where nodes are added.
            x: Name of the pixels, (B, H, W, 3) float32 RGB in [0, 1].
            size: H and W.

        Returns:
            The names of one (B, C, h, w) float32 tensor per stride: channels come first here.
        """
        ...
