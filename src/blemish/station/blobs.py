"""A folder of files that are named by their content: ``images/ab/abcd…`` (SHA-256).

A file is written and flushed before the row that names it, so a row never points to nothing. A
crash between the two leaves a file without a row; :meth:`Blobs.sweep` takes it away at the next
start.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.database import insert_once
from blemish.station.tables import Blob, now

_SHA = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The content-addressed folder.

    Args:
        folder: Made when something is first written.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, sha: str) -> Path:
        """Where the file with this SHA-256 is.

        Raises:
            DataError: The text is no SHA-256: it can never become a path.
        """
        if not _SHA.fullmatch(sha):
            raise blemish.DataError(f"{sha[:80]!r} is not the SHA-256 of an image.")
        return self.folder / sha[:2] / sha

    def keep(self, content: bytes) -> str:
        """Write a file unless it is there, and give its SHA-256."""
        sha = hashlib.sha256(content).hexdigest()
        path = self.path(sha)
        if not path.exists():
            blemish.write_atomically(path, content)
        return sha

    def record(
        self, session: Session, content: bytes, media_type: str, digest: str | None = None
    ) -> str:
        """Name a file in the database; files that are not named are swept away.

        Args:
            session: Writes.
            content: Of the file, which :meth:`keep` has written before the session began.
            media_type: Such as ``image/png``.
            digest: Of an image's pixels, by which a version remembers what it learned from.

        Returns:
            The SHA-256.
        """
        sha = hashlib.sha256(content).hexdigest()
        values = {"sha": sha, "media_type": media_type, "size": len(content), "created": now()}
        insert_once(session, Blob, **values, digest=digest)
        # After the row: whoever deletes old files holds a lock on the rows while doing so.
        return self.keep(content)

    def read(self, sha: str) -> bytes:
        """The content of a file."""
        return self.path(sha).read_bytes()

    def sweep(self, session: Session) -> int:
        """Delete files that no row names; only before the station takes requests.

        Returns:
            How many files were deleted.
        """
        if not self.folder.exists():
            return 0
        known = set(session.scalars(select(Blob.sha)))
        orphans = [p for p in self.folder.glob("*/*") if p.is_file() and p.name not in known]
        for path in orphans:
            path.unlink()
        return len(orphans)
