"""A torch network as a part of a graph."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from blemish.errors import CapabilityError, MissingExtraError
from blemish.graphs import Graph

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
from blemish import network_graph  # noqa: E402
from blemish.network_graph import add_network  # noqa: E402


def test_the_graph_computes_what_the_network_does_whatever_the_batch(capfd):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ELU()).eval()
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", 3, 8, 6])
    (y,) = add_network(graph, network, x, (3, 8, 6))
    graph.output(y, "y", TensorProto.FLOAT, ["B", 4, 8, 6])
    session = onnxruntime.InferenceSession(graph.model("net").SerializeToString())
    for batch in (1, 3):
        values = np.random.default_rng(0).random((batch, 3, 8, 6), np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(session.run(None, {"x": values})[0], expected, atol=1e-6)
    assert capfd.readouterr().out == "", "the exporter is silent"


def test_a_network_that_cannot_be_written_is_one_error():
    class Strange(torch.nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(CapabilityError, match="cannot write Strange as ONNX"):
        add_network(Graph(), Strange(), "x", (3, 4, 4))


def test_without_onnxscript_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(network_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"blemish\[train\]"):
        add_network(Graph(), torch.nn.Identity(), "x", (3, 4, 4))
