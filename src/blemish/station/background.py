"""Threads of the station that begin and end with it."""

from __future__ import annotations

import threading

from blemish.station.context import Context


class Background:
    """A thread that runs until the station stops.

    Args:
        context: The station.
        name: Of the thread.

    Attributes:
        patience: Seconds that :meth:`stop` waits for the work at hand; None = until it is done.
    """

    patience: float | None = None

    def __init__(self, context: Context, name: str):
        self.context = context
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the work at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self.patience)

    def _loop(self) -> None:
        """Work until ``self._stop`` is set."""
        raise NotImplementedError
