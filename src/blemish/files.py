"""Files out: whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from blemish.errors import OptionError


def write_atomically(
    path: str | Path, content: bytes | str, check: Callable[[Path], None] = lambda path: None
) -> Path:
    r"""Write a file so that a reader sees the old content or the new, never a part.

    The content goes to a temporary file in the same folder, which then takes the name. Missing
    parent folders are made. Text is written as UTF-8 with line feeds on every system; lone
    surrogates, from file names that are no valid text, as ``\udcff``.

    Args:
        path: The file to write or replace.
        content: Its whole content.
        check: Called with the temporary file; when it raises, the old file stays.

    Returns:
        The path that was written.

    Raises:
        OptionError: `path` is a folder.
        OSError: The folder cannot be written, or the file is held open by another program
            (Windows); the temporary file is removed.
    """
    path = Path(path)
    if path.is_dir():
        raise OptionError(f"{path} is a folder; give the name of a file inside it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner only, and os.replace keeps that.
    temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.tmp"
    try:
        if isinstance(content, str):
            content = content.encode(errors="backslashreplace")
        with temporary.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        check(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
