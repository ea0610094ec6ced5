import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from blemish.backbones.joining import (
    add_join,
    add_unfold,
    average_neighbourhood,
    join_grids,
    unfold_neighbourhood,
)
from blemish.graphs import Graph


def features(height, width, channels=3, batch=2):
    generator = np.random.default_rng(0)
    return generator.normal(size=(batch, height, width, channels)).astype(np.float32)


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3, 5, 9]))
def test_a_neighbourhood_is_the_mean_of_the_cells_that_exist(height, width, side):
    given_, reach = features(height, width), side // 2
    found = average_neighbourhood(given_, side)
    for i, j in np.ndindex(height, width):
        window = given_[:, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
        np.testing.assert_allclose(found[:, i, j], window.mean(axis=(1, 2)), atol=1e-5)


def test_an_unfolded_neighbourhood_holds_every_vector_around_a_cell():
    given_ = features(4, 5)
    found = unfold_neighbourhood(given_, 3, 27)
    window = given_[:, 1:4, 2:5].transpose(0, 3, 1, 2).reshape(2, -1)
    np.testing.assert_array_equal(found[:, 2, 3], window)
    # Beyond the border stands the border again.
    np.testing.assert_array_equal(found[0, 0, 0].reshape(3, 3, 3)[:, 0, 0], given_[0, 0, 0])


@pytest.mark.parametrize("values", [26, 13, 5, 1])
def test_an_unfolded_neighbourhood_is_averaged_down_and_loses_nothing(values):
    given_ = features(3, 3)
    whole, found = unfold_neighbourhood(given_, 3, 27), unfold_neighbourhood(given_, 3, values)
    counts = np.diff(np.append(np.arange(values) * 27 // values, 27))
    assert counts.min() >= 1
    np.testing.assert_allclose(found @ counts, whole.sum(axis=3), rtol=1e-4, atol=1e-4)


def test_the_features_that_were_given_stay_as_they_are():
    given_ = features(4, 5)
    before = given_.copy()
    average_neighbourhood(given_, 3)
    np.testing.assert_array_equal(given_, before)


def test_one_map_is_not_copied():
    given_ = features(4, 5)
    assert join_grids([given_]) is given_


def test_coarser_maps_are_interpolated_to_the_first_grid():
    fine, coarse = features(8, 12), np.full((2, 4, 6, 5), 2.5, np.float32)
    joined = join_grids([fine, coarse])
    assert joined.shape == (2, 8, 12, 8)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined[..., :3], fine)
    np.testing.assert_allclose(joined[..., 3:], 2.5, rtol=1e-6)


def test_interpolation_is_that_of_torch():
    torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
    coarse = features(3, 5)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(0, 3, 1, 2), (7, 10), mode="bilinear", align_corners=False
    )
    joined = join_grids([features(7, 10), coarse])[..., 3:]
    np.testing.assert_allclose(joined, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def graphed(features, add):
    """What `add` makes of (B, h, w, C) features in a graph, channels first in between."""
    graph = Graph()
    x = graph.input("x", TensorProto.FLOAT, ["B", *features.shape[1:]])
    found = add(graph, graph.add("Transpose", x, perm=[0, 3, 1, 2]))
    graph.output(graph.add("Transpose", found, perm=[0, 2, 3, 1]), "y", TensorProto.FLOAT, "BhwC")
    session = onnxruntime.InferenceSession(graph.model("part").SerializeToString())
    return session.run(None, {"x": features})[0]


@pytest.mark.parametrize(("side", "values"), [(3, 5), (3, 45), (5, 7)])
def test_a_graph_unfolds_as_numpy_does(side, values):
    features = np.random.default_rng(0).random((2, 4, 6, 5), np.float32)
    found = graphed(features, lambda g, m: add_unfold(g, m, 5, side, values))
    np.testing.assert_allclose(found, unfold_neighbourhood(features, side, values), atol=1e-6)


def test_a_graph_joins_on_any_grid_as_numpy_does():
    features = np.random.default_rng(0).random((2, 4, 6, 5), np.float32)
    found = graphed(features, lambda g, m: add_join(g, [m, m], [(4, 6)] * 2, (3, 8)))
    np.testing.assert_allclose(found, join_grids([features, features], (3, 8)), atol=1e-6)
