"""Files out: whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part.

    The content goes to a temporary file in the same folder, which then takes the name. Missing
    parent folders are made. Text is written as UTF-8 with line feeds on every system.

    Args:
        path: The file to write or replace.
        content: Its whole content.

    Returns:
        The path that was written.

    Raises:
        OSError: The folder cannot be written, or the file is held open by another program
            (Windows); the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner only, and os.replace keeps that.
    temporary = path.parent / f".{path.name[:80]}.{secrets.token_hex(4)}.tmp"
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
