"""The search in a memory bank as a part of an ONNX graph; the same as in `memory.py`.

The squared norms are the bias of the matrix product, so that the search is one product and one
maximum; the distance to what was found is then computed directly, because the product loses what is
left after two large numbers cancel. Interpolation and product are both linear, so maps of coarser
strides are multiplied on their own grid and what comes out is interpolated: a quarter of the work,
or less. A large bank is searched part by part, so that the products never need more than a fixed
amount of memory per view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.joining import add_join
from blemish.graphs import Graph
from blemish.resampling import linear_matrix

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
    maps: Sequence[str],
    shapes: Sequence[tuple[int, int, int]],
    bank: NDArray[np.float32],
    squares: NDArray[np.float32],
) -> Nearest:
    """Add the search for the nearest vector of the bank at every cell of the first map.

    Args:
        graph: Where nodes are added.
        maps: Features, (B, C, h, w) float32 each; all are interpolated to the first.
        shapes: Their C, h and w.
        bank: (m, sum of all C) float32.
        squares: (m,) squared norms of the bank.
    """
    grids = [(height, width) for _, height, width in shapes]
    cells, channels = grids[0][0] * grids[0][1], bank.shape[1]
    joined = graph.add("Transpose", add_join(graph, maps, grids), perm=[0, 2, 3, 1])
    flat = graph.reshape(joined, -1, channels)
    own = [graph.add("Transpose", m, perm=[0, 2, 3, 1]) for m in maps]
    step = max(1, PART_BYTES // (4 * cells))
    parts, distances, indices = [], [], []
    for first in range(0, len(bank), step):
        rows = slice(first, first + step)
        bias = squares[rows] * np.float32(-0.5)
        parts.append(graph.floats(bank[rows]))
        closeness = _add_products(graph, own, shapes, parts[-1], bias)
        index = graph.add("ArgMax", closeness, axis=1, keepdims=0)
        difference = graph.add("Sub", flat, graph.add("Gather", parts[-1], index, axis=0))
        distances.append(graph.add("ReduceSumSquare", difference, graph.integers(1), keepdims=0))
        indices.append(graph.add("Add", index, graph.constant(np.int64(first))))
    squared, index = _best(graph, distances, indices)
    return Nearest(
        graph.reshape(flat, -1, cells, channels),
        graph.reshape(graph.add("Sqrt", squared), -1, cells),
        tuple(parts),
        graph.reshape(index, -1, cells),
    )


def _add_products(
    graph: Graph,
    maps: Sequence[str],
    shapes: Sequence[tuple[int, int, int]],
    bank: str,
    bias: NDArray[np.float32],
) -> str:
    """Products of every cell of the first grid with the bank, plus `bias`: (B · cells, m).

    The maps are (B, h, w, C) here. Each is multiplied with its own columns of the bank.
    """
    count, total = len(bias), ""
    (_, height, width), first = shapes[0], 0
    for tensor, (channels, rows, columns) in zip(maps, shapes, strict=True):
        own = graph.part(bank, 1, first, first + channels) if len(maps) > 1 else bank
        first += channels
        flat = graph.reshape(tensor, -1, channels)
        products = graph.add("Gemm", flat, own, graph.floats(bias), transB=1)
        bias = np.zeros_like(bias)  # once is enough: weights of an interpolation add up to 1
        if (rows, columns) != (height, width):
            down = graph.floats(linear_matrix(rows, height))
            tall = graph.add("MatMul", down, graph.reshape(products, -1, rows, columns * count))
            along = graph.floats(linear_matrix(columns, width))
            wide = graph.add("MatMul", along, graph.reshape(tall, -1, columns, count))
            products = graph.reshape(wide, -1, count)
        total = graph.add("Add", total, products) if total else products
    return total


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
