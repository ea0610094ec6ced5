"""A backbone without weights: fixed filters at several scales and orientations.

What early vision models share [1, 2]: opponent colours, a pyramid, quadrature pairs of oriented
filters whose energy does not depend on phase, centre-surround contrast of either sign, and pooling
over small neighbourhoods (mean and maximum, so that a mark of few pixels is not averaged away). It
is written as an ONNX graph, so that it runs wherever onnxruntime runs, without torch.

[1] J. Bergen, E. Adelson, "Early vision and texture perception", Nature 333, 1988.
[2] T. Leung, J. Malik, "Representing and recognizing the visual appearance of materials using
    three-dimensional textons", IJCV 43(1), 2001.
[3] R. Arandjelović, A. Zisserman, "Three things everyone should know to improve object retrieval",
    CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from blemish.backbones.base import Arrays, Features
from blemish.errors import ModelFileError, OptionError
from blemish.graphs import Graph
from blemish.parallel import threads_asked
from blemish.types import Pixels

DEFAULT_STRIDES = (8,)
STRIDES = (4, 8, 16)
LEVELS = (1, 2, 4)  # the pyramid: pixels per pixel of the level
ORIENTATIONS = 4
SIDE = 7  # of a filter, in pixels of its level
# Opponent colours: lightness, red against green, yellow against blue.
OPPONENT = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0], [0.25, 0.25, -0.5]], np.float32)
# Colour itself depends on the lamp, contrast does not: it counts for less.
COLOUR_WEIGHT = 0.25
VERSION = 1  # of the filters: a bank of other features must not be compared with these


class FilterBank:
    """The fixed filters, run by onnxruntime."""

    def __init__(self, strides: tuple[int, ...]):
        wrong = [s for s in strides if s not in STRIDES]
        if wrong:
            raise OptionError(
                f"filter_bank has no stride {wrong[0]}; it has {', '.join(map(str, STRIDES))}."
            )
        self.strides = strides
        self.multiple = max(*strides, LEVELS[-1])
        self.channels = (3 + 2 * sum(_responses(level) for level in LEVELS),) * len(strides)
        self._session = _session(strides)

    @classmethod
    def open(cls, name: str, weights: str | None, strides: tuple[int, ...]) -> FilterBank:
        """Open by name; there are no weights to give."""
        if weights is not None:
            raise OptionError(f"filter_bank has no weights, but weights={weights} was given.")
        return cls(strides or DEFAULT_STRIDES)

    @classmethod
    def from_state(cls, header: Mapping[str, Any], arrays: Arrays) -> FilterBank:
        """Open again from a header."""
        if header.get("version") != VERSION:
            raise ModelFileError(
                f"This file has features of filter_bank version {header.get('version')}, this "
                f"blemish has version {VERSION}: fit again."
            )
        return cls(tuple(int(s) for s in header["strides"]))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """A header; there are no arrays."""
        return {"kind": "filter_bank", "version": VERSION, "strides": list(self.strides)}, {}

    def __call__(self, x: Pixels) -> list[Features]:
        """(B, H, W, 3) float32 in [0, 1] to one (B, h, w, C) float32 array per stride."""
        return [np.asarray(m) for m in self._session.run(None, {"x": np.ascontiguousarray(x)})]

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the filters to a graph; see :class:`blemish.backbones.base.Backbone`."""
        return _add_filters(graph, x, self.strides)


def build_graph(strides: tuple[int, ...]) -> ModelProto:
    """The filters as an ONNX model: input ``x`` (B, H, W, 3), one output per stride."""
    graph = Graph()
    pixels = graph.input("x", TensorProto.FLOAT, ["B", "H", "W", 3])
    for i, features in enumerate(_add_filters(graph, pixels, strides)):
        last = graph.add("Transpose", features, perm=[0, 2, 3, 1])
        graph.output(last, f"features_{i}", TensorProto.FLOAT, ["B", f"h{i}", f"w{i}", "C"])
    return graph.model("filter_bank")


def _add_filters(graph: Graph, x: str, strides: tuple[int, ...]) -> list[str]:
    """Pixels (B, H, W, 3) in [0, 1] to one (B, C, h, w) per stride."""
    pixels = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    opponent = graph.add("Conv", pixels, graph.constant(OPPONENT[:, :, None, None]))
    responses = {}
    for level in LEVELS:
        image = opponent
        if level > 1:
            window = {"kernel_shape": [level, level], "strides": [level, level]}
            image = graph.add("AveragePool", opponent, **window)
        responses[level] = _respond(graph, image, level)
    return [_pool(graph, opponent, responses, stride) for stride in strides]


def _pool(graph: Graph, opponent: str, responses: Mapping[int, str], stride: int) -> str:
    """Bring colour and all responses to one stride: (B, C, h, w)."""
    window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    colour = graph.add("AveragePool", opponent, **window)
    parts = [graph.add("Mul", colour, graph.floats(COLOUR_WEIGHT))]
    for level in LEVELS:
        # Windows twice as wide as the stride overlap, so that a mark is never split.
        n = max(1, stride // level)
        before, after = (n // 2, n - n // 2) if n > 1 else (0, 1)
        for pool in ("AveragePool", "MaxPool"):
            # Along one axis, then the other: the same, at a fraction of the cost.
            tall = graph.add(
                pool,
                responses[level],
                kernel_shape=[2 * n, 1],
                strides=[n, 1],
                pads=[before, 0, after, 0],
            )
            pooled = graph.add(
                pool, tall, kernel_shape=[1, 2 * n], strides=[1, n], pads=[0, before, 0, after]
            )
            # The root evens out the spread of weak and strong responses, as in [3].
            parts.append(graph.add("Sqrt", pooled))
    return graph.add("Concat", *parts, axis=1)


def _respond(graph: Graph, image: str, level: int) -> str:
    """Energies of the oriented pairs and rectified contrasts, all at least 0."""
    border = graph.constant(np.array([0, 0, SIDE // 2, SIDE // 2] * 2, np.int64))
    padded = graph.add("Pad", image, border, mode="edge")
    lightness = graph.part(padded, 1, 0, 1)
    responses = graph.add("Conv", lightness, graph.constant(_lightness_filters()))
    even = graph.part(responses, 1, 0, ORIENTATIONS)
    odd = graph.part(responses, 1, ORIENTATIONS, 2 * ORIENTATIONS)
    squares = graph.add("Add", graph.add("Mul", even, even), graph.add("Mul", odd, odd))
    energy = graph.add("Sqrt", squares)
    contrast = graph.part(responses, 1, 2 * ORIENTATIONS, 2 * ORIENTATIONS + 1)
    if level > 1:
        # Colour at single pixels is mostly noise of the sensor and of JPEG.
        colour = graph.part(padded, 1, 1, 3)
        kernel = graph.constant(np.repeat(_centre_surround()[None, None], 2, axis=0))
        contrast = graph.add("Concat", contrast, graph.add("Conv", colour, kernel, group=2), axis=1)
    bright = graph.add("Relu", contrast)
    dark = graph.add("Relu", graph.add("Neg", contrast))
    return graph.add("Concat", energy, bright, dark, axis=1)


def _responses(level: int) -> int:
    return ORIENTATIONS + 2 * (1 if level == 1 else 3)


def _lightness_filters() -> NDArray[np.float32]:
    """(9, 1, 7, 7): even Gabor filters, odd ones, and one centre-surround; sum 0, unit gain."""
    y, x = _grid()
    even: list[NDArray[Any]] = []
    odd: list[NDArray[Any]] = []
    for k in range(ORIENTATIONS):
        angle = np.pi * k / ORIENTATIONS
        across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        envelope = np.exp(-(across**2) / (2 * 1.3**2) - along**2 / (2 * 1.8**2))
        for kernels, wave in ((even, np.cos), (odd, np.sin)):
            kernel = envelope * wave(2 * np.pi * across / 4.5)
            kernel -= envelope * kernel.sum() / envelope.sum()
            kernels.append(kernel / np.abs(kernel).sum() * 2)
    return np.stack([*even, *odd, _centre_surround()])[:, None].astype(np.float32)


def _centre_surround() -> NDArray[np.float32]:
    """(7, 7): a small Gaussian minus a larger one."""
    y, x = _grid()
    centre, surround = (np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (0.8, 2.0))
    return np.asarray(centre / centre.sum() - surround / surround.sum(), np.float32)


def _grid() -> NDArray[np.float64]:
    return np.mgrid[-(SIDE // 2) : SIDE // 2 + 1, -(SIDE // 2) : SIDE // 2 + 1].astype(float)


@lru_cache(maxsize=4)
def _session(strides: tuple[int, ...]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads_asked()
    # Waiting threads sleep: a spinning one would take its core from whoever needs it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        build_graph(strides).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
