"""Schema migration: runs the Alembic migrations of the `migrations` package on a connection."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

LOCK_KEY = 0x6E656172  # arbitrary key of an advisory lock: processes that start together migrate one after the other


def config() -> Config:
    options = Config()
    options.set_main_option("script_location", str(files("migrations")))
    options.set_main_option("path_separator", "os")
    return options


def head() -> str | None:
    return ScriptDirectory.from_config(config()).get_current_head()


def current(conn: sa.Connection) -> str | None:
    """The revision of the database; None before the first migration."""
    return MigrationContext.configure(conn).get_current_revision()


def upgrade(conn: sa.Connection) -> None:
    """Migrate the schema to head inside the caller's transaction."""
    conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
    if current(conn) == head():
        return
    options = config()
    options.attributes["connection"] = conn
    command.upgrade(options, "head")
