"""The one geometry: the same for image, mask, valid area and the way back.

An image goes through three frames:

* *image*: the pixels as the user gave them, (H, W);
* *canvas*: the crop of the image at working resolution, without padding;
* *views*: what a method sees, a stack (N, h, w) cut from the canvas; one padded view, or tiles.

Views are resampled straight from the image, so an image of any size needs memory for its views
only. A method's map, on any grid that covers a view, goes back to the canvas (where maps are
smoothed and pooled) and from there to the image. Both ways back are linear and separable: one small
matrix per axis.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image as Pillow

from blemish.errors import DataError, OptionError
from blemish.graphs import Graph
from blemish.resampling import Span, blend_matrices, resize_linear, spans
from blemish.types import Image, Map, Mask

Fit = Literal["pad", "stretch"]
RESAMPLING = {
    "nearest": Pillow.Resampling.NEAREST,
    "bilinear": Pillow.Resampling.BILINEAR,
    "bicubic": Pillow.Resampling.BICUBIC,
    "area": Pillow.Resampling.BOX,
    "lanczos": Pillow.Resampling.LANCZOS,
}
# What stands outside the region of interest: mid grey, so that nothing there can reach a score.
OUTSIDE = 128
# `image_size=auto` works at the images' own size up to this many pixels.
AUTO_PIXELS = 300_000


@dataclass(frozen=True)
class Layout:
    """Where the views of one image lie.

    Attributes:
        image_shape: (H, W) of the image.
        box: Left, top, right, bottom of the crop in image pixels.
        canvas_shape: (H, W) of the canvas.
        rows: Vertical spans of the views.
        columns: Horizontal spans; view number ``i * len(columns) + j`` is row i, column j.
    """

    image_shape: tuple[int, int]
    box: tuple[int, int, int, int]
    canvas_shape: tuple[int, int]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def views(self) -> list[tuple[Span, Span]]:
        """Row and column span of every view."""
        return list(product(self.rows, self.columns))


@dataclass(frozen=True)
class Geometry:
    """Resize, pad, crop, tiles and region of interest.

    Attributes:
        size: (height, width) of the working resolution.
        fit: ``"stretch"`` to `size`; or ``"pad"``: keep the aspect ratio, fit inside `size` and
            fill up by edge replication (the filling is not valid).
        interpolation: One of `RESAMPLING`; antialiased when shrinking.
        crop: Left, top, right, bottom as shares in [0, 1] of the image; all of it by default.
        tile: Side of a square tile in canvas pixels; 0 = one view.
        overlap: Share in [0, 0.9] of a tile that it has in common with the next.
        multiple: What a method needs both sides of a view to be a multiple of; views are filled up
            by edge replication, never stretched.
        roi: (H, W) bool, the region of interest in the frame of an uncropped image; it is
            stretched to images of other sizes. None = everything.
    """

    size: tuple[int, int]
    fit: Fit = "pad"
    interpolation: str = "bilinear"
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    tile: int = 0
    overlap: float = 0.25
    multiple: int = 1
    roi: Mask | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.crop
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise OptionError(
                f"crop={self.crop} must be left, top, right, bottom as shares of the image with "
                "0 <= left < right <= 1 and 0 <= top < bottom <= 1."
            )
        if self.roi is not None and not self.roi.any():
            raise DataError("The region of interest is empty: mark the area to inspect non-zero.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values without the region of interest, which is stored as an array."""
        return {k: v for k, v in asdict(replace(self, roi=None)).items() if k != "roi"}

    @classmethod
    def from_json(cls, values: dict[str, Any], roi: Mask | None) -> Geometry:
        """Read back what :meth:`to_json` wrote."""
        shaped = {**values, "size": tuple(values["size"]), "crop": tuple(values["crop"])}
        return cls(**shaped, roi=roi)

    @property
    def view_shape(self) -> tuple[int, int]:
        """(h, w) of every view."""
        height, width = (self.tile, self.tile) if self.tile else self.size
        return -(-height // self.multiple) * self.multiple, -(
            -width // self.multiple
        ) * self.multiple

    def layout(self, image_shape: tuple[int, int]) -> Layout:
        """Place the views on an image of the shape (H, W)."""
        height, width = image_shape
        left, top, right, bottom = self.crop
        x0, x1 = _pixel_range(left, right, width)
        y0, y1 = _pixel_range(top, bottom, height)
        canvas = self.size
        if self.fit == "pad":
            scale = min(self.size[0] / (y1 - y0), self.size[1] / (x1 - x0))
            canvas = (
                min(self.size[0], max(1, round((y1 - y0) * scale))),
                min(self.size[1], max(1, round((x1 - x0) * scale))),
            )
        rows = spans(canvas[0], self.view_shape[0], self.overlap, bool(self.tile))
        columns = spans(canvas[1], self.view_shape[1], self.overlap, bool(self.tile))
        return Layout((height, width), (x0, y0, x1, y1), canvas, rows, columns)

    def views(self, image: Image) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Layout]:
        """Cut an image into what a method sees.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            Views (N, h, w, 3) uint8; valid (N, h, w) bool, False on padding and outside the region
            of interest; and the layout, which the way back needs.
        """
        cutter = self.cutter(image)
        pixels, valid = zip(*(cutter.cut(number) for number in range(len(cutter))), strict=True)
        return np.stack(pixels), np.stack(valid), cutter.layout

    def cutter(self, image: Image) -> Cutter:
        """Get an image (H, W, 3) uint8 ready for cutting one view after the other."""
        layout = self.layout((image.shape[0], image.shape[1]))
        if self.roi is None:
            return Cutter(self, layout, Pillow.fromarray(image), None)
        # Before resampling, or pixels outside would bleed into the border of the region.
        image = np.where(self.image_valid(layout)[:, :, None], image, np.uint8(OUTSIDE))
        return Cutter(self, layout, Pillow.fromarray(image), self.canvas_valid(layout))

    def mask_views(self, mask: Mask, layout: Layout) -> NDArray[np.bool_]:
        """Cut a mask like its image: (N, h, w) bool, True where half of a pixel is covered."""
        source = Pillow.fromarray(mask.astype(np.uint8) * 255)
        cut = [
            self._cut(source, layout, r, c, Pillow.Resampling.BOX) >= 128 for r, c in layout.views
        ]
        return np.stack(cut) & np.stack([self._inside(r, c) for r, c in layout.views])

    def canvas_valid(self, layout: Layout) -> Mask:
        """(H, W) bool on the canvas: inside the region of interest."""
        if self.roi is None:
            return np.ones(layout.canvas_shape, bool)
        roi = Pillow.fromarray(self.roi.astype(np.uint8) * 255)
        size = (layout.canvas_shape[1], layout.canvas_shape[0])
        box = _scaled_box(layout.box, layout.image_shape, self.roi.shape)
        return np.asarray(roi.resize(size, Pillow.Resampling.BOX, box=box)) >= 128

    def image_valid(self, layout: Layout) -> Mask:
        """(H, W) bool on the image: inside the crop and the region of interest."""
        valid = np.zeros(layout.image_shape, bool)
        x0, y0, x1, y1 = layout.box
        valid[y0:y1, x0:x1] = True
        if self.roi is not None:
            roi = Pillow.fromarray(self.roi.astype(np.uint8) * 255)
            size = (layout.image_shape[1], layout.image_shape[0])
            valid &= np.asarray(roi.resize(size, Pillow.Resampling.NEAREST)) >= 128
        return valid

    def is_whole(self, layout: Layout) -> bool:
        """Whether an image is one view without crop and region of interest.

        Then every pixel is valid, and the way back needs no detour over the canvas.
        """
        whole = layout.box == (0, 0, layout.image_shape[1], layout.image_shape[0])
        return whole and self.roi is None and len(layout.views) == 1

    def to_canvas(self, maps: NDArray[np.float32], layout: Layout) -> Map:
        """Bring the maps of the views, on any grid, to the canvas.

        Overlapping tiles are blended with weights that fall off linearly and add up to 1.

        Args:
            maps: (N, gh, gw) float32; the grid covers the whole view.
            layout: The layout of the image.

        Returns:
            (H, W) float32; 0 outside the region of interest.
        """
        canvas_valid = None if self.roi is None else self.canvas_valid(layout)
        blender = Blender(layout, canvas_valid)
        for number, grid in enumerate(maps):
            blender.add(number, grid, self.view_valid(layout, number, canvas_valid))
        return blender.canvas()

    def to_image(self, canvas: Map, layout: Layout) -> Map:
        """Bring a map from the canvas to the frame of the image; 0 outside crop and region."""
        x0, y0, x1, y1 = layout.box
        inner = resize_linear(canvas, (y1 - y0, x1 - x0))
        if (y1 - y0, x1 - x0) == layout.image_shape and self.roi is None:
            return inner
        whole = np.zeros(layout.image_shape, np.float32)
        whole[y0:y1, x0:x1] = inner
        whole[~self.image_valid(layout)] = 0
        return whole

    def _cut(
        self,
        source: Pillow.Image,
        layout: Layout,
        rows: Span,
        columns: Span,
        resampling: Pillow.Resampling | None = None,
    ) -> NDArray[np.uint8]:
        """Resample one view straight from the image and fill it up to its full size."""
        box = self.source_box(layout, rows, columns)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        how = RESAMPLING[self.interpolation] if resampling is None else resampling
        inner = np.asarray(source.resize(size, how, box=box))
        before = (rows.offset, columns.offset)
        after = (rows.length - size[1] - before[0], columns.length - size[0] - before[1])
        if not any(before + after):
            return inner
        widths = [(before[0], after[0]), (before[1], after[1])] + [(0, 0)] * (inner.ndim - 2)
        return np.pad(inner, widths, mode="edge")

    def source_box(
        self, layout: Layout, rows: Span, columns: Span
    ) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in image pixels of what one view shows."""
        x0, y0, x1, y1 = layout.box
        sy, sx = (y1 - y0) / layout.canvas_shape[0], (x1 - x0) / layout.canvas_shape[1]
        return (
            x0 + columns.start * sx,
            y0 + rows.start * sy,
            min(x0 + columns.stop * sx, x1),
            min(y0 + rows.stop * sy, y1),
        )

    def view_valid(
        self, layout: Layout, number: int, canvas_valid: Mask | None
    ) -> NDArray[np.bool_]:
        """(h, w) bool of one view: not padding, and inside the region of interest."""
        rows, columns = layout.views[number]
        valid = self._inside(rows, columns)
        if canvas_valid is not None:
            own = canvas_valid[rows.start : rows.stop, columns.start : columns.stop]
            valid[valid] = own.ravel()
        return valid

    def _inside(self, rows: Span, columns: Span) -> NDArray[np.bool_]:
        """(h, w) bool: not padding."""
        inside = np.zeros(self.view_shape, bool)
        bottom = rows.offset + rows.stop - rows.start
        right = columns.offset + columns.stop - columns.start
        inside[rows.offset : bottom, columns.offset : right] = True
        return inside


@dataclass(frozen=True)
class Cutter:
    """Cuts the views of one image when they are asked for: memory for one at a time.

    Attributes:
        geometry: Cuts it.
        layout: Where the views lie.
        source: The image; grey outside the region of interest.
        canvas_valid: (H, W) bool on the canvas; None = everything.
    """

    geometry: Geometry
    layout: Layout
    source: Pillow.Image
    canvas_valid: Mask | None

    def __len__(self) -> int:
        return len(self.layout.views)

    def cut(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """One view, (h, w, 3) uint8, and its valid pixels, (h, w) bool."""
        pixels = self.geometry._cut(self.source, self.layout, *self.layout.views[number])
        return pixels, self.geometry.view_valid(self.layout, number, self.canvas_valid)


class Blender:
    """Brings maps of views, one after the other, to the canvas of their image."""

    def __init__(self, layout: Layout, canvas_valid: Mask | None):
        self._layout, self._valid = layout, canvas_valid
        self._sum = np.zeros(layout.canvas_shape, np.float32)
        # Normalised: cells outside the region neither raise nor lower what is inside.
        self._weight = None if canvas_valid is None else np.zeros_like(self._sum)

    def add(self, number: int, grid: NDArray[np.float32], valid: Mask) -> None:
        """Add the map (gh, gw) of one view, whose pixels (h, w) are `valid`."""
        grid = np.asarray(grid, np.float32)
        if self._weight is None:
            return self._blend(self._sum, number, grid)
        cells = cell_valid(valid, grid.shape)
        self._blend(self._weight, number, cells.astype(np.float32))
        return self._blend(self._sum, number, np.where(cells, grid, np.float32(0)))

    def canvas(self) -> Map:
        """(H, W) float32; 0 outside the region of interest."""
        if self._weight is None or self._valid is None:
            return self._sum
        inside = self._sum / np.maximum(self._weight, 1e-6)
        return np.where(self._valid, inside, 0).astype(np.float32)

    def _blend(self, into: Map, number: int, grid: NDArray[np.float32]) -> None:
        layout = self._layout
        i, j = divmod(number, len(layout.columns))
        rows = blend_matrices(layout.rows, layout.canvas_shape[0], grid.shape[0])[i]
        columns = blend_matrices(layout.columns, layout.canvas_shape[1], grid.shape[1])[j]
        r, c = layout.rows[i], layout.columns[j]
        into[r.start : r.stop, c.start : c.stop] += rows @ grid @ columns.T


def auto_size(
    shapes: list[tuple[int, int]], multiple: int = 16, pixels: int = AUTO_PIXELS
) -> tuple[int, int]:
    """Working resolution for images of these shapes: their own, within a number of pixels.

    Args:
        shapes: (H, W) of the training images.
        multiple: Both sides are rounded to a multiple of this.
        pixels: Larger images are shrunk to this many; their aspect stays.
    """
    height, width = np.median(np.asarray(shapes, float), axis=0)
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return (
        max(multiple, round(height * scale / multiple) * multiple),
        max(multiple, round(width * scale / multiple) * multiple),
    )


def cell_valid(valid: Mask, grid: tuple[int, ...]) -> Mask:
    """Mark the cells of a grid (gh, gw) that hold at least one valid pixel of (h, w)."""
    height, width = valid.shape
    if valid.all():
        return np.ones(grid, bool)
    # A cell of a grid that does not divide the view takes every pixel that it touches.
    rows = [slice(*_cell_range(i, grid[0], height)) for i in range(grid[0])]
    columns = [slice(*_cell_range(j, grid[1], width)) for j in range(grid[1])]
    by_row = np.stack([valid[r].any(axis=0) for r in rows])
    return np.stack([by_row[:, c].any(axis=1) for c in columns], axis=1)


def add_cell_valid(graph: Graph, valid: str, size: tuple[int, int], grid: tuple[int, int]) -> str:
    """Add :func:`cell_valid` to a graph: (B, H, W) bool to (B, gh, gw) bool."""
    touched = []
    for pixels, cells in zip(size, grid, strict=True):
        matrix = np.zeros((cells, pixels), np.float32)
        for i in range(cells):
            matrix[i, slice(*_cell_range(i, cells, pixels))] = 1
        touched.append(matrix)
    counted = graph.between(graph.add("Cast", valid, to=TensorProto.FLOAT), *touched)
    return graph.add("Greater", counted, graph.floats(0.5))


def _pixel_range(low: float, high: float, n: int) -> tuple[int, int]:
    start = min(round(low * n), n - 1)
    return start, max(start + 1, round(high * n))


def _cell_range(index: int, cells: int, pixels: int) -> tuple[int, int]:
    return index * pixels // cells, max(-(-(index + 1) * pixels // cells), 1)


def _scaled_box(
    box: tuple[int, int, int, int], old: tuple[int, ...], new: tuple[int, ...]
) -> tuple[float, float, float, float]:
    sy, sx = new[0] / old[0], new[1] / old[1]
    return box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy
