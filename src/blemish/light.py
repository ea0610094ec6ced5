"""Differences without light: what varies slowly over a part is no defect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from scipy import ndimage

from blemish.graphs import Graph
from blemish.maps import Post, smooth_axis

LEAST = 1e-6  # weight of the surroundings below which there are none


def without_light(
    found: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Take the mean of the surroundings off a difference.

    Args:
        found: (B, H, W, C) float32, 0 where not valid.
        valid: (B, H, W) bool; what is not valid is no part of the surroundings.
        sigma: Standard deviation of the surroundings in pixels.

    Returns:
        (B, H, W, C) float32.
    """
    sigmas = (0, sigma, sigma, 0)
    around = ndimage.gaussian_filter(found, sigmas, mode="nearest")
    weight = ndimage.gaussian_filter(valid.astype(np.float32), sigmas[:3], mode="nearest")
    return np.asarray(found - around / np.maximum(weight, LEAST)[..., None])


def add_without_light(
    graph: Graph, found: str, valid: str, sigma: float, size: tuple[int, int]
) -> str:
    """Write :func:`without_light` into a graph, for views of `size` (H, W)."""
    # A Gaussian with held edges is one small matrix per axis.
    rows, columns = (smooth_axis(np.eye(n, dtype=np.float32), Post(blur=sigma)) for n in size)
    planes = graph.add("Transpose", found, perm=[0, 3, 1, 2])
    inside = graph.add(
        "Cast", graph.add("Unsqueeze", valid, graph.integers(1)), to=TensorProto.FLOAT
    )
    weight = graph.add("Max", graph.between(inside, rows, columns), graph.floats(LEAST))
    local = graph.add("Sub", planes, graph.add("Div", graph.between(planes, rows, columns), weight))
    return graph.add("Transpose", local, perm=[0, 2, 3, 1])
