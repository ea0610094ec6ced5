"""A torch network becomes a part of an ONNX graph.

The way leads through ``torch.export``, which runs the network once and writes down every step; the
batch stays open, height and width are fixed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from typing import Any

from blemish.errors import CapabilityError, MissingExtraError
from blemish.graphs import OPSET, Graph

try:
    import torch
except ImportError as error:
    raise MissingExtraError("Export of a network", "train") from error


def add_network(graph: Graph, network: Any, x: str, shape: tuple[int, ...]) -> list[str]:
    """Add a network with one input to a graph.

    Args:
        graph: Where nodes are added.
        network: A torch module in evaluation mode.
        x: Name of its input, (B, *shape) float32.
        shape: Shape of one example, such as (3, H, W).

    Returns:
        The names of its outputs.

    Raises:
        CapabilityError: The network does something that ONNX cannot say.
        MissingExtraError: onnxscript is not installed.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise MissingExtraError("Export of a network", "train")
    # The exporter talks a lot, in three ways; what matters comes as an exception.
    level, chatter = logging.root.manager.disable, io.StringIO()
    try:
        logging.disable(logging.WARNING)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(chatter),
            contextlib.redirect_stderr(chatter),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (torch.zeros(2, *shape),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                opset_version=OPSET,
                input_names=["x"],
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0]
        raise CapabilityError(
            f"torch cannot write {type(network).__name__} as ONNX ({reason}). Choose another "
            "backbone, such as filter_bank or a resnet."
        ) from error
    finally:
        logging.disable(level)
    if program is None:
        raise CapabilityError(f"torch wrote nothing for {type(network).__name__}.")
    prefix = f"network_{len(graph.nodes)}_"
    return graph.include(program.model_proto, {"x": x}, prefix)
