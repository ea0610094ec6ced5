"""Separable linear resampling along one axis: interpolation, tiles and how they blend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP = 256  # rows that are resized at once


@dataclass(frozen=True)
class Span:
    """One axis of one view: canvas pixels [start, stop), at `offset` in a view of `length`."""

    start: int
    stop: int
    offset: int
    length: int


@lru_cache(maxsize=64)
def linear_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """(n_out, n_in) matrix of linear interpolation between pixel centres, edges held.

    The same as ``align_corners=False`` in other libraries, without antialiasing.
    """
    return _interpolation(_centres(n_in, n_out), 0, n_in - 1, n_in)


def resize_linear(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize (H, W) to `shape` as :func:`linear_matrix` would, at the cost of what comes out.

    The matrices of large images would be larger than the images.
    """
    if values.shape == shape:
        return np.ascontiguousarray(values)
    (top, bottom, down), (left, right, along) = (
        _between(_centres(n, m), 0, n - 1) for n, m in zip(values.shape, shape, strict=True)
    )
    resized, across = np.empty(shape, np.float32), along.astype(np.float32)
    for first in range(0, shape[0], STRIP):
        rows = slice(first, first + STRIP)
        share = down[rows, None].astype(np.float32)
        strip = values[top[rows]] * (1 - share) + values[bottom[rows]] * share
        resized[rows] = strip[:, left] * (1 - across) + strip[:, right] * across
    return resized


def _centres(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Where the centres of `n_out` pixels lie among those of `n_in`."""
    return np.asarray((np.arange(n_out) + 0.5) * n_in / n_out - 0.5)


def _between(
    position: NDArray[np.floating[Any]], first: int, last: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.floating[Any]]]:
    """The input before each position, the one after, and the share of the latter.

    Only the inputs first … last count; beyond them they are held.
    """
    position = np.clip(position, first, last)
    before = np.minimum(position.astype(np.intp), max(first, last - 1))
    return before, np.minimum(before + 1, last), position - before


def _interpolation(
    position: NDArray[np.floating[Any]], first: int, last: int, n_in: int
) -> NDArray[np.float32]:
    """Interpolate at `position` between the inputs first … last, held beyond them."""
    before, after, share = _between(position, first, last)
    matrix = np.zeros((len(position), n_in), np.float32)
    index = np.arange(len(position))
    matrix[index, before] = 1 - share
    matrix[index, after] += share
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=64)
def blend_matrices(
    placed: tuple[Span, ...], canvas: int, grid: int
) -> tuple[NDArray[np.float32], ...]:
    """Bring grids of cells to the canvas: one (stop - start, grid) matrix per span.

    Each is interpolation times a weight that falls off linearly towards the edges of the span; the
    weights of all spans add up to 1 at every canvas pixel.
    """
    windows = np.zeros((len(placed), canvas))
    for window, span in zip(windows, placed, strict=True):
        n = span.stop - span.start
        ramp = np.minimum(np.arange(n) + 1, n - np.arange(n)).astype(float)
        window[span.start : span.stop] = ramp
    windows /= windows.sum(axis=0)
    matrices = []
    for window, span in zip(windows, placed, strict=True):
        n, pixels_per_cell = span.stop - span.start, span.length / grid
        position = (np.arange(n) + span.offset + 0.5) / pixels_per_cell - 0.5
        matrix = _interpolation(position, *_cells_of(span, pixels_per_cell, grid), grid)
        weighted = (matrix * window[span.start : span.stop, None]).astype(np.float32)
        weighted.setflags(write=False)
        matrices.append(weighted)
    return tuple(matrices)


@lru_cache(maxsize=64)
def span_matrix(span: Span, n_out: int, grid: int) -> NDArray[np.float32]:
    """Bring a grid that covers one view to `n_out` pixels that cover its canvas: (n_out, grid)."""
    n, pixels_per_cell = span.stop - span.start, span.length / grid
    position = (np.arange(n_out) + 0.5) * n / n_out + span.offset
    first, last = _cells_of(span, pixels_per_cell, grid)
    return _interpolation(position / pixels_per_cell - 0.5, first, last, grid)


def _cells_of(span: Span, pixels_per_cell: float, grid: int) -> tuple[int, int]:
    """First and last cell that reach into a span: cells on padding hold no information."""
    n = span.stop - span.start
    first = min(grid - 1, math.floor(span.offset / pixels_per_cell + 1e-9))
    last = min(grid - 1, math.ceil((span.offset + n) / pixels_per_cell - 1e-9) - 1)
    return first, max(first, last)


@lru_cache(maxsize=256)
def spans(canvas: int, view: int, overlap: float, tiled: bool) -> tuple[Span, ...]:
    """Place views of `view` pixels on an axis of `canvas` pixels.

    One centred view, or tiles that overlap by at least the share `overlap`, evenly spaced.
    """
    if not tiled or canvas <= view:
        return (Span(0, canvas, (view - canvas) // 2, view),)
    step = max(1, round(view * (1 - overlap)))
    count = math.ceil((canvas - view) / step) + 1
    starts = [round(i * (canvas - view) / (count - 1)) for i in range(count)]
    return tuple(Span(start, start + view, 0, view) for start in starts)
