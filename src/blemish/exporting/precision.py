"""Smaller numbers in an exported graph: half-precision storage, 8-bit convolutions."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, load_model, numpy_helper, save_model

from blemish.errors import CapabilityError

SMALL = 256  # constants with fewer values stay as they are: biases, bounds


def store_halves(model: ModelProto) -> ModelProto:
    """Store large float32 constants as float16; computing stays in float32.

    A runtime turns them back once, when it opens the file: half the size at the same speed, on any
    processor. What does not fit into float16 stays as it is.
    """
    smaller = ModelProto()
    smaller.CopyFrom(model)
    kept, casts = [], []
    for tensor in smaller.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if (
            values.dtype != np.float32
            or values.size < SMALL
            or np.abs(values).max() > np.finfo(np.float16).max
        ):
            kept.append(tensor)
            continue
        name = f"{tensor.name}_half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *smaller.graph.node]
    del smaller.graph.initializer[:], smaller.graph.node[:]
    smaller.graph.initializer.extend(kept)
    smaller.graph.node.extend(nodes)
    return smaller


def to_int8(model: ModelProto, feeds: Sequence[dict[str, Any]]) -> ModelProto:
    """Compute the convolutions of a network in 8 bits, by onnxruntime's static quantisation.

    Everything else stays: geometry, distances and the bank are differences of close numbers.

    Args:
        model: An exported graph.
        feeds: Inputs of good images, on which the ranges of activations are measured.

    Raises:
        CapabilityError: There is no network in it.
    """
    names = [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.name.startswith("network_")
    ]
    if not names:
        raise CapabilityError(
            "precision=int8 computes a network's convolutions in 8 bits, and this detector has "
            "none; export it as fp32 or fp16."
        )
    # Takes a second to load, and only this precision needs it.
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[dict[str, Any]] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            save_model(model, before)
            quantization.quantize_static(
                before,
                after,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                # 7 bits of weights: older processors add pairs of products in 16 bits.
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_quantize=names,
            )
            smaller = load_model(after)
            del smaller.metadata_props[:]  # the quantiser leaves notes there
            return smaller
    finally:
        logging.disable(level)
