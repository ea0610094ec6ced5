"""The search as a graph finds what the search in numpy finds."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from blemish import memory_graph
from blemish.backbones.joining import join_grids
from blemish.graphs import Graph
from blemish.memory import nearest
from blemish.memory_graph import add_nearest, add_weight

CELLS, CHANNELS, BANK = (3, 4), 6, 50
COARSE = (2, 3)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(2, *CELLS, CHANNELS)).astype(np.float32)
    return features, generator.normal(size=(BANK, CHANNELS)).astype(np.float32)


def run(features, bank, count=None):
    graph, squares = Graph(), np.einsum("ij,ij->i", bank, bank)
    x = graph.input("x", TensorProto.FLOAT, ["B", *CELLS, CHANNELS])
    planes = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    found = add_nearest(graph, [planes], [(CHANNELS, *CELLS)], bank, squares)
    if count is None:
        graph.output(found.distances, "d", TensorProto.FLOAT, ["B", "n"])
        graph.output(found.index, "i", TensorProto.INT64, ["B", "n"])
    else:
        score = add_weight(graph, found.distances, found, bank, squares, count)
        graph.output(score, "s", TensorProto.FLOAT, ["B"])
    session = onnxruntime.InferenceSession(graph.model("search").SerializeToString())
    return session.run(None, {"x": features})


@pytest.mark.parametrize("part_bytes", [32_000_000, 500], ids=["one part", "many parts"])
def test_distances_and_places_are_those_of_numpy(part_bytes, vectors, monkeypatch):
    monkeypatch.setattr(memory_graph, "PART_BYTES", part_bytes)
    features, bank = vectors
    distances, index = run(features, bank)
    expected, places = nearest(features.reshape(-1, CHANNELS), bank)
    np.testing.assert_allclose(distances.ravel(), expected, rtol=1e-5)
    np.testing.assert_array_equal(index.ravel(), places)


@pytest.mark.parametrize("part_bytes", [32_000_000, 500], ids=["one part", "many parts"])
def test_maps_of_two_strides_are_searched_as_if_they_were_joined(part_bytes, vectors, monkeypatch):
    monkeypatch.setattr(memory_graph, "PART_BYTES", part_bytes)
    fine, bank = vectors
    coarse = np.random.default_rng(1).normal(size=(2, *COARSE, 3)).astype(np.float32)
    bank = np.concatenate([bank, bank[::-1, :3]], axis=1)
    graph, squares = Graph(), np.einsum("ij,ij->i", bank, bank)
    maps = []
    for name, shape in (("x", fine.shape), ("y", coarse.shape)):
        given = graph.input(name, TensorProto.FLOAT, ["B", *shape[1:]])
        maps.append(graph.add("Transpose", given, perm=[0, 3, 1, 2]))
    found = add_nearest(graph, maps, [(CHANNELS, *CELLS), (3, *COARSE)], bank, squares)
    graph.output(found.distances, "d", TensorProto.FLOAT, ["B", "n"])
    graph.output(found.index, "i", TensorProto.INT64, ["B", "n"])
    session = onnxruntime.InferenceSession(graph.model("search").SerializeToString())
    distances, index = session.run(None, {"x": fine, "y": coarse})
    joined = join_grids([fine, coarse])
    expected, places = nearest(joined.reshape(-1, bank.shape[1]), bank)
    np.testing.assert_allclose(distances.ravel(), expected, rtol=1e-5)
    np.testing.assert_array_equal(index.ravel(), places)


def test_a_patch_of_the_bank_is_at_no_distance(vectors):
    features, bank = vectors
    features[0, 0, 0] = bank[7]
    assert run(features, bank)[0][0, 0] == 0


@pytest.mark.parametrize("part_bytes", [32_000_000, 500], ids=["one part", "many parts"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_the_weight_is_that_of_the_paper(count, part_bytes, vectors, monkeypatch):
    monkeypatch.setattr(memory_graph, "PART_BYTES", part_bytes)
    features, bank = vectors
    (scores,) = run(features, bank, count)
    for found, patches in zip(scores, features.reshape(2, -1, CHANNELS), strict=True):
        distances, index = nearest(patches, bank)
        worst = distances.argmax()
        weight = 1.0
        if count > 1:
            centre = np.linalg.norm(bank - bank[index[worst]], axis=1)
            support = bank[np.argsort(centre)[:count]]
            apart = np.linalg.norm(support - patches[worst], axis=1) - distances[worst]
            weight = 1 - 1 / np.exp(apart).sum()
        assert found == pytest.approx(distances[worst] * weight, rel=1e-5)
