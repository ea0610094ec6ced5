"""The one inference path: image → views → method → canvas → smoothing → score and map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from blemish.errors import BlemishError, ImageError
from blemish.maps import Post, pool_score, smooth
from blemish.methods.base import Method, Output
from blemish.parallel import read_ahead
from blemish.preprocess import Geometry, Layout
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


@dataclass(frozen=True)
class _Prepared:
    key: str
    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    layout: Layout


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

        def prepare(source: S) -> _Prepared | tuple[S, ImageError]:
            try:
                key, image = read(source)
            except ImageError as error:
                if on_error is None:
                    raise
                return source, error
            return _Prepared(key, *self.geometry.views(image))

        waiting: list[_Prepared] = []
        ahead = max(4, self.batch_size, workers)
        for prepared in read_ahead(prepare, sources, ahead=ahead, workers=workers):
            if not isinstance(prepared, _Prepared):
                if on_error is not None:
                    on_error(*prepared)
                continue
            waiting.append(prepared)
            if sum(len(p.pixels) for p in waiting) >= self.batch_size:
                yield from self._run(waiting)
                waiting = []
        yield from self._run(waiting)

    def _run(self, images: list[_Prepared]) -> Iterator[Analysis]:
        if not images:
            return
        pixels = np.concatenate([p.pixels for p in images])
        valid = np.concatenate([p.valid for p in images])
        keys = [p.key for p in images for _ in p.pixels]
        parts = []
        for first in range(0, len(pixels), self.batch_size):
            rows = slice(first, first + self.batch_size)
            parts.append(self.method.predict_batch(to_float(pixels[rows]), valid[rows], keys[rows]))
        maps = np.concatenate([p.maps for p in parts])
        scores = np.concatenate([_scores(p) for p in parts])
        first = 0
        for number, image in enumerate(images):
            rows = slice(first, first + len(image.pixels))
            yield self._finish(
                image, maps[rows], scores[rows], self._pictures(images, number, parts)
            )
            first = rows.stop

    def _finish(
        self,
        image: _Prepared,
        maps: NDArray[np.float32],
        scores: NDArray[np.float64],
        pictures: dict[str, Image],
    ) -> Analysis:
        canvas = self.geometry.to_canvas(maps, image.layout)
        whole = self.geometry.roi is None
        valid = self.geometry.image_valid(image.layout)
        if self.post.frame == "canvas":
            canvas_valid = None if whole else self.geometry.canvas_valid(image.layout)
            canvas = smooth(canvas, canvas_valid, self.post)
            anomaly_map = self.geometry.to_image(canvas, image.layout)
            pooled = (canvas, canvas_valid)
        else:
            anomaly_map = self.geometry.to_image(canvas, image.layout)
            anomaly_map = smooth(anomaly_map, valid, self.post)
            pooled = (anomaly_map, valid)
        score = pool_score(*pooled, self.post) if np.isnan(scores).all() else float(scores.max())
        if not np.isfinite(score) or not np.isfinite(anomaly_map).all():
            raise BlemishError(
                f"{image.key or 'An image'} got a score or map that is not a number: the method's "
                "training did not go well, or its weights are damaged. Fit again."
            )
        return Analysis(image.key, score, anomaly_map, valid, pictures)

    def _pictures(
        self, images: list[_Prepared], number: int, parts: list[Output]
    ) -> dict[str, Image]:
        """A method's own pictures, without padding; tiles have none."""
        if not parts[0].pictures or any(len(p.pixels) > 1 for p in images):
            return {}
        rows, columns = images[number].layout.views[0]
        top, left = rows.offset, columns.offset
        inner = (slice(top, top + rows.stop), slice(left, left + columns.stop))
        part = parts[number // self.batch_size]
        return {
            name: (np.clip(stack[number % self.batch_size][inner], 0, 1) * 255 + 0.5).astype(
                np.uint8
            )
            for name, stack in part.pictures.items()
        }


def _scores(output: Output) -> NDArray[np.float64]:
    """The method's scores; NaN where it leaves scoring to the pooled map."""
    if output.scores is not None:
        return output.scores
    return np.full(len(output.maps), np.nan)
