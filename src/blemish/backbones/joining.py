"""From feature maps of several strides to one grid of patch features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Features
from blemish.graphs import Graph
from blemish.resampling import linear_matrix


def average_neighbourhood(features: Features, side: int) -> Features:
    """Mean over side × side cells around each cell; cells beyond the border do not count.

    Args:
        features: (B, h, w, C) float32.
        side: Odd number of cells; 1 changes nothing.
    """
    for axis in (1, 2):
        n = features.shape[axis]
        total, count = features.copy(), np.ones(n, np.float32)
        for shift in range(1, min(side // 2, n - 1) + 1):
            low = (slice(None),) * axis + (slice(None, n - shift),)
            high = (slice(None),) * axis + (slice(shift, None),)
            total[low] += features[high]
            total[high] += features[low]
            count[: n - shift] += 1
            count[shift:] += 1
        shape = [1] * features.ndim
        shape[axis] = n
        total /= count.reshape(shape)
        features = total
    return features


def unfold_neighbourhood(features: Features, side: int, values: int) -> Features:
    """The vectors of side × side cells around each cell as one, averaged down to `values` numbers.

    As PatchCore has it [1]: numbers of one channel stand together, so that each of the result is
    the mean of a few places of the neighbourhood and tells roughly what is where. Here the groups
    that are averaged do not overlap.

    [1] K. Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022.

    Args:
        features: (B, h, w, C) float32; cells at the border are repeated beyond it.
        side: Odd number of cells.
        values: At most C · side².

    Returns:
        (B, h, w, values) float32.
    """
    reach = side // 2
    wide = np.pad(features, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(1, 2))
    joined = around.reshape(*features.shape[:3], -1)
    starts = np.arange(values) * joined.shape[3] // values
    counts = np.diff(np.append(starts, joined.shape[3])).astype(np.float32)
    return np.asarray(np.add.reduceat(joined, starts, axis=3) / counts, np.float32)


def join_grids(maps: list[Features], grid: tuple[int, int] | None = None) -> Features:
    """Bring all maps to one grid by bilinear interpolation and join their channels.

    Args:
        maps: (B, h, w, C) float32 each.
        grid: (h, w); None = that of the first map.
    """
    wanted = grid or maps[0].shape[1:3]
    resized = [m if m.shape[1:3] == wanted else _resize(m, *wanted) for m in maps]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=3)


def add_average(graph: Graph, features: str, side: int) -> str:
    """Add :func:`average_neighbourhood` to a graph, (B, C, h, w) to the same."""
    reach = side // 2
    if not reach:
        return features
    window = {"kernel_shape": [2 * reach + 1] * 2, "pads": [reach] * 4}
    return graph.add("AveragePool", features, count_include_pad=0, **window)


def add_unfold(graph: Graph, features: str, channels: int, side: int, values: int) -> str:
    """Add :func:`unfold_neighbourhood` to a graph, (B, C, h, w) to (B, values, h, w)."""
    size, reach = channels * side * side, side // 2
    starts = np.arange(values + 1) * size // values
    kernel = np.zeros((values, size), np.float32)
    for row, (first, stop) in enumerate(pairwise(starts)):
        kernel[row, first:stop] = 1 / (stop - first)
    border = graph.integers(0, 0, reach, reach, 0, 0, reach, reach)
    wide = graph.add("Pad", features, border, mode="edge")
    return graph.add("Conv", wide, graph.floats(kernel.reshape(values, channels, side, side)))


def add_join(
    graph: Graph,
    maps: Sequence[str],
    grids: Sequence[tuple[int, int]],
    grid: tuple[int, int] | None = None,
) -> str:
    """Add :func:`join_grids` to a graph, (B, C, h, w) each to one; `grids` are their h and w."""
    wanted = grid or grids[0]
    resized = []
    for tensor, own in zip(maps, grids, strict=True):
        if own != wanted:
            matrices = (linear_matrix(n, m) for n, m in zip(own, wanted, strict=True))
            tensor = graph.between(tensor, *matrices)
        resized.append(tensor)
    return resized[0] if len(resized) == 1 else graph.add("Concat", *resized, axis=1)


def add_normalised(
    graph: Graph, x: str, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> str:
    """Add the pixels (B, H, W, 3) as a network wants them, (B, 3, H, W)."""
    # Channels first before anything else: constants per plane are many times as fast.
    planes = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    planes = graph.add("Sub", planes, graph.floats(mean[:, None, None]))
    return graph.add("Div", planes, graph.floats(deviation[:, None, None]))


def channel_scale(deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    """What each channel is multiplied by, so that all vary alike over good patches.

    Args:
        deviation: (C,) over good patches.
    """
    # A channel that never varies says nothing of good parts, and any change there is news.
    floor = max(float(deviation.max()) * 1e-3, 1e-4)
    return np.asarray(1 / np.maximum(deviation, floor), np.float32)


def _resize(features: Features, rows: int, columns: int) -> Features:
    batch, height, width, channels = features.shape
    vertical = linear_matrix(height, rows)
    horizontal = linear_matrix(width, columns)
    # Channels stay last in both products, so that nothing is transposed.
    taller = vertical @ features.reshape(batch, height, width * channels)
    wider = horizontal @ taller.reshape(batch * rows, width, channels)
    return wider.reshape(batch, rows, columns, channels)
