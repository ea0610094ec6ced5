"""Pillow's antialiased resize as matrices, so that no runtime's own resize matters.

Pillow resamples 8-bit images in two passes, one per axis, with weights that are whole numbers of
2^-22, and rounds to whole grey levels after each. The weights are split in two here, so that
float32 adds them up exactly: the result is Pillow's, bit for bit. Which axis comes first differs
between sizes and versions of Pillow, so that is found out by asking the one that is installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image as Pillow

from blemish.graphs import Graph
from blemish.preprocess import RESAMPLING

BITS = 22  # of a weight
LOW = 10  # of them in the second part: 64 taps of 8-bit pixels stay below 2^24
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "area": 0.5, "lanczos": 3.0}
Weights = NDArray[np.int64]


def weights(n_in: int, n_out: int, first: float, last: float, how: str) -> Weights:
    """(n_out, n_in) weights in units of 2^-22 of one pass.

    Args:
        n_in: Pixels before.
        n_out: Pixels after.
        first: Where the box begins, in pixels before.
        last: Where it ends.
        how: One of :data:`blemish.preprocess.RESAMPLING`.
    """
    start, stop = np.float32(first), np.float32(last)  # Pillow takes the box in single precision
    scale = float(stop - start) / n_out
    wide = max(scale, 1.0)
    support = SUPPORT[how] * wide
    found = np.zeros((n_out, n_in), np.int64)
    for row in range(n_out):
        centre = float(start) + (row + 0.5) * scale
        low = max(int(centre - support + 0.5), 0)
        high = min(int(centre + support + 0.5), n_in)
        position = (np.arange(low, high) - centre + 0.5) / wide
        parts = _kernel(position, how)
        parts = parts / (parts.sum() or 1.0)
        scaled = parts * (1 << BITS)
        found[row, low:high] = np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5))
    return found


def add_resize(
    graph: Graph,
    image: str,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    after: tuple[int, int],
    how: str,
) -> str:
    """Resample a part of an image.

    Args:
        graph: Where nodes are added.
        image: (B, 3, H, W) float32 with whole numbers in [0, 255].
        size: H and W.
        box: Left, top, right, bottom of the part, in pixels.
        after: Height and width of the result.
        how: One of :data:`blemish.preprocess.RESAMPLING`.

    Returns:
        The name of (B, 3, *after) float32, whole numbers in [0, 255].
    """
    left, top, right, bottom = box
    if how == "nearest":
        tall = graph.take(image, nearest_index(size[0], after[0], top, bottom), 2)
        return graph.take(tall, nearest_index(size[1], after[1], left, right), 3)
    down = along = None
    if after[1] != size[1] or left or right != size[1]:
        along = weights(size[1], after[1], left, right, how)
    if after[0] != size[0] or top or bottom != size[0]:
        down = weights(size[0], after[0], top, bottom, how)
    passes = [(along, True), (down, False)]
    if along is not None and down is not None and _rows_first(down, along, box, how):
        passes.reverse()
    for matrix, columns in passes:
        if matrix is not None:
            image = _pass(graph, image, matrix, columns)
    return image


def nearest_index(n_in: int, n_out: int, first: float, last: float) -> NDArray[np.int64]:
    """(n_out,) which pixel of an axis each pixel after is, without interpolation."""
    step = (last - first) / n_out
    # Added up one by one, as Pillow does: products would round elsewhere.
    place = np.cumsum(np.append(first + step * 0.5, np.full(n_out - 1, step)))
    return np.asarray(np.clip(np.floor(place), 0, n_in - 1), np.int64)


def _rows_first(
    down: Weights, along: Weights, box: tuple[float, float, float, float], how: str
) -> bool:
    """Whether the installed Pillow shrinks the height before the width, seen on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (down.shape[1], along.shape[1]), np.uint8)
    size = (len(along), len(down))
    wanted = np.asarray(Pillow.fromarray(noise).resize(size, RESAMPLING[how], box=box))
    tall = _level(_level(noise @ along.T.astype(float)).T @ down.T.astype(float)).T
    wide = _level(_level(down.astype(float) @ noise) @ along.T.astype(float))
    return bool((wide != wanted).sum() < (tall != wanted).sum())


def _level(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums in units of 2^-22 to whole grey levels."""
    return np.clip(np.floor((total + (1 << (BITS - 1))) / (1 << BITS)), 0, 255)


def _pass(graph: Graph, image: str, matrix: Weights, columns: bool) -> str:
    """One pass: exact sums in two parts, added up and rounded as whole numbers."""
    parts = [matrix >> LOW, matrix & ((1 << LOW) - 1)]
    sums = []
    for part in parts:
        values = graph.floats(np.ascontiguousarray(part.T if columns else part))
        pair = (image, values) if columns else (values, image)
        sums.append(graph.add("Cast", graph.add("MatMul", *pair), to=TensorProto.INT32))
    high = graph.add("Mul", sums[0], graph.constant(np.int32(1 << LOW)))
    total = graph.add(
        "Add", graph.add("Add", high, sums[1]), graph.constant(np.int32(1 << (BITS - 1)))
    )
    # Division cuts off towards zero: below zero everything is black anyway.
    level = graph.add("Div", total, graph.constant(np.int32(1 << BITS)))
    level = graph.add("Cast", level, to=TensorProto.FLOAT)
    return graph.add("Clip", level, graph.floats(0), graph.floats(255))


def _kernel(x: NDArray[Any], how: str) -> NDArray[Any]:
    if how == "area":
        return ((x > -0.5) & (x <= 0.5)).astype(float)
    size = np.abs(x)
    if how == "bilinear":
        return np.asarray(np.maximum(1 - size, 0))
    if how == "bicubic":
        a = -0.5
        near = ((a + 2) * size - (a + 3)) * size * size + 1
        far = (((size - 5) * size + 8) * size - 4) * a
        return np.where(size < 1, near, np.where(size < 2, far, 0))
    # Lanczos: a sinc under a wider one; numpy's sinc has the pi inside.
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)
