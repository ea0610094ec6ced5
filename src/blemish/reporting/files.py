"""Files appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from blemish.errors import OptionError


def write_text(path: Path, text: str) -> Path:
    r"""Write a text file as UTF-8 with ``\n`` line ends; a reader never sees half of it.

    The text goes to a temporary file in the same folder, which then takes the name. Missing folders
    are made. Lone surrogates (from file names that are no valid text) are written as ``\udcff``.

    Args:
        path: The file; one that exists is replaced.
        text: The whole content.

    Returns:
        `path`.

    Raises:
        OptionError: `path` is a folder.
    """
    if path.is_dir():
        raise OptionError(f"{path} is a folder; give the name of a file inside it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: it makes files that only their owner can read, and a report is to be shared.
    temporary = path.with_name(f".blemish-{uuid.uuid4().hex[:12]}.tmp")
    try:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
