"""The one inference path: image → views → method → canvas → smoothing → score and map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from blemish.errors import BlemishError, ImageError
from blemish.maps import Post, pool_score, smooth, smooth_axis
from blemish.methods.base import Method, Output
from blemish.parallel import read_ahead
from blemish.preprocess import Blender, Cutter, Geometry, Layout
from blemish.resampling import Span, span_matrix
from blemish.samples import to_float
from blemish.types import Image, Map, Mask

S = TypeVar("S")


@dataclass(frozen=True)
class Analysis:
    """What a method found in one image, before any decision.

    Attributes:
        key: Name of the image.
        score: Higher = more anomalous.
        anomaly_map: (H, W) float32 in the frame of the image; 0 where not valid.
        valid: (H, W) bool, inside crop and region of interest.
        pictures: Name to (h, w, 3) uint8 at working resolution.
    """

    key: str
    score: float
    anomaly_map: Map
    valid: Mask
    pictures: Mapping[str, Image] = field(default_factory=dict)


@dataclass
class _Open:
    """An image whose views are on their way through the method."""

    key: str
    cutter: Cutter
    blender: Blender
    scores: list[float] = field(default_factory=list)
    pictures: dict[str, Image] = field(default_factory=dict)
    grid: Map | None = None  # the method's map, where it goes straight to where it is smoothed


@dataclass(frozen=True)
class _View:
    image: _Open
    number: int
    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Pipeline:
    """Geometry, method and post steps, bound together."""

    geometry: Geometry
    method: Method
    post: Post
    batch_size: int = 8

    def analyse(
        self,
        sources: Iterable[S],
        read: Callable[[S], tuple[str, Image]],
        *,
        workers: int = 2,
        on_error: Callable[[S, ImageError], None] | None = None,
    ) -> Iterator[Analysis]:
        """Analyse images in order; reading runs ahead in threads.

        Args:
            sources: Anything that `read` turns into a key and an image (H, W, 3) uint8.
            read: Called in threads.
            workers: How many threads.
            on_error: Called with a source that could not be read, which is then left out; None =
                the error is raised.
        """

        def prepare(source: S) -> _Open | tuple[S, ImageError]:
            try:
                key, image = read(source)
            except ImageError as error:
                if on_error is None:
                    raise
                return source, error
            cutter = self.geometry.cutter(image)
            return _Open(key, cutter, Blender(cutter.layout, cutter.canvas_valid))

        def readable() -> Iterator[_Open]:
            # Images that are cut into tiles may be so large that only one fits into memory.
            ahead = 0 if self.geometry.tile else max(4, self.batch_size, workers)
            for image in read_ahead(prepare, sources, ahead=ahead, workers=workers):
                if isinstance(image, _Open):
                    yield image
                elif on_error is not None:
                    on_error(*image)

        places = ((image, number) for image in readable() for number in range(len(image.cutter)))
        views = read_ahead(_cut, places, ahead=2 * self.batch_size)
        while batch := list(islice(views, self.batch_size)):
            yield from self._run(batch)

    def _run(self, batch: list[_View]) -> Iterator[Analysis]:
        """Ask the method; yield every image that is complete now."""
        pixels = to_float(np.stack([view.pixels for view in batch]))
        valid = np.stack([view.valid for view in batch])
        output = self.method.predict_batch(pixels, valid, [view.image.key for view in batch])
        scores = _scores(output)
        for row, view in enumerate(batch):
            image = view.image
            if self._goes_straight(image.cutter):
                image.grid = output.maps[row]
            else:
                image.blender.add(view.number, output.maps[row], view.valid)
            image.scores.append(float(scores[row]))
            if len(image.cutter) == 1:  # tiles have no pictures of their own
                image.pictures = _pictures(output, row, image.cutter.layout)
            if view.number == len(image.cutter) - 1:
                yield self._finish(image)

    def _goes_straight(self, cutter: Cutter) -> bool:
        """Whether nothing stands between the method's map and where it is smoothed."""
        if self.post.frame == "image":
            return self.geometry.is_whole(cutter.layout)
        return cutter.canvas_valid is None and len(cutter) == 1

    def _finish(self, image: _Open) -> Analysis:
        layout, inside = image.cutter.layout, image.cutter.canvas_valid
        scores = np.asarray(image.scores)
        grid, canvas = image.grid, image.blender.canvas()
        # Of a large image neither the pixels nor the sum of the tiles are kept any longer.
        del image.cutter, image.blender
        valid = self.geometry.image_valid(layout)
        on_canvas = self.post.frame == "canvas"
        if grid is not None:
            shape = layout.canvas_shape if on_canvas else layout.image_shape
            pooled, inside = _straight(grid, layout, shape, self.post), None
        elif on_canvas:
            pooled = smooth(canvas, inside, self.post)
        else:
            pooled, inside = smooth(self.geometry.to_image(canvas, layout), valid, self.post), valid
        anomaly_map = self.geometry.to_image(pooled, layout) if on_canvas else pooled
        found = float(scores.max())
        score = pool_score(pooled, inside, self.post) if np.isnan(scores).all() else found
        if not np.isfinite(score) or not np.isfinite(anomaly_map).all():
            raise BlemishError(
                f"{image.key or 'An image'} got a score or map that is not a number: the method's "
                "training did not go well, or its weights are damaged. Fit again."
            )
        return Analysis(image.key, score, anomaly_map, valid, image.pictures)


def _cut(place: tuple[_Open, int]) -> _View:
    image, number = place
    return _View(image, number, *image.cutter.cut(number))


def _pictures(output: Output, row: int, layout: Layout) -> dict[str, Image]:
    """A method's own pictures of one view, without padding."""
    rows, columns = layout.views[0]
    inner = (
        slice(rows.offset, rows.offset + rows.stop),
        slice(columns.offset, columns.offset + columns.stop),
    )
    return {
        name: (np.clip(stack[row][inner], 0, 1) * 255 + 0.5).astype(np.uint8)
        for name, stack in output.pictures.items()
    }


def _straight(grid: NDArray[np.float32], layout: Layout, shape: tuple[int, int], post: Post) -> Map:
    """(gh, gw) over a view to the smoothed map (H, W) of its canvas: interpolated and blurred.

    Blurring an image takes longer than all else that is done to its map; here it is part of one
    small matrix per axis.
    """
    rows, columns = straight_matrices(layout, shape, (grid.shape[0], grid.shape[1]), post)
    return np.asarray(rows @ grid @ columns.T, np.float32)


def straight_matrices(
    layout: Layout, shape: tuple[int, int], grid: tuple[int, int], post: Post
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From a grid over a view straight to a smoothed map of a shape, one matrix per axis."""
    axes = zip(layout.views[0], shape, grid, strict=True)
    down, along = (_axis_matrix(span, pixels, cells, post) for span, pixels, cells in axes)
    return down, along


@lru_cache(maxsize=64)
def _axis_matrix(span: Span, pixels: int, cells: int, post: Post) -> NDArray[np.float32]:
    return smooth_axis(span_matrix(span, pixels, cells), post)


def _scores(output: Output) -> NDArray[np.float64]:
    """The method's scores; NaN where it leaves scoring to the pooled map."""
    if output.scores is not None:
        return output.scores
    return np.full(len(output.maps), np.nan)
