"""The database: one engine, sessions that read and sessions that write, migrations.

SQLite runs in WAL mode, so that readers never wait for a writer, and with ``synchronous=FULL``, so
that what was acknowledged survives a power cut. A writing session takes the write lock at its
start: a lock that is asked for later can fail half way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from blemish.station.tables import Base

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_SECONDS = 30


class Database:
    """A migrated database.

    Args:
        url: As SQLAlchemy names it; ``sqlite:///…`` or ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str):
        self.engine = make_engine(url)
        self._writing = self.engine.execution_options(blemish_writes=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session whose changes are thrown away; its rows stay usable after it."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed at the end, whole or not at all."""
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    """Make an engine; nothing is connected yet."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("blemish_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision, or down to one with ``base``."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def insert_once(session: Session, table: type[Base], **values: Any) -> bool:
    """Insert a row unless its key is there already, also when two do so at once.

    Returns:
        Whether the row is new.
    """
    dialect = session.get_bind().dialect.name
    make = sqlite.insert if dialect == "sqlite" else postgresql.insert
    key = list(table.__table__.primary_key)
    statement = make(table).values(**values).on_conflict_do_nothing().returning(*key)
    return session.execute(statement).first() is not None
