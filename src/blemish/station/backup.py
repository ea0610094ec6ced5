"""A station in one ZIP file, and back, also from SQLite to PostgreSQL and the other way."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zipfile
from pathlib import Path

from sqlalchemy import Connection, Engine, func, insert, select, text

import blemish
from blemish.station.context import Context
from blemish.station.database import make_engine, migrate
from blemish.station.settings import StationSettings
from blemish.station.tables import Base, Blob, Part, Version

DATABASE = "station.sqlite"
_NAMES = re.compile(r"station\.sqlite|images/[0-9a-f]{2}/[0-9a-f]{64}|models/[0-9a-f]{32}\.blemish")
ROWS = 1000  # per insert


def back_up_station(folder: str | Path, out: str | Path, *, database: str | None = None) -> Path:
    """Write everything that a station holds into one ZIP file; the station may run meanwhile.

    Args:
        folder: The data folder.
        out: The ZIP file; it appears whole or not at all.
        database: URL of the PostgreSQL database, where the station has one.

    Raises:
        DataError: The folder holds no station.
    """
    settings, out = StationSettings(Path(folder), database), Path(out)
    if not settings.folder.is_dir():
        raise blemish.DataError(f"{folder} is no data folder of a station.")
    context = Context.open(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.part")
    try:
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / DATABASE
            copy_rows(context.database.engine, f"sqlite:///{copy.as_posix()}")
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                archive.write(copy, DATABASE)
                _add_files(archive, context, copy)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
        context.close()
    return out


def _add_files(archive: zipfile.ZipFile, context: Context, copy: Path) -> None:
    """The files that the copied rows name: whatever came later is in the next backup."""
    engine = make_engine(f"sqlite:///{copy.as_posix()}")
    with engine.connect() as connection:
        shas = list(connection.scalars(select(Blob.sha)))
        versions = list(connection.scalars(select(Version.id)))
    engine.dispose()
    for sha in shas:
        if (path := context.blobs.path(sha)).exists():  # or retention was faster
            archive.write(path, f"images/{sha[:2]}/{sha}")
    for version in versions:
        archive.write(context.model_path(version), f"models/{version}.blemish")


def restore_station(
    archive: str | Path, folder: str | Path, *, database: str | None = None
) -> Path:
    """Make a data folder from a backup.

    Args:
        archive: The ZIP file.
        folder: The data folder; it must be empty or missing.
        database: URL of an empty PostgreSQL database to restore into instead of SQLite.

    Raises:
        DataError: The file is no backup, a file in it is damaged, or the target is not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise blemish.DataError(f"{folder} is not empty; restore into a new folder.")
    context = Context.open(StationSettings(folder, database))
    try:
        with context.database.read() as session:
            if session.scalar(select(func.count()).select_from(Part)):
                raise blemish.DataError("The database holds parts already; give an empty one.")
        with zipfile.ZipFile(archive) as opened, tempfile.TemporaryDirectory() as place:
            _extract(opened, folder, Path(place) / DATABASE)
            source = make_engine(f"sqlite:///{(Path(place) / DATABASE).as_posix()}")
            migrate(source)  # a backup of an older version
            _copy(source, context.database.engine)
            source.dispose()
    except (zipfile.BadZipFile, KeyError) as error:
        raise blemish.DataError(f"{archive} is no backup of a station.") from error
    finally:
        context.close()
    return folder


def _extract(archive: zipfile.ZipFile, folder: Path, database: Path) -> None:
    for name in archive.namelist():
        if not _NAMES.fullmatch(name):
            raise blemish.DataError(f"{name[:80]!r} does not belong into a backup.")
    database.write_bytes(archive.read(DATABASE))
    for name in archive.namelist():
        if name == DATABASE:
            continue
        content = archive.read(name)
        if name.startswith("images/") and hashlib.sha256(content).hexdigest() != name[-64:]:
            raise blemish.DataError(f"{name} in the backup is damaged.")
        blemish.write_atomically(folder / name, content)


def copy_rows(source: Engine, target_url: str) -> None:
    """Copy all rows of one moment into a new database."""
    target = make_engine(target_url)
    migrate(target)
    _copy(source, target)
    target.dispose()


def _copy(source: Engine, target: Engine) -> None:
    level = "REPEATABLE READ" if source.dialect.name == "postgresql" else None
    reading = source.execution_options(isolation_level=level) if level else source
    with reading.begin() as old, target.begin() as new:
        for table in Base.metadata.sorted_tables:
            found = old.execute(select(table)).mappings()
            while rows := found.fetchmany(ROWS):
                new.execute(insert(table), [dict(row) for row in rows])
            if target.dialect.name == "postgresql" and "id" in table.c:
                _continue_counting(new, table.name)


def _continue_counting(connection: Connection, table: str) -> None:
    """Ids that were copied must not be given again."""
    sequence = connection.scalar(text(f"SELECT pg_get_serial_sequence('{table}', 'id')"))
    if sequence:
        query = (
            f"SELECT setval('{sequence}', (SELECT COALESCE(MAX(id), 0) + 1 FROM {table}), false)"
        )
        connection.execute(text(query))
