"""What to inspect in bulk: a folder, a list of files, or Parquet with paths or bytes.

Folders and lists are first written as Parquet of paths beside the results. So all sources are one
thing: Parquet, cut into chunks that any machine can read on its own, without the others' rows in
memory, and the same ones when a run goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from blemish.errors import DataError, MissingExtraError
from blemish.images import is_image_name
from blemish.scale.storage import Place, find_place, patiently

try:
    import pyarrow
    from pyarrow import parquet
except ImportError as error:
    raise MissingExtraError("Inspecting in bulk", "scale") from error

CONTENT = "bytes"  # the column of image files as they are
NAMES = ("image", "path", "url")  # columns that name an image; the first one found counts
CHUNK_MB = 64.0  # chunks of Parquet with images have fewer rows, so that they hold at most this


@dataclass(frozen=True)
class Chunk:
    """Images that one worker judges in one go, and that become one file of results.

    Attributes:
        number: From 0; the name of the file of results.
        file: Parquet file.
        group: Row group of it.
        first: First row within the group.
        rows: How many.
    """

    number: int
    file: str
    group: int
    first: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Item:
    """One image to judge.

    Attributes:
        name: What the results call it.
        content: The bytes of the file; None = they are at `name`.
    """

    name: str
    content: bytes | None = None


def list_source(source: Place, listing: Place, rows: int) -> list[str]:
    """The Parquet files of a source; for folders and lists of files, the one that is written here.

    Args:
        source: A folder of images or of Parquet files, a Parquet file, a list of paths or URLs
            (``*.txt``, one a line, relative ones from where the list lies), or one image.
        listing: Where the Parquet file of a folder or list goes; one that is there is replaced.
        rows: Images per row group of it.

    Raises:
        DataError: There is no such source, or no image in it.
    """
    if source.name.endswith(".parquet") and not source.is_folder():
        return [str(source)]
    if source.is_folder():
        found = source.walk()
        first = next(
            (p for p in found if is_image_name(Path(p.name)) or p.name.endswith(".parquet")), None
        )
        if first is not None and first.name.endswith(".parquet"):
            return [str(first), *(str(p) for p in found if p.name.endswith(".parquet"))]
        names: Iterator[str] = (str(p) for p in source.walk() if is_image_name(Path(p.name)))
    elif not source.exists():
        raise DataError(f"{source} does not exist; check the path.")
    elif source.name.endswith(".txt"):
        names = _lines(source)
    elif is_image_name(Path(source.name)):
        names = iter((str(source),))
    else:
        raise DataError(
            f"{source} is neither a folder, a list of files (*.txt), Parquet nor an image."
        )
    if not _write_listing(names, listing, rows):
        raise DataError(f"There is no image in {source}; check the path.")
    return [str(listing)]


def _lines(source: Place) -> Iterator[str]:
    for line in source.read().decode().splitlines():
        if line.strip():
            yield absolute(line.strip(), source.parent)


def absolute(name: str, folder: Place) -> str:
    """A path or URL as it is, a relative path below a folder."""
    return name if "://" in name or Path(name).is_absolute() else str(folder / name)


def _write_listing(names: Iterator[str], listing: Place, rows: int) -> int:
    """Write names as Parquet, a row group in memory at a time; returns how many."""
    schema = pyarrow.schema([("image", pyarrow.string())])
    listing.files.makedirs(listing.parent.path, exist_ok=True)
    count = 0
    with (
        listing.files.open(listing.path, "wb") as opened,
        parquet.ParquetWriter(opened, schema) as writer,
    ):
        while group := list(islice(names, rows)):
            writer.write_table(pyarrow.table({"image": group}, schema))
            count += len(group)
    return count


def cut(files: Sequence[str], rows: int) -> list[Chunk]:
    """Cut Parquet files into chunks, in order; only their footers are read.

    Args:
        files: From :func:`list_source`.
        rows: Images per chunk, at most.

    Raises:
        DataError: A file is no Parquet, or has no column of images; or there is no row.
    """
    chunks: list[Chunk] = []
    for file in files:
        place = find_place(file)
        for group, (count, size) in enumerate(_groups(place)):
            fit = max(1, min(rows, int(rows if not size else CHUNK_MB * 1e6 * count / size)))
            for first in range(0, count, fit):
                chunks.append(Chunk(len(chunks), file, group, first, min(fit, count - first)))
    if not chunks:
        raise DataError(f"There is no image in {', '.join(files)}: they have no row.")
    return chunks


def _groups(place: Place) -> list[tuple[int, int]]:
    """Rows and bytes of images of each row group."""

    def ask() -> list[tuple[int, int]]:
        with place.files.open(place.path, "rb") as opened:
            try:
                found = parquet.ParquetFile(opened)
            except pyarrow.ArrowInvalid as error:
                raise DataError(f"{place} is not a Parquet file ({error}).") from error
            names = found.schema_arrow.names
            if not {CONTENT, *NAMES} & set(names):
                raise DataError(
                    f"{place} has the columns {', '.join(names)}; it needs {CONTENT!r} with image "
                    f"files, or one of {', '.join(map(repr, NAMES))} with paths or URLs."
                )
            groups = [found.metadata.row_group(i) for i in range(found.num_row_groups)]
            held = CONTENT in names
            return [(g.num_rows, g.total_byte_size if held else 0) for g in groups]

    return patiently(ask, place)


def read_items(chunk: Chunk) -> list[Item]:
    """The images of a chunk.

    Raises:
        StorageError: The storage cannot be reached.
    """
    place = find_place(chunk.file)
    rows = patiently(lambda: list(_rows(place, chunk)), place)
    return [_item(row, place, chunk, number) for number, row in enumerate(rows, start=chunk.first)]


def _rows(place: Place, chunk: Chunk) -> Iterable[Mapping[str, Any]]:
    """The rows of a chunk out of its row group, which may be far larger than memory."""
    position, end = 0, chunk.first + chunk.rows
    with place.files.open(place.path, "rb") as opened:
        found = parquet.ParquetFile(opened)
        columns = [n for n in (CONTENT, *NAMES) if n in found.schema_arrow.names]
        for batch in found.iter_batches(64, row_groups=[chunk.group], columns=columns):
            low, high = max(chunk.first - position, 0), min(end - position, len(batch))
            if low < high:
                yield from batch.slice(low, high - low).to_pylist()
            position += len(batch)
            if position >= end:
                return


def _item(row: Mapping[str, Any], place: Place, chunk: Chunk, number: int) -> Item:
    name = next((row[n] for n in NAMES if row.get(n)), None)
    if CONTENT in row:
        own = f"{place}#{chunk.group}.{number}"
        return Item(str(name or own), row[CONTENT] or b"")
    return Item(absolute(str(name or ""), place.parent))
