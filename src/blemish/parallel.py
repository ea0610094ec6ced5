"""Reading ahead: decode the next images while the present one is looked at."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(
    function: Callable[[A], B], items: Iterable[A], *, ahead: int = 4, workers: int = 2
) -> Iterator[B]:
    """Apply a function in threads, in order, with at most `ahead` results waiting.

    Memory stays bounded however long `items` is. An error, of `function` or of `items` itself,
    comes up where its item would have been returned.
    """
    waiting: deque[Future[B]] = deque()
    failed: Exception | None = None

    def until_error() -> Iterator[A]:
        nonlocal failed
        try:
            yield from items
        except Exception as error:  # kept for its turn
            failed = error

    pool = ThreadPoolExecutor(workers)
    try:
        for item in until_error():
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failed is not None:
            raise failed
    finally:
        # An abandoned iteration must not wait for images that nobody wants any more.
        pool.shutdown(wait=False, cancel_futures=True)


def threads_asked() -> int:
    """Threads that ``OMP_NUM_THREADS`` grants a process; 0 = as many as there are cores.

    onnxruntime does not read it, so that several processes on one machine would be in each
    other's way.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0
