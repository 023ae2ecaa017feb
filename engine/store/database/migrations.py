"""Runs the Alembic migrations of the `migrations` package on a connection."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

LOCK = 0x6E656172  # any number: two processes that start at once migrate one after the other


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(files("migrations")))
    made.set_main_option("path_separator", "os")
    return made


def head() -> str | None:
    return ScriptDirectory.from_config(config()).get_current_head()


def current(conn: sa.Connection) -> str | None:
    """The revision of the database, None before the first."""
    return MigrationContext.configure(conn).get_current_revision()


def upgrade(conn: sa.Connection) -> None:
    """Bring the schema to head inside the caller's transaction."""
    conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    if current(conn) == head():
        return
    made = config()
    made.attributes["connection"] = conn
    command.upgrade(made, "head")
