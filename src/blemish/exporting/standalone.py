"""The whole inference path as one graph for images of one size.

For users who have only a runtime: geometry, method, way back, smoothing and pooling, every step as
the numpy code does it. Resampling and smoothing are linear and separable, so each is two matrices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from scipy import ndimage

from blemish.exporting.resizing import add_resize
from blemish.graphs import Graph
from blemish.maps import Post, smooth_axis
from blemish.methods.base import GraphOutput
from blemish.pipeline import Pipeline, straight_matrices
from blemish.preprocess import OUTSIDE, Blender, Geometry, Layout, cell_valid
from blemish.resampling import blend_matrices, linear_matrix
from blemish.types import Mask

Floats = NDArray[np.float32]


def add_standalone(graph: Graph, pipeline: Pipeline, size: tuple[int, int]) -> Graph:
    """Fold geometry, smoothing and pooling in.

    The inputs become ``pixels`` (B, H, W, 3) uint8, the image itself; the outputs ``map``
    (B, H, W) in its frame and ``score`` (B,). With tiles B is 1.

    Args:
        graph: An empty graph.
        pipeline: What is folded.
        size: (height, width) of the images.
    """
    geometry, post = pipeline.geometry, pipeline.post
    layout = geometry.layout(size)
    batch: int | str = "B" if len(layout.views) == 1 else 1
    pixels = graph.input("pixels", TensorProto.UINT8, [batch, *size, 3])
    canvas_valid = None if geometry.roi is None else geometry.canvas_valid(layout)
    valid_views = np.stack(
        [geometry.view_valid(layout, n, canvas_valid) for n in range(len(layout.views))]
    )
    views = _add_views(graph, geometry, layout, pixels)
    x = graph.add("Mul", views, graph.floats(1 / 255))
    valid = graph.constant(valid_views)
    found = pipeline.method.export_graph(graph, x, valid, geometry.view_shape)
    image_valid = geometry.image_valid(layout)
    if post.frame == "image" and geometry.is_whole(layout):
        # As the pipeline has it: a map goes to its image without a stop on the canvas.
        anomaly_map = graph.between(found.maps, *straight_matrices(layout, size, found.grid, post))
        pooled, inside, shape = anomaly_map, None, size
    elif post.frame == "image":
        canvas = _add_canvas(graph, layout, canvas_valid, valid_views, found)
        anomaly_map = _add_to_image(graph, layout, canvas, image_valid)
        anomaly_map = _add_smooth(graph, anomaly_map, size, image_valid, post)
        pooled, inside, shape = anomaly_map, image_valid, size
    else:
        canvas = _add_canvas(graph, layout, canvas_valid, valid_views, found)
        canvas = _add_smooth(graph, canvas, layout.canvas_shape, canvas_valid, post)
        pooled, inside, shape = canvas, canvas_valid, layout.canvas_shape
        anomaly_map = _add_to_image(graph, layout, canvas, image_valid)
    if found.scores is None:
        score = _add_pool(graph, pooled, inside, shape, post)
    elif batch == "B":
        score = found.scores
    else:  # the worst of the tiles
        score = graph.add("ReduceMax", found.scores, graph.integers(0), keepdims=1)
    graph.output(anomaly_map, "map", TensorProto.FLOAT, [batch, *size])
    graph.output(score, "score", TensorProto.FLOAT, [batch])
    return graph


def _add_views(graph: Graph, geometry: Geometry, layout: Layout, pixels: str) -> str:
    """The image (B, H, W, 3) uint8 to the views, (B, h, w, 3) float32 in [0, 255]."""
    values = graph.add("Cast", pixels, to=TensorProto.FLOAT)
    image = graph.add("Transpose", values, perm=[0, 3, 1, 2])
    if geometry.roi is not None:
        inside = graph.constant(geometry.image_valid(layout))
        image = graph.add("Where", inside, image, graph.floats(OUTSIDE))
    views = []
    for rows, columns in layout.views:
        after = (rows.stop - rows.start, columns.stop - columns.start)
        view = add_resize(
            graph,
            image,
            layout.image_shape,
            geometry.source_box(layout, rows, columns),
            after,
            geometry.interpolation,
        )
        for axis, (n, span) in enumerate(zip(after, (rows, columns), strict=True), start=2):
            missing = (span.offset, span.length - n - span.offset)
            if any(missing):
                view = graph.take(view, np.pad(np.arange(n), missing, mode="edge"), axis)
        views.append(view)
    stacked = views[0] if len(views) == 1 else graph.add("Concat", *views, axis=0)
    return graph.add("Transpose", stacked, perm=[0, 2, 3, 1])


def _add_canvas(
    graph: Graph,
    layout: Layout,
    canvas_valid: Mask | None,
    valid_views: NDArray[np.bool_],
    found: GraphOutput,
) -> str:
    """The maps of the views, (B or N, gh, gw), blended to (B, ch, cw)."""
    maps, grid = found.maps, found.grid
    rows = blend_matrices(layout.rows, layout.canvas_shape[0], grid[0])
    columns = blend_matrices(layout.columns, layout.canvas_shape[1], grid[1])
    cells = np.stack([cell_valid(valid, grid) for valid in valid_views])
    if canvas_valid is not None:
        maps = graph.add("Where", graph.constant(cells), maps, graph.floats(0))
    total = ""
    for number, (r, c) in enumerate(layout.views):
        i, j = divmod(number, len(layout.columns))
        part = maps if len(layout.views) == 1 else graph.part(maps, 0, number, number + 1)
        # Matrices with empty rows put a tile at its place on the whole canvas.
        down = _placed(rows[i], r.start, layout.canvas_shape[0])
        along = _placed(columns[j], c.start, layout.canvas_shape[1])
        blended = graph.between(part, down, along)
        total = graph.add("Add", total, blended) if total else blended
    if canvas_valid is None:
        return total
    blender = Blender(layout, None)
    for number, own in enumerate(cells):
        blender.add(number, own.astype(np.float32), valid_views[number])
    scale = np.where(canvas_valid, 1 / np.maximum(blender.canvas(), 1e-6), 0)
    return graph.add("Mul", total, graph.floats(scale))


def _add_to_image(graph: Graph, layout: Layout, canvas: str, image_valid: Mask) -> str:
    """The canvas (B, ch, cw) to the frame of the image (B, H, W), 0 outside."""
    x0, y0, x1, y1 = layout.box
    height, width = layout.image_shape
    down = _placed(linear_matrix(layout.canvas_shape[0], y1 - y0), y0, height)
    along = _placed(linear_matrix(layout.canvas_shape[1], x1 - x0), x0, width)
    whole = graph.between(canvas, down, along)
    if image_valid.all():
        return whole
    return graph.add("Where", graph.constant(image_valid), whole, graph.floats(0))


def _add_smooth(
    graph: Graph, values: str, shape: tuple[int, int], valid: Mask | None, post: Post
) -> str:
    """The filters of `post`; see :func:`blemish.maps.smooth`."""
    if not post.blur and not post.boxes:
        return values
    down, along = (smooth_axis(np.eye(n, dtype=np.float32), post) for n in shape)
    filtered = graph.between(values, down, along)
    if valid is None or valid.all():
        return filtered
    weight = down @ valid.astype(np.float32) @ along.T
    scale = np.where(valid, 1 / np.maximum(weight, 1e-6), 0)
    return graph.add("Mul", filtered, graph.floats(scale))


def _add_pool(
    graph: Graph, values: str, valid: Mask | None, shape: tuple[int, int], post: Post
) -> str:
    """One score per image; see :func:`blemish.maps.pool_score`."""
    if post.pool == "mean_pool":
        width = max(1, round(post.pool_value))
        down, along = (_box_matrix(n, width, "nearest") for n in shape)
        values = graph.between(values, down, along)
    flat = graph.reshape(values, -1, shape[0] * shape[1])
    count = shape[0] * shape[1]
    if valid is not None and not valid.all():
        flat = graph.take(flat, np.flatnonzero(valid), 1)
        count = int(valid.sum())
    if post.pool != "top_share":
        return graph.add("ReduceMax", flat, graph.integers(1), keepdims=0)
    top = graph.integers(max(1, int(post.pool_value * count)))
    largest, _ = graph.add_several("TopK", 2, flat, top, axis=1)
    return graph.add("ReduceMean", largest, graph.integers(1), keepdims=0)


def _placed(matrix: Floats, first: int, length: int) -> Floats:
    """(length, n) with the rows of `matrix` from `first` on, others 0."""
    placed = np.zeros((length, matrix.shape[1]), np.float32)
    placed[first : first + len(matrix)] = matrix
    return placed


def _box_matrix(n: int, width: int, mode: str) -> Floats:
    return np.asarray(ndimage.uniform_filter1d(np.eye(n), width, axis=0, mode=mode), np.float32)
