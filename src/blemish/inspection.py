"""Judge many files: reading, judging and writing overlap, and every file is done exactly once.

What is done stands in a journal beside the results, one line per image, on disk before the next
image counts. After a kill the same command goes on with the rest. The results file itself is
written whole at the end, or, for a watched folder, line by line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blemish.detector import Detector
from blemish.errors import ImageError, OptionError
from blemish.files import write_atomically
from blemish.parallel import read_ahead
from blemish.result_files import FORMATS, header_line, line_of, whole_file
from blemish.run import Progress, silent
from blemish.types import Prediction

Row = Mapping[str, Any]
Identity = tuple[str, int, int]  # path, bytes, time of the last change in ns


@dataclass
class Tally:
    """What happened to the images of one run.

    Attributes:
        judged: Images that got a decision.
        defective: Those of them that are defective.
        errors: Images that could not be read.
        before: Images that an earlier run had done.
        seconds: Wall time.
    """

    judged: int = 0
    defective: int = 0
    errors: int = 0
    before: int = 0
    seconds: float = 0.0

    def text(self) -> str:
        """One sentence."""
        done = self.judged + self.errors
        parts = [f"{done} images in {self.seconds:.1f} s"]
        if self.seconds > 0:
            parts[0] += f", {done / self.seconds:.1f} images/s"
        parts.append(f"{self.defective} defective")
        if self.errors:
            parts.append(f"{self.errors} could not be read")
        if self.before:
            parts.append(f"{self.before} were done before")
        return "; ".join(parts) + "."


def identity(path: Path) -> Identity:
    """What tells one photo from the next of the same name; zeros where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_size, found.st_mtime_ns


class Journal:
    """Lines that are on disk once :meth:`add` returns; a torn last line is cut off when opened.

    Args:
        path: The file; it is made with the first line.
        owner: What the lines belong to, plain JSON values: the lines of another owner are dropped.
    """

    def __init__(self, path: Path, owner: Mapping[str, Any]):
        self.path, self.rows, self.done = path, list[Row](), set[Identity]()
        self._owner = json.dumps({"owner": dict(owner)})
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        if not lines or lines[0].decode(errors="replace") != self._owner:
            lines = [self._owner.encode()]
        for line in lines[1:]:
            entry = json.loads(line)
            self.done.add((entry["image"], entry["bytes"], entry["modified_ns"]))
            self.rows.append(entry["row"])
        write_atomically(path, b"".join(line + b"\n" for line in lines))

    def add(self, found: Identity, row: Row) -> None:
        """Append one line and wait until it is on disk."""
        entry = {"image": found[0], "bytes": found[1], "modified_ns": found[2], "row": dict(row)}
        append(self.path, json.dumps(entry) + "\n")
        self.done.add(found)


def append(path: Path, text: str) -> None:
    """Append to a file in one piece, on disk when this returns."""
    with path.open("ab", buffering=0) as opened:
        opened.write(text.encode(errors="backslashreplace"))
        os.fsync(opened.fileno())


@dataclass
class Inspection:
    """One run over many files.

    Attributes:
        detector: Judges them.
        out: Results file, None = nothing is written; `row_done` gets every row anyway.
        form: ``"json"`` (lines), ``"csv"`` or ``"parquet"``.
        live: The results file grows line by line, for a folder that is watched.
        workers: Threads that read ahead.
        write: Called in a thread with every path and prediction, such as to write a picture; what
            it writes is there before the image counts as done.
        row_done: Called with every row: that of a prediction, or ``image`` and ``error``.
        model: What the journal belongs to; another model begins anew.
    """

    detector: Detector
    out: Path | None = None
    form: str = "json"
    live: bool = False
    workers: int = 2
    write: Callable[[Path, Prediction], None] = lambda path, prediction: None
    row_done: Callable[[Row, Prediction | None], None] = lambda row, prediction: None
    model: Mapping[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise OptionError(f"Results are {', '.join(FORMATS)}, not {self.form!r}.")
        if self.workers < 1:
            raise OptionError(f"workers={self.workers} is below the smallest value 1.")
        if self.live and self.form == "parquet":
            raise OptionError("A parquet file cannot grow: watch a folder with --json or --csv.")
        self._journal: Journal | None = None
        if self.out is not None:
            if self.out.is_dir():
                raise OptionError(f"{self.out} is a folder; give the name of a file inside it.")
            owner = {**self.model, "false_alarms": self.detector.false_alarms}
            self._journal = Journal(self.out.with_name(f"{self.out.name}.journal"), owner)
            if self.live:
                # From the journal: the last line may have been lost between the two files.
                rows = [line_of(row, self.form) for row in self._journal.rows]
                write_atomically(self.out, header_line(self.form) + "".join(rows))

    def is_done(self, found: Identity) -> bool:
        """Whether an earlier run, or this one, has this very file."""
        return self._journal is not None and found in self._journal.done

    def run(self, paths: Iterable[Path], progress: Progress = silent) -> Tally:
        """Judge files; those that are done already are passed over."""
        started, wanted = time.perf_counter(), list[tuple[Path, Identity]]()
        for path in paths:
            found = identity(path)
            if self.is_done(found):
                self.tally.before += 1
            else:
                wanted.append((path, found))
        # What the file was when it was asked for: a change while it is judged is another photo.
        known = {str(path): found for path, found in wanted}
        done = 0

        def failed(path: Path, error: ImageError) -> None:
            nonlocal done
            done += 1
            self.tally.errors += 1
            self._add(known[str(path)], {"image": str(path), "error": str(error)}, None)
            progress("predict", done, len(wanted))

        def write(prediction: Prediction) -> Prediction:
            self.write(Path(prediction.key), prediction)
            return prediction

        predictions = self.detector.predict_each(
            (path for path, _ in wanted), workers=self.workers, on_error=failed
        )
        for prediction in read_ahead(write, predictions, ahead=4, workers=2):
            done += 1
            self.tally.judged += 1
            self.tally.defective += prediction.defective
            self._add(known[prediction.key], prediction.to_json(), prediction)
            progress("predict", done, len(wanted))
        self.tally.seconds += time.perf_counter() - started
        return self.tally

    def finish(self) -> None:
        """Write the results file, whole, and forget the journal; a live one goes on."""
        if self.out is None or self._journal is None or self.live:
            return
        content = whole_file([*self._journal.rows], self.form)
        write_atomically(self.out, content)
        self._journal.path.unlink()

    def _add(self, found: Identity, row: Row, prediction: Prediction | None) -> None:
        if self._journal is not None:
            self._journal.add(found, row)
            self._journal.rows.append(row)
            if self.live and self.out is not None:
                append(self.out, line_of(row, self.form))
        self.row_done(row, prediction)
