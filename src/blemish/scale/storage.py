"""Files wherever they lie: local folders and every URL that fsspec opens (``s3://``, ``gs://``, …).

Storage over a network fails for seconds at a time. :func:`patiently` waits for it, so that such a
moment is neither an image that "cannot be read" nor the end of a run over millions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from blemish.errors import BlemishError, MissingExtraError, OptionError, StorageError
from blemish.files import write_atomically

try:
    import fsspec
except ImportError as error:
    raise MissingExtraError("Inspecting in bulk", "scale") from error

T = TypeVar("T")
PATIENCE_S = 120.0  # how long storage may fail before a run gives up; its state stays
LONGEST_PAUSE_S = 5.0
# These are answers, and asking again would not change them.
_ANSWERS = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
# The names of botocore's and Google's classes, so that neither has to be installed.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"} | {
    "DefaultCredentialsError",
    "TokenRetrievalError",
}


@dataclass(frozen=True)
class Place:
    """A file or folder, here or elsewhere; it can be sent to other machines.

    Attributes:
        files: The fsspec file system.
        path: The path as that file system writes it.
    """

    files: Any
    path: str

    def __truediv__(self, name: str) -> Place:
        return Place(self.files, f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        """A plain path for local files, a URL for others."""
        return self.path if self.is_local else str(self.files.unstrip_protocol(self.path))

    @property
    def is_local(self) -> bool:
        """Whether it lies in the file system of this machine."""
        protocol = self.files.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Place:
        """The folder that it lies in."""
        return Place(self.files, self.path.rstrip("/").rpartition("/")[0])

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return patiently(lambda: bool(self.files.exists(self.path)), self)

    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return patiently(lambda: bool(self.files.isdir(self.path)), self)

    def read(self) -> bytes:
        """The whole content.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: It cannot be reached.
        """
        return patiently(lambda: bytes(self.files.cat_file(self.path)), self)

    def write(self, content: bytes) -> None:
        """Replace the file, whole or not at all; missing folders are made."""
        if self.is_local:
            patiently(lambda: write_atomically(self.path, content), self)
        else:  # object stores show an object once it is complete
            patiently(lambda: self.files.pipe_file(self.path, content), self)

    def size(self) -> int:
        """Bytes of the file."""
        return patiently(lambda: int(self.files.size(self.path)), self)

    def names(self) -> list[str]:
        """Names of the files and folders inside, none where there is no such folder."""

        def ask() -> list[str]:
            self.files.invalidate_cache()  # what other machines wrote meanwhile counts
            try:
                found = self.files.ls(self.path, detail=False)
            except _ANSWERS:
                return []
            return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

        return patiently(ask, self)

    def walk(self) -> Iterator[Place]:
        """All files below, in order of their names, one folder in memory at a time."""

        def ask(folder: str) -> list[dict[str, Any]]:
            return sorted(self.files.ls(folder, detail=True), key=lambda found: str(found["name"]))

        waiting = [self.path]
        while waiting:
            folder, below = waiting.pop(), list[str]()
            for found in patiently(lambda folder=folder: ask(folder), self):  # type: ignore[misc]
                path = str(found["name"])
                if found["type"] == "directory":
                    below.append(path)
                elif path.rstrip("/") != folder.rstrip("/"):  # some stores list the folder itself
                    yield Place(self.files, path)
            waiting += reversed(below)


def find_place(url: str) -> Place:
    """Understand a path or URL; nothing is read.

    Raises:
        OptionError: No such kind of URL.
        MissingExtraError: A package for this kind of storage is not installed.
    """
    try:
        files, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise StorageError(f"{url} cannot be opened here: {error}.") from error
    except ValueError as error:
        raise OptionError(
            f"{url} is no path and no URL that can be opened: {error}. Give a local path, or a URL "
            "such as s3://bucket/folder."
        ) from error
    return Place(files, str(path))


def patiently(action: Callable[[], T], where: object, patience_s: float | None = None) -> T:
    """Do something with storage, again and again while it fails.

    Args:
        action: What to do; it must bear being done twice.
        where: What the message calls the storage.
        patience_s: How long to go on; None = :data:`PATIENCE_S`.

    Raises:
        FileNotFoundError: There is no such file (nor is a folder a file): no reason to wait.
        StorageError: Access is refused, credentials are missing, or it fails for too long.
    """
    limit = PATIENCE_S if patience_s is None else patience_s
    started, pause = time.monotonic(), 0.2
    while True:
        try:
            return action()
        except (*_ANSWERS, BlemishError):
            raise
        except Exception as error:  # every kind of storage has errors of its own
            _refuse(error, where)
            if time.monotonic() - started + pause > limit:
                raise StorageError(
                    f"{where} could not be reached for {limit:.0f} s ({_text(error)}). What is "
                    "done is kept: give the same command again once the storage answers."
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _refuse(error: Exception, where: object) -> None:
    """Say at once what waiting would not mend."""
    if type(error).__name__ in _NO_CREDENTIALS:
        raise StorageError(
            f"There are no credentials for {where}: set those of its provider in the environment, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on every machine."
        ) from error
    if isinstance(error, PermissionError):
        raise StorageError(
            f"{where} refuses access ({_text(error)}); check its permissions and the credentials."
        ) from error


def _text(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
