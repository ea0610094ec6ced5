"""Features of a frozen backbone, computed once per view and kept on disk in half precision.

Without augmentation a frozen backbone says the same of an image at every epoch and at every fit.
A cache is a folder with one small file per view. The name of a file is a hash of the pixels that
the backbone sees (what image, geometry and region of interest come to), and lies in a folder named
after the size and a hash of the backbone: weights, header, versions of the libraries that run it.
So nothing stale can be found, and nothing has to be thrown away when something changes.

Files are written whole or not at all, are never replaced while they are good, and are checked when
they are read. So several processes may share a folder, one may be killed at any moment, and the
folder can be deleted at any time: what is missing or damaged is computed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.backbones.base import Backbone, Features, to_half
from blemish.errors import BudgetError, OptionError
from blemish.files import write_atomically
from blemish.graphs import Graph
from blemish.run import Run
from blemish.samples import Samples
from blemish.types import Pixels

VERSION = 1  # of the files; another one is refused
MARKER = "blemish-features.json"  # says that a folder is a cache, so that nothing else is touched
SUFFIX = ".features"
HEADER = struct.Struct("<8sII")  # magic, CRC-32 of the values, zero
MAGIC = b"blemishF"
LIBRARIES = ("onnxruntime", "timm", "torch")  # that the features may depend on
ABANDONED = 3600  # seconds after which a temporary file belongs to a process that was killed

Half = NDArray[np.float16]


class FeatureCache:
    """A backbone that remembers.

    It is called like the backbone inside and gives the same features rounded to float16, also the
    first time, so that a fit does not depend on what was in the cache.

    Args:
        backbone: A frozen backbone.
        folder: The cache; made when it is not there.
        limit_mb: Largest size of the folder in MB (10^6 bytes), as far as this process fills it.

    Raises:
        OptionError: The folder is another version's, or holds something else.
    """

    def __init__(self, backbone: Backbone, folder: str | Path, limit_mb: float = 20_000):
        self.strides, self.channels = backbone.strides, backbone.channels
        self.multiple = backbone.multiple
        self._backbone, self._root, self._limit = backbone, Path(folder), limit_mb * 1e6
        self._written = 0
        self._check_marker()
        self._key = _backbone_key(backbone)

    def export(self, graph: Graph, x: str, size: tuple[int, int]) -> list[str]:
        """Add the backbone itself to a graph; nothing is cached there."""
        return self._backbone.export(graph, x, size)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
        """What the backbone inside says."""
        return self._backbone.state()

    def view_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes on disk of the features of one view of (h, w) pixels."""
        return HEADER.size + 2 * sum(prod(s) for s in self._shapes(shape))

    def reserve(self, views: int, shape: tuple[int, int], say: Callable[[str], None]) -> None:
        """Say what a run will need, and make room for it; the oldest files go first.

        Args:
            views: Number of views.
            shape: (h, w) of every view.
            say: Is told the bytes, before anything is computed.

        Raises:
            BudgetError: The run alone needs more than the limit, or than the disk has.
        """
        needed = views * self.view_bytes(shape)
        say(
            f"Feature cache: {views:,} views of {self.view_bytes(shape) / 1e6:.2f} MB, "
            f"{needed / 1e6:,.0f} MB in all, in {self._root} (at most {self._limit / 1e6:,.0f} MB)."
        )
        if needed > self._limit:
            raise BudgetError(
                f"The features need {needed / 1e6:,.0f} MB, the cache may have "
                f"{self._limit / 1e6:,.0f} MB: allow more (feature_cache_mb), use a smaller "
                "image_size, or fit without the cache."
            )
        kept = self._make_room(self._limit - needed)
        self._written = 0
        # What is kept may be what is needed: then no new space is taken.
        free = shutil.disk_usage(self._root).free
        if needed - kept > free:
            raise self._full(f"{free / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} MB are needed")

    def __call__(self, x: Pixels) -> list[Features]:
        """Features of a batch, from the cache where they are known.

        Args:
            x: (B, H, W, 3) float32 RGB in [0, 1].

        Returns:
            One (B, h, w, C) float32 array per stride, with the precision of float16.
        """
        views = self.remember(x)
        return [np.stack(maps).astype(np.float32) for maps in zip(*views, strict=True)]

    def remember(self, x: Pixels) -> list[tuple[Half, ...]]:
        """Features of a batch as memory maps: they take no memory until they are looked at.

        Args:
            x: (B, H, W, 3) float32 RGB in [0, 1].

        Returns:
            For each view one read-only (h, w, C) float16 array per stride.

        Raises:
            BudgetError: The disk is full or cannot be written, or the limit is reached.
        """
        shapes = self._shapes((x.shape[1], x.shape[2]))
        folder = self._root / f"{self._key}-{x.shape[2]}x{x.shape[1]}"
        paths = [folder / f"{_view_key(view)}{SUFFIX}" for view in x]
        found = [_read(path, shapes) for path in paths]
        missing = [i for i, maps in enumerate(found) if maps is None]
        if missing:
            computed = self._backbone(x[missing])
            for row, i in enumerate(missing):
                maps = tuple(to_half(m[row]) for m in computed)
                self._write(paths[i], maps)
                # Deleted already by someone else: then these are as good.
                found[i] = _read(paths[i], shapes) or maps
        return [maps for maps in found if maps is not None]

    def _shapes(self, shape: tuple[int, int]) -> list[tuple[int, int, int]]:
        pairs = zip(self.strides, self.channels, strict=True)
        return [(shape[0] // stride, shape[1] // stride, channels) for stride, channels in pairs]

    def _write(self, path: Path, maps: tuple[Half, ...]) -> None:
        values = b"".join(m.tobytes() for m in maps)
        self._written += HEADER.size + len(values)
        if self._written > self._limit:
            raise BudgetError(
                f"The feature cache {self._root} has reached {self._limit / 1e6:,.0f} MB: allow "
                "more (feature_cache_mb), or fit without the cache."
            )
        try:
            if not (self._root / MARKER).is_file():
                self._mark()  # the folder was deleted meanwhile
            write_atomically(path, HEADER.pack(MAGIC, zlib.crc32(values), 0) + values)
        except OSError as error:
            # Windows replaces no file that another process reads; that one is as good.
            if not path.is_file():
                raise self._full(str(error)) from error

    def _full(self, reason: str) -> BudgetError:
        return BudgetError(
            f"The feature cache {self._root} cannot be written: {reason}. Free some disk space "
            "(deleting the cache is always safe), name another folder, or fit without the cache."
        )

    def _make_room(self, room: float) -> float:
        """Delete the oldest files until all take at most `room` bytes; returns what they take."""
        files = []
        for path in self._root.glob("*/*"):
            with suppress(OSError):
                state = path.stat()
                if path.suffix == SUFFIX:
                    files.append((state.st_mtime, state.st_size, path))
                elif f"{SUFFIX}." in path.name and state.st_mtime < time.time() - ABANDONED:
                    path.unlink()
        total = float(sum(size for _, size, _ in files))
        for _, size, path in sorted(files):
            if total <= room:
                break
            with suppress(OSError):  # gone already, or in use on Windows
                path.unlink()
                total -= size
        return total

    def _check_marker(self) -> None:
        marker = self._root / MARKER
        # Listed before the marker is looked for: who makes a cache writes its marker first.
        others = self._visible()
        if not marker.is_file():
            if others:
                raise OptionError(
                    f"{self._root} is no feature cache, and not empty: name a new or empty folder."
                )
            try:
                self._mark()
            except OSError as error:
                raise self._full(str(error)) from error
        try:
            version = json.loads(marker.read_text("utf-8"))["version"]
        except (OSError, ValueError, KeyError, TypeError):
            version = "unknown"
        if version != VERSION:
            raise OptionError(
                f"The feature cache {self._root} has version {version}, this blemish writes version"
                f" {VERSION}: delete the folder (always safe), or name another one."
            )

    def _visible(self) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return [p.name for p in self._root.iterdir() if not p.name.startswith(".")]
        return []

    def _mark(self) -> None:
        with suppress(PermissionError):  # Windows: another process reads the same marker
            write_atomically(self._root / MARKER, json.dumps({"version": VERSION}) + "\n")


def cached(backbone: Backbone, samples: Samples, run: Run) -> Backbone:
    """The backbone behind the feature cache of a run, or itself where there is none.

    Room for all views is made, and what it takes is said, before anything is computed.

    Raises:
        OptionError: The folder is no cache of this version.
        BudgetError: There is not enough room.
    """
    if run.feature_cache is None or not len(samples):
        return backbone
    cache = FeatureCache(backbone, run.feature_cache, run.feature_cache_mb)
    geometry = samples.geometry
    # Images of one data set are alike, so the first tells how many tiles an image has.
    views = len(samples) * (len(samples[0].pixels) if geometry.tile else 1)
    cache.reserve(views, geometry.view_shape, run.say)
    return cache


def _backbone_key(backbone: Backbone) -> str:
    header, arrays = backbone.state()
    known = hashlib.sha256(json.dumps([header, _versions()], sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        known.update(f"{name} {array.dtype} {array.shape} ".encode())
        known.update(array.reshape(-1).view(np.uint8).data)
    return known.hexdigest()[:24]


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _view_key(view: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(view).data).hexdigest()[:40]


def _read(path: Path, shapes: list[tuple[int, int, int]]) -> tuple[Half, ...] | None:
    """Memory maps of the arrays of one file; None when it is missing, cut short or damaged."""
    try:
        content = np.memmap(path, np.uint8, mode="r")
    except (OSError, ValueError):  # missing, or empty
        return None
    if len(content) != HEADER.size + 2 * sum(prod(s) for s in shapes):
        return None
    magic, checksum, _ = HEADER.unpack(content[: HEADER.size].tobytes())
    values = content[HEADER.size :]
    if magic != MAGIC or checksum != zlib.crc32(values.data):
        return None
    with suppress(OSError):
        path.touch()  # when room is needed, what was used last is kept
    arrays, first = [], 0
    for shape in shapes:
        stop = first + 2 * prod(shape)
        arrays.append(values[first:stop].view(np.float16).reshape(shape))
        first = stop
    return tuple(arrays)
