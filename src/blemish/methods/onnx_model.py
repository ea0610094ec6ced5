"""An exported file as a method: onnxruntime runs the graph, everything else is as it was.

The graph has the inputs ``pixels`` (B, H, W, 3) uint8 and ``valid`` (B, H, W) bool and the outputs
``map`` (B, h, w) float32 and, where the method scores by itself, ``score`` (B,) float32; H and W
are those of a view. A standalone file has no ``valid`` and takes images of its size.
docs/model-file.md is the contract. Needs the core install only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from blemish.errors import CapabilityError, ModelFileError
from blemish.maps import Post
from blemish.methods.base import Method, Output, Run, State
from blemish.options import option
from blemish.parallel import threads_asked
from blemish.samples import Samples
from blemish.types import Pixels

AGAIN = "Export it again."


@dataclass(frozen=True)
class OnnxModelOptions:
    """Options of an exported file."""

    threads: int = option(0, "Threads of onnxruntime; 0 = as many as there are cores.", low=0)


class OnnxModel(Method):
    """An ONNX file that `blemish export` wrote."""

    Options = OnnxModelOptions
    presets = {"tiny": {}, "small": {}}  # noqa: RUF012

    options: OnnxModelOptions

    @property
    def post(self) -> Post:
        """Never asked for: the file says what the exported method declared."""
        return Post()

    def learn(self, samples: Samples, run: Run) -> None:
        """Refuse: what an exported file knows was learned before."""
        raise CapabilityError(
            "onnx_model is an exported file and learns nothing: fit the method that it came from, "
            "then `blemish export`."
        )

    def predict_batch(self, x: Pixels, valid: NDArray[np.bool_], keys: Sequence[str]) -> Output:
        """Run the graph."""
        # The exact inverse of the one place that makes floats: the graph divides by itself.
        pixels = np.rint(x * np.float32(255)).astype(np.uint8)
        step = 1 if self._one_by_one else len(pixels)
        parts = [
            self._run(pixels[first : first + step], valid[first : first + step])
            for first in range(0, len(pixels), step)
        ]
        found = dict(zip(self._outputs, map(np.concatenate, zip(*parts, strict=True)), strict=True))
        scores = found.get("score")
        return Output(found["map"], None if scores is None else scores.astype(np.float64))

    @property
    def _one_by_one(self) -> bool:
        """Whether the graph takes one image at a time: a standalone one with tiles."""
        return bool(self._session.get_inputs()[0].shape[0] == 1)

    def state(self) -> State:
        """The header that the export wrote, and the graph."""
        return dict(self.origin_), {"graph": self.graph_}

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Open the graph.

        Raises:
            ModelFileError: onnxruntime cannot run it, or its inputs or outputs are others.
        """
        self.origin_ = dict(header)
        self.graph_ = np.asarray(arrays["graph"], np.uint8)
        self._session = _open(self.graph_.tobytes(), self.options.threads)
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._inputs = [i.name for i in self._session.get_inputs()]
        size = [int(v) for v in header["view"]]
        _check_contract(self._session, size, header.get("standalone") is not None)

    def _run(self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> list[Any]:
        feed = {"pixels": pixels, "valid": valid}
        try:
            return list(self._session.run(None, {name: feed[name] for name in self._inputs}))
        except Exception as error:  # onnxruntime has a dozen classes of its own
            raise ModelFileError(
                f"onnxruntime {onnxruntime.__version__} cannot run this file "
                f"({_first_line(error)}). {AGAIN}"
            ) from error


def _open(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters comes as an exception
    options.intra_op_num_threads = threads or threads_asked()
    # Waiting threads sleep: a spinning one would take its core from whoever needs it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen classes of its own
        raise ModelFileError(
            f"onnxruntime {onnxruntime.__version__} cannot open the graph "
            f"({_first_line(error)}). Install a newer onnxruntime, or export again."
        ) from error


def _check_contract(
    session: onnxruntime.InferenceSession, size: list[int], standalone: bool
) -> None:
    """Names, types and shapes of inputs and outputs."""
    inputs = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    wanted = {"pixels": ("tensor(uint8)", [*size, 3]), "valid": ("tensor(bool)", size)}
    if standalone:
        del wanted["valid"]
    if inputs != wanted:
        raise ModelFileError(
            f"The graph takes {inputs}, but a file of blemish takes {wanted}, RGB with three "
            f"channels. {AGAIN}"
        )
    outputs = {o.name: o.type for o in session.get_outputs()}
    if outputs.get("map") != "tensor(float)" or not set(outputs) <= {"map", "score"}:
        raise ModelFileError(f"The graph gives {outputs}, not a map and a score. {AGAIN}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
