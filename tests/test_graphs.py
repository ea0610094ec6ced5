"""Building graphs by hand."""

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, checker, helper

from blemish.errors import CapabilityError
from blemish.graphs import OPSET, Graph


def run(graph, **feed):
    session = onnxruntime.InferenceSession(graph.model("test").SerializeToString())
    return session.run(None, feed)


def test_nodes_constants_and_parts_work_together():
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", 4])
    taken = graph.take(graph.part(x, 1, 1, 4), np.array([2, 0]), 1)
    graph.output(graph.reshape(taken, -1), "y", TensorProto.FLOAT, ["n"])
    checker.check_model(graph.model("test"), full_check=True)
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(run(graph, x=values)[0], [3, 1, 7, 5])


def test_small_constants_are_stored_once_and_by_type():
    graph = Graph()
    assert graph.floats(1) == graph.floats(1.0)
    assert graph.floats(1) != graph.integers(1)
    assert graph.integers(1) != graph.integers(1, 1)
    assert len(graph.initialisers) == 3


def test_resampling_is_two_products():
    graph, generator = Graph(), np.random.default_rng(0)
    rows, columns = generator.random((5, 3)), generator.random((7, 4))
    x = graph.input("x", TensorProto.FLOAT, ["B", 3, 4])
    graph.output(graph.between(x, rows, columns), "y", TensorProto.FLOAT, ["B", 5, 7])
    values = generator.random((2, 3, 4), np.float32)
    np.testing.assert_allclose(run(graph, x=values)[0], rows @ values @ columns.T, rtol=1e-5)


def inner():
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", 2])
    graph.output(graph.add("Mul", x, graph.floats([2, 3])), "y", TensorProto.FLOAT, ["B", 2])
    return graph.model("inner")


def test_another_model_may_be_included_twice():
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", 2])
    (once,) = graph.include(inner(), {"x": x}, "a_")
    (twice,) = graph.include(inner(), {"x": once}, "b_")
    graph.output(twice, "y", TensorProto.FLOAT, ["B", 2])
    np.testing.assert_array_equal(run(graph, x=np.ones((1, 2), np.float32))[0], [[4, 9]])


def test_what_cannot_be_taken_over_is_refused():
    other = inner()
    other.opset_import[0].version = OPSET - 1
    with pytest.raises(CapabilityError, match="is needed"):
        Graph().include(other, {"x": "x"}, "a_")
    branching = ModelProto()
    branching.CopyFrom(inner())
    body = helper.make_graph([], "body", [], [])
    branching.graph.node[0].attribute.append(helper.make_attribute("body", body))
    with pytest.raises(CapabilityError, match="cannot be exported"):
        Graph().include(branching, {"x": "x"}, "a_")
