"""Contact sheets: many small pictures on one page, where a person sees at once what went wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.files import write_atomically
from blemish.preparation.placement import Rectangle
from blemish.types import Image

CELL = (150, 240)  # largest width and height of a small picture
GAP, LINE = 8, 14  # pixels between pictures, and for a line of text
WIDTH = 1600
PER_PAGE = 300
_FOUND = (230, 40, 40)


def write_sheets(stem: Path, pictures: Sequence[tuple[str, Path]]) -> list[Path]:
    """Write ``<stem>-1.jpg``, ``<stem>-2.jpg``, … and remove later ones of an earlier run.

    Args:
        stem: Path without number and suffix.
        pictures: A caption and an image file of each.
    """
    for old in stem.parent.glob(f"{stem.name}-*.jpg"):
        old.unlink()
    pages = [pictures[i : i + PER_PAGE] for i in range(0, len(pictures), PER_PAGE)]
    return [
        write_atomically(stem.with_name(f"{stem.name}-{number}.jpg"), _jpeg(_sheet(page)))
        for number, page in enumerate(pages, start=1)
    ]


def shrunk_photo(photo: Image, place: Rectangle | None) -> bytes:
    """A photo as a small JPEG file, with what was found in it outlined."""
    factor = max(1, max(photo.shape[:2]) // 600)
    small = Pillow.fromarray(photo).reduce(factor)
    if place is not None:
        corners = [(float(x), float(y)) for x, y in place.corners / factor]
        ImageDraw.Draw(small).polygon(corners, outline=_FOUND, width=3)
    return _jpeg(small)


def _sheet(pictures: Sequence[tuple[str, Path]]) -> Pillow.Image:
    rows = list(_rows([(caption, _small(path)) for caption, path in pictures]))
    heights = [max(p.height for _, p in row) + LINE + GAP for row in rows]
    page = Pillow.new("RGB", (WIDTH, sum(heights) + GAP), (28, 28, 30))
    pen, top = ImageDraw.Draw(page), GAP
    for row, height in zip(rows, heights, strict=True):
        left = GAP
        for caption, picture in row:
            page.paste(picture, (left, top))
            # About six pixels per letter of the built-in font.
            pen.text((left, top + picture.height + 1), caption[: picture.width // 6])
            left += picture.width + GAP
        top += height
    return page


def _rows(
    pictures: Sequence[tuple[str, Pillow.Image]],
) -> Iterator[list[tuple[str, Pillow.Image]]]:
    row: list[tuple[str, Pillow.Image]] = []
    for item in pictures:
        if row and sum(p.width + GAP for _, p in (*row, item)) + GAP > WIDTH:
            yield row
            row = []
        row.append(item)
    yield row


def _small(path: Path) -> Pillow.Image:
    with Pillow.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail(CELL, Pillow.Resampling.BILINEAR, reducing_gap=2)
    return picture


def _jpeg(picture: Pillow.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()
