"""Alembic's folder: how a database of any version becomes one of the present version."""
