"""ONNX graphs by hand: nodes and constants are added one by one, each result has its own name.

Whoever adds to a graph (a backbone, a method) names tensors by what the methods here return, so
that graphs can be put together from parts that do not know each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from blemish.errors import CapabilityError

OPSET = 18
IR_VERSION = 9
Shape = Sequence[int | str]


class Graph:
    """Collects nodes, constants, inputs and outputs."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initialisers: list[TensorProto] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def input(self, name: str, kind: int, shape: Shape) -> str:
        """Declare an input of a type such as ``TensorProto.UINT8``; text in `shape` = any size."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, tensor: str, name: str, kind: int, shape: Shape) -> None:
        """Give a tensor out under a name."""
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"give_{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def constant(self, value: Any) -> str:
        """A constant of the type of the array; the same small value is stored once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes() if array.size <= 64 else b"")
        if array.size <= 64 and key in self._known:
            return self._known[key]
        name = f"constant_{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        self._known[key] = name
        return name

    def floats(self, value: Any) -> str:
        """A float32 constant."""
        return self.constant(np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        """An int64 vector: shapes, axes and bounds."""
        return self.constant(np.asarray(values, np.int64))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result; gives the name of the result."""
        return self.add_several(kind, 1, *inputs, **attributes)[0]

    def add_several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several results."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        results = [name if i == 0 else f"{name}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), results, name=name, **attributes))
        return results

    def part(self, tensor: str, axis: int, first: int, stop: int) -> str:
        """The indices [first, stop) of one axis."""
        bounds = [self.integers(v) for v in (first, stop, axis)]
        return self.add("Slice", tensor, *bounds)

    def take(self, tensor: str, index: NDArray[np.integer[Any]], axis: int) -> str:
        """The given indices of one axis, constants."""
        return self.add("Gather", tensor, self.constant(index.astype(np.int64)), axis=axis)

    def reshape(self, tensor: str, *shape: int) -> str:
        """Another shape; -1 = what is left, 0 = as before."""
        return self.add("Reshape", tensor, self.integers(*shape))

    def between(self, tensor: str, rows: NDArray[Any], columns: NDArray[Any]) -> str:
        """``rows @ tensor @ columns.T`` over the last two axes: separable resampling."""
        return self.add(
            "MatMul",
            self.add("MatMul", self.floats(rows), tensor),
            self.floats(np.ascontiguousarray(columns.T)),
        )

    def include(self, model: ModelProto, inputs: Mapping[str, str], prefix: str) -> list[str]:
        """Add all of another model's nodes.

        Args:
            model: A model of the same opset, without functions and subgraphs.
            inputs: Its inputs, to tensors of this graph.
            prefix: Begins all its names, so that they clash with nothing.

        Returns:
            The names of its outputs here.

        Raises:
            CapabilityError: It has parts that cannot be taken over.
        """
        opsets = {o.domain: o.version for o in model.opset_import}
        if opsets.get("", opsets.get("ai.onnx")) != OPSET or model.functions:
            raise CapabilityError(f"A network came out with opsets {opsets}; {OPSET} is needed.")
        names = {"": "", **inputs}
        for tensor in model.graph.initializer:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            names[tensor.name] = copy.name = f"{prefix}{tensor.name}"
            self.initialisers.append(copy)
        for number, node in enumerate(model.graph.node):
            if any(a.HasField("g") or a.graphs for a in node.attribute):
                raise CapabilityError(f"A network has a {node.op_type}, which cannot be exported.")
            mine = helper.make_node(node.op_type, [names[n] for n in node.input], [])
            mine.name = f"{prefix}{node.op_type.lower()}_{number}"
            mine.domain = node.domain
            mine.attribute.extend(node.attribute)
            for result in node.output:
                names[result] = f"{prefix}{result}" if result else ""
                mine.output.append(names[result])
            self.nodes.append(mine)
        return [names[o.name] for o in model.graph.output]

    def model(self, name: str) -> ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, initializer=self.initialisers
        )
        return helper.make_model(
            graph,
            producer_name="blemish",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
