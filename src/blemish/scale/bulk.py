"""Inspect millions of images on all machines of a Ray cluster, each exactly once.

The source becomes numbered chunks (:mod:`blemish.scale.sources`). Ray Data hands the numbers to a
pool of workers and hands them out again when a worker dies; a worker reads its images itself, so
none travels through the object store. The results of a chunk are one file that is there whole or
not at all (:mod:`blemish.scale.results`), so that repeating a chunk changes nothing and a run goes
on from whatever files there are.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blemish
from blemish import errors
from blemish.errors import BlemishError, MissingExtraError, OptionError
from blemish.inspection import Tally
from blemish.run import Progress, silent
from blemish.scale.cluster import cluster, plain_errors, quiet
from blemish.scale.judging import Judge, Task
from blemish.scale.results import ResultFolder
from blemish.scale.sources import Chunk, cut, list_source
from blemish.scale.storage import Place, find_place

try:
    import ray
    import ray.data
except ImportError as error:
    raise MissingExtraError("Inspecting in bulk", "scale") from error

CHUNK = 256  # images; about ten seconds of one core
# Chunks beyond this share a task of Ray, which costs a millisecond of the driver.
TASKS = 20_000


@dataclass(frozen=True)
class Bulk:
    """How to inspect in bulk.

    Attributes:
        address: Ray cluster: ``ray://host:port``, ``host:port``, ``auto``; None = this machine.
        workers: Processes, of one core each; None = one per core of the cluster.
        chunk: Images per file of results, and per unit of work.
        false_alarms: Rate in (0, 1) to decide at; None = the one of the model file.
        thumbnails: Longest side in pixels of pictures of the maps in the results; 0 = none.
    """

    address: str | None = None
    workers: int | None = None
    chunk: int = CHUNK
    false_alarms: float | None = None
    thumbnails: int = 0

    def __post_init__(self) -> None:
        for name in ("workers", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name}={value} is below the smallest value 1.")
        if self.thumbnails < 0:
            raise OptionError(f"thumbnails={self.thumbnails} is below the smallest value 0.")


def inspect_in_bulk(
    model: Path, source: str, out: str, bulk: Bulk | None = None, progress: Progress = silent
) -> Tally:
    """Judge all images of a source; results go to Parquet files in a folder.

    Called again after a kill, it goes on with the chunks that have no results yet. A folder or
    list of files is listed once, when its run begins.

    Args:
        model: Model file, ``*.blemish`` or ``*.onnx``.
        source: Path or URL of a folder, a list of files (``*.txt``), Parquet with a column of
            paths (``image``, ``path`` or ``url``) or of image files (``bytes``), or an image.
        out: Path or URL of the folder for the results; every machine must be able to write there.
        bulk: Machines, chunks and what goes into the results.
        progress: Called with the images done and in all.

    Returns:
        What happened to the images of this call.

    Raises:
        DataError: There is no image.
        OptionError: `out` belongs to another run, or a value is out of range.
        ClusterError: No cluster at the address, its machines differ, or workers were lost.
        StorageError: Storage refuses access, or fails for minutes.
    """
    bulk, started = bulk or Bulk(), time.perf_counter()
    task = Task(model.read_bytes(), model.name, bulk.false_alarms, bulk.thumbnails)
    detector = task.open()
    folder, origin = ResultFolder(find_place(out)), find_place(source)
    wanted = _identity(task, detector, origin, bulk)
    owner = folder.owner()
    if owner is not None:
        folder.check(owner, wanted)
    with cluster(bulk.address, bulk.workers) as workers, plain_errors("The inspection"):
        files = owner["files"] if owner else list_source(origin, folder.listing, bulk.chunk)
        chunks = cut(files, bulk.chunk)
        images = sum(chunk.rows for chunk in chunks)
        found = {"files": files, "chunks": len(chunks), "images": images}
        if owner is None:
            folder.claim({**wanted, **found})
        else:
            folder.check(owner, found)
        done = folder.done()
        tally = Tally(before=sum(c.rows for c in chunks if c.number in done))
        todo = [chunk for chunk in chunks if chunk.number not in done]
        for counts in _judged(todo, task, folder, workers):
            tally.errors += int(counts["errors"])
            tally.judged += int(counts["images"] - counts["errors"])
            tally.defective += int(counts["defective"])
            progress("predict", tally.judged + tally.errors, images - tally.before)
    tally.seconds = time.perf_counter() - started
    return tally


def _identity(task: Task, detector: blemish.Detector, source: Place, bulk: Bulk) -> dict[str, Any]:
    """What must be the same for results to belong together; plain JSON values."""
    return {
        "schema": "blemish.bulk/1",
        "model": hashlib.sha256(task.model).hexdigest()[:32],
        "false_alarms": detector.false_alarms,
        "source": str(source),
        "chunk": bulk.chunk,
        "thumbnails": bulk.thumbnails,
    }


def _judged(
    chunks: Sequence[Chunk], task: Task, folder: ResultFolder, workers: int
) -> Iterator[Mapping[str, Any]]:
    """The counts of each chunk, once its results are written."""
    if not chunks:
        return
    if ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        found = _counted_there(chunks, task, folder, workers)
    else:
        found = _counted(chunks, task, folder, workers)
    for counts in found:
        if counts["failed"]:
            raise BlemishError.__new__(getattr(errors, counts["failed"]), counts["why"])
        yield counts


def _counted(
    chunks: Sequence[Chunk], task: Task, folder: ResultFolder, workers: int
) -> Iterator[Mapping[str, Any]]:
    quiet()
    # Held here and fetched there: a worker that is started again finds it again.
    held = _Held(ray.put(task))
    rows = ray.data.from_items(
        [chunk.to_json() for chunk in chunks], override_num_blocks=min(len(chunks), TASKS)
    )
    count = min(workers, len(chunks))
    judged = rows.map_batches(
        _Worker,
        fn_constructor_args=(held, folder),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count, initial_size=count),
    )
    yield from judged.iter_rows()


def _counted_there(*given: Any) -> Iterator[Mapping[str, Any]]:
    """The same with a driver on the cluster: Ray Data does not run at this end of ``ray://``."""
    driver: Any = ray.remote(num_cpus=0)(_Driver).remote(*given)
    while True:
        counts: Mapping[str, Any] | None = ray.get(driver.next.remote())
        if counts is None:
            return
        yield counts


class _Driver:
    """A process of Ray that hands out the chunks."""

    def __init__(self, *given: Any):
        self._counts = _counted(*given)

    def next(self) -> Mapping[str, Any] | None:
        return next(self._counts, None)


@dataclass(frozen=True)
class _Held:
    """A reference inside an object, which Ray hands over as it is."""

    task: Any


class _Worker:
    """A process of Ray that judges chunks, one in a call."""

    def __init__(self, held: _Held, folder: ResultFolder):
        self._judge = Judge(ray.get(held.task), folder)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        counts: dict[str, Any] = dict.fromkeys(("images", "defective", "errors", "seconds"), 0)
        counts |= {"failed": "", "why": ""}
        chunk = Chunk(**{name: values[0] for name, values in batch.items()})
        try:
            counts |= self._judge.judge(chunk)
        except BlemishError as error:
            # Ray would hand over its words only; what kind it is matters as well.
            counts |= {"failed": type(error).__name__, "why": str(error)}
        return {name: [value] for name, value in counts.items()}
