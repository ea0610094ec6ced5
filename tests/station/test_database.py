import threading
from datetime import datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select
from sqlalchemy.exc import StatementError

from blemish.station.database import Database, insert_once, migrate
from blemish.station.settings import StationSettings
from blemish.station.tables import Base, Blob, Part, now


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request, tmp_path):
    """An empty database of each kind, migrated."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    opened = Database(StationSettings(tmp_path, url).url)
    migrate(opened.engine)
    yield opened
    migrate(opened.engine, "base")
    opened.close()


def test_the_migrations_make_exactly_the_tables_of_the_code(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(database):
    migrate(database.engine, "base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    migrate(database.engine)
    migrate(database.engine)  # twice is once
    assert "inspections" in inspect(database.engine).get_table_names()


def fail_while_writing(database):
    with database.write() as session:
        session.add(Part(key="a", name="a", method="m"))
        session.flush()
        raise ZeroDivisionError


def test_a_session_that_fails_leaves_nothing_behind(database):
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(database)
    with database.read() as session:
        assert session.scalar(select(Part)) is None


def test_changes_of_a_reading_session_are_thrown_away(database):
    with database.read() as session:
        session.add(Part(key="a", name="a", method="m"))
        session.flush()
    with database.read() as session:
        assert session.scalar(select(Part)) is None


def test_the_same_row_is_inserted_once(database):
    values = {"sha": "0" * 64, "media_type": "image/png", "size": 1, "created": now()}
    with database.write() as session:
        assert insert_once(session, Blob, **values)
        assert not insert_once(session, Blob, **values)


def test_many_writers_wait_for_each_other(database):
    with database.write() as session:
        session.add(Part(key="count", name="0", method="m"))

    def add():
        for _ in range(5):
            with database.write() as session:
                part = session.scalar(select(Part).with_for_update())
                part.name = str(int(part.name) + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalar(select(Part.name)) == "20"


def test_moments_come_back_in_utc_from_any_zone(database):
    there = timezone(timedelta(hours=9))
    given = datetime(2026, 3, 29, 2, 30, tzinfo=there)
    with database.write() as session:
        session.add(Part(key="a", name="a", method="m", created=given))
    with database.read() as session:
        found = session.scalar(select(Part.created))
    assert found == given
    assert found.utcoffset() == timedelta(0)


def test_a_moment_without_a_zone_is_refused(database):
    with pytest.raises(StatementError, match="no time zone"), database.write() as session:
        session.add(Part(key="a", name="a", method="m", created=datetime(2026, 1, 1)))


def test_sqlite_writes_ahead_and_flushes(tmp_path):
    database = Database(StationSettings(tmp_path).url)
    with database.engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        flush = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    assert (mode, flush) == ("wal", 2)
    database.close()


def test_postgresql_urls_get_the_driver_that_is_installed(tmp_path):
    for url in ("postgres://u@h/d", "postgresql://u@h/d"):
        assert StationSettings(tmp_path, url).url == "postgresql+psycopg://u@h/d"
    assert StationSettings(tmp_path, "sqlite:///x").url == "sqlite:///x"
