"""Progress bars on stderr, for people; silent where stderr is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from blemish import Progress

SHOW_AFTER = 0.5  # seconds: what is over sooner needs no bar


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give a callback ``(stage, done, total)`` that draws one bar per stage."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    # Not at the top: `blemish --help` needs no bars, and they take long to load.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    started: dict[str, float] = {}
    tasks = {}
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:

        def show(stage: str, done: int, total: int) -> None:
            # What follows a colon changes from step to step: "training: loss 0.5, 3 min left".
            name = stage.partition(":")[0]
            started.setdefault(name, time.perf_counter())
            if name not in tasks and time.perf_counter() - started[name] < SHOW_AFTER:
                return
            if name not in tasks:
                tasks[name] = bars.add_task(stage, total=total)
            bars.update(tasks[name], completed=done, total=total, description=stage)

        yield show
