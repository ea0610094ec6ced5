"""The whole inference path as one graph for images of one size."""

from __future__ import annotations

from blemish.graphs import Graph
from blemish.pipeline import Pipeline


def add_standalone(graph: Graph, pipeline: Pipeline, size: tuple[int, int]) -> Graph:
    """Fold geometry, smoothing and pooling in."""
    raise NotImplementedError
