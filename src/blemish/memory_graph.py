"""The search in a memory bank as a part of an ONNX graph; the same as in `memory.py`.

The squared norms are the bias of the matrix product, so that the search is one product and one
maximum; the distance to what was found is then computed directly, because the product loses what is
left after two large numbers cancel. A large bank is searched part by part, so that the products
never need more than a fixed amount of memory per view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.graphs import Graph

PART_BYTES = 32_000_000  # products of one view with one part of the bank
EXPONENT_LIMIT = 80.0  # beyond, float32 overflows, and the weight has long been 1


@dataclass(frozen=True)
class Nearest:
    """Names of what a search found.

    Attributes:
        patches: (B, n, C) float32, what was looked for.
        distances: (B, n) float32.
        parts: The bank, (m_i, C) float32 each.
        index: (B, n) int64, rows of the bank.
    """

    patches: str
    distances: str
    parts: tuple[str, ...]
    index: str


def add_nearest(
    graph: Graph,
    features: str,
    bank: NDArray[np.float32],
    squares: NDArray[np.float32],
    cells: int,
) -> Nearest:
    """Add the search for the nearest vector of the bank.

    Args:
        graph: Where nodes are added.
        features: (B, h, w, C) float32.
        bank: (m, C) float32.
        squares: (m,) squared norms of the bank.
        cells: h · w.
    """
    channels = bank.shape[1]
    flat = graph.reshape(features, -1, channels)
    step = max(1, PART_BYTES // (4 * cells))
    parts, distances, indices = [], [], []
    for first in range(0, len(bank), step):
        part = graph.floats(bank[first : first + step])
        bias = graph.floats(squares[first : first + step] * np.float32(-0.5))
        closeness = graph.add("Gemm", flat, part, bias, transB=1)
        index = graph.add("ArgMax", closeness, axis=1, keepdims=0)
        difference = graph.add("Sub", flat, graph.add("Gather", part, index, axis=0))
        squared = graph.add("ReduceSumSquare", difference, graph.integers(1), keepdims=0)
        parts.append(part)
        distances.append(squared)
        indices.append(graph.add("Add", index, graph.constant(np.int64(first))))
    squared, index = _best(graph, distances, indices)
    return Nearest(
        graph.reshape(flat, -1, cells, channels),
        graph.reshape(graph.add("Sqrt", squared), -1, cells),
        tuple(parts),
        graph.reshape(index, -1, cells),
    )


def _best(graph: Graph, distances: list[str], indices: list[str]) -> tuple[str, str]:
    """The smallest of the parts' distances, and where it was."""
    if len(distances) == 1:
        return distances[0], indices[0]
    axis = graph.integers(1)
    stacked = graph.add("Concat", *(graph.add("Unsqueeze", d, axis) for d in distances), axis=1)
    places = graph.add("Concat", *(graph.add("Unsqueeze", i, axis) for i in indices), axis=1)
    part = graph.add("ArgMin", stacked, axis=1, keepdims=1)
    index = graph.add("Squeeze", graph.add("GatherElements", places, part, axis=1), axis)
    return graph.add("ReduceMin", stacked, axis, keepdims=0), index


def add_weight(
    graph: Graph,
    distances: str,
    found: Nearest,
    bank: NDArray[np.float32],
    squares: NDArray[np.float32],
    count: int,
) -> str:
    """Add the score of the worst patch, re-weighted by the neighbours of its nearest vector.

    Args:
        graph: Where nodes are added.
        distances: (B, n) float32, 0 where not valid.
        found: What the search found.
        bank: (m, C) float32.
        squares: (m,) squared norms of the bank.
        count: Neighbours that count; 1 = no weight.

    Returns:
        The name of the scores, (B,) float32.
    """
    worst = graph.add("ArgMax", distances, axis=1, keepdims=1)  # (B, 1)
    score = graph.add("GatherElements", distances, worst, axis=1)
    if count < 2:
        return graph.reshape(score, -1)
    place = graph.add("Unsqueeze", worst, graph.integers(2))
    wide = graph.add("Expand", place, graph.integers(1, 1, bank.shape[1]))
    patch = graph.add("GatherElements", found.patches, wide, axis=1)  # (B, 1, C)
    index = graph.reshape(graph.add("GatherElements", found.index, worst, axis=1), -1)
    whole = found.parts[0]
    if len(found.parts) > 1:
        whole = graph.add("Concat", *found.parts, axis=0)
    centre = graph.add("Gather", whole, index, axis=0)  # (B, C)
    bias = graph.floats(squares * np.float32(-0.5))
    closeness = graph.add("Gemm", centre, whole, bias, transB=1)  # (B, m)
    _, near = graph.add_several("TopK", 2, closeness, graph.integers(count), axis=1)
    support = graph.add("Gather", whole, near, axis=0)  # (B, count, C)
    apart = graph.add("Sub", support, patch)
    norms = graph.add(
        "Sqrt", graph.add("ReduceSumSquare", apart, graph.integers(2), keepdims=0)
    )  # (B, count)
    excess = graph.add("Min", graph.add("Sub", norms, score), graph.floats(EXPONENT_LIMIT))
    total = graph.add("ReduceSum", graph.add("Exp", excess), graph.integers(1), keepdims=1)
    weight = graph.add("Sub", graph.floats(1), graph.add("Div", graph.floats(1), total))
    return graph.reshape(graph.add("Mul", score, weight), -1)
