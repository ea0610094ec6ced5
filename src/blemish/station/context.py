"""What all of the station shares: settings, database, files, decoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

import blemish
from blemish.station.blobs import Blobs
from blemish.station.database import Database, migrate
from blemish.station.decoding import Decoders
from blemish.station.settings import StationSettings
from blemish.station.tables import Part, Version

DECODERS = 2


class MissingError(blemish.BlemishError):
    """Something that was asked for does not exist."""


@dataclass(frozen=True)
class Context:
    """What all of the station shares.

    Attributes:
        settings: What the station was started with.
        database: Migrated and connected.
        blobs: Images, masks and maps.
        models: Folder of the model files.
        decoders: Processes that read images from strangers.
    """

    settings: StationSettings
    database: Database
    blobs: Blobs
    models: Path
    decoders: Decoders

    @classmethod
    def open(cls, settings: StationSettings) -> Context:
        """Make the data folder, migrate the database, start nothing."""
        settings.folder.mkdir(parents=True, exist_ok=True)
        database = Database(settings.url)
        migrate(database.engine)
        decoders = Decoders(
            DECODERS, settings.max_pixels, settings.decode_seconds, settings.decode_mb
        )
        folder = settings.folder
        return cls(settings, database, Blobs(folder / "images"), folder / "models", decoders)

    def sweep(self) -> int:
        """Delete files that a crash left without a row; only before anything is served."""
        with self.database.read() as session:
            count = self.blobs.sweep(session)
            known = set(session.scalars(select(Version.id)))
        for path in self.models.glob("*") if self.models.exists() else ():
            if path.is_file() and not (path.suffix == ".blemish" and path.stem in known):
                path.unlink()
                count += 1
        return count

    def model_path(self, version_id: str) -> Path:
        """Where the model file of a version is."""
        return self.models / f"{version_id}.blemish"

    def close(self) -> None:
        """End the decoders and close the database."""
        self.decoders.close()
        self.database.close()


def find_part(session: Session, key: str) -> Part:
    """The part with this key.

    Raises:
        MissingError: There is none.
    """
    part = session.scalar(select(Part).where(Part.key == key))
    if part is None:
        raise MissingError(f"There is no part {key[:60]!r}; GET /api/parts lists them.")
    return part
