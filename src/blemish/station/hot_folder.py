"""Hot folders: images that appear in a folder are inspected and moved aside.

A part watches ``<data folder>/incoming/<key of the part>``. An inspected image moves to
``done/``, one that cannot be read to ``refused/`` below it, so that nothing is inspected twice.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import select

import blemish
from blemish.station.background import Background
from blemish.station.context import Context
from blemish.station.inspecting import Inspector
from blemish.station.tables import Part

POLL_SECONDS = 1.0
INCOMING = "incoming"


class HotFolders(Background):
    """A thread that looks into the folders of all trained parts once a second.

    Args:
        context: The station.
        inspector: Judges the images.
    """

    def __init__(self, context: Context, inspector: Inspector):
        super().__init__(context, "hot folders")
        self.inspector = inspector
        self._sizes: dict[Path, int] = {}

    def _loop(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.look()

    def look(self) -> int:
        """Inspect what is complete: files whose size has not changed since the last look.

        Returns:
            How many files were taken.
        """
        with self.context.database.read() as session:
            keys = list(session.scalars(select(Part.key).where(Part.champion.is_not(None))))
        sizes: dict[Path, int] = {}
        taken = 0
        for key in keys:
            folder = self.context.settings.folder / INCOMING / key
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not path.is_file() or path.is_symlink() or not blemish.is_image_name(path):
                    continue
                sizes[path] = path.stat().st_size
                if self._sizes.get(path) == sizes[path] and not self._stop.is_set():
                    self._take(key, path)
                    taken += 1
        self._sizes = sizes
        return taken

    def _take(self, key: str, path: Path) -> None:
        target = "done"
        try:
            if path.stat().st_size > self.context.settings.max_upload_mb * 1e6:
                raise blemish.ImageError(f"{path.name} is larger than an upload may be.")
            self.inspector.inspect(key, path.name, path.read_bytes(), "folder")
        except blemish.BlemishError:
            target = "refused"
        except OSError:
            return  # still being written, or gone: looked at again
        aside = path.parent / target
        aside.mkdir(exist_ok=True)
        os.replace(path, aside / path.name)
