"""A folder that photos arrive in: which of them are whole and wait to be judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blemish.errors import ImageError
from blemish.images import is_image_name, read_image
from blemish.inspection import Identity, identity

SETTLE = 1.0  # seconds without a change before a file is looked at
PATIENCE = 30.0  # seconds without a change before a file that cannot be read is given up


@dataclass
class HotFolder:
    """Finds files that have come and are whole.

    A file counts once it has not changed for `settle` seconds and can be read; one that cannot is
    waited for, because a copy over a network may pause, until it has not changed for `patience`
    seconds. A folder that cannot be listed, such as a network drive that is gone, is waited for.

    Attributes:
        folder: Looked through with its subfolders; names that begin with a dot are left alone.
        settle: Seconds.
        patience: Seconds.
        say: Called with one sentence when the folder is gone, and when it is back.
        clock: Gives seconds.
    """

    folder: Path
    settle: float = SETTLE
    patience: float = PATIENCE
    say: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = time.monotonic
    _since: dict[Identity, float] = field(default_factory=dict)
    _gone: bool = False

    def ready(self, is_done: Callable[[Identity], bool]) -> list[Path]:
        """The files that are whole and not done, in order of arrival."""
        now = self.clock()
        try:
            present = list(self._list())
        except OSError as error:
            if not self._gone:
                self.say(f"{self.folder} cannot be listed ({error}); waiting for it.")
            self._gone = True
            return []
        if self._gone:
            self._gone = False
            self.say(f"{self.folder} is back.")
        new = [found for found in present if not is_done(found)]
        self._since = {found: self._since.get(found, now) for found in new}
        settled = [f for f in new if now - self._since[f] >= self.settle]
        settled.sort(key=lambda f: (f[2], f[0]))
        return [Path(f[0]) for f in settled if self._is_whole(f, now)]

    def _list(self) -> Iterator[Identity]:
        # Path.rglob swallows errors: a drive that is gone would look like an empty folder.
        next(self.folder.iterdir(), None)
        for path in self.folder.rglob("*"):
            if is_image_name(path) and not path.name.startswith("."):
                found = identity(path)
                if found[2]:
                    yield found

    def _is_whole(self, found: Identity, now: float) -> bool:
        if now - self._since[found] >= self.patience:
            return True  # given up: judging it reports the error
        if not found[1]:
            return False
        try:
            read_image(Path(found[0]))
        except ImageError:
            return False
        return True


def watch(
    folder: HotFolder,
    is_done: Callable[[Identity], bool],
    *,
    poll: float = 0.5,
    stop: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Path]]:
    """Give the files that are ready, round after round, until told to stop."""
    while not stop():
        ready = folder.ready(is_done)
        if ready:
            yield ready
        else:
            sleep(poll)
