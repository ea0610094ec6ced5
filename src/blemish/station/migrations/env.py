"""Runs migrations on the connection that :func:`blemish.station.database.migrate` opened."""

from alembic import context

from blemish.station.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column
)
context.run_migrations()
