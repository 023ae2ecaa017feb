"""nearfield migrate: the schema of an external PostgreSQL."""

from __future__ import annotations

import typer

from api.cli.terminal.options import Json, settings
from api.cli.terminal.output import emit, out
from engine.store.database import migrations
from engine.store.database.connections import open_database


def add_to(app: typer.Typer) -> None:
    app.command()(migrate)


def migrate(json: Json = False) -> None:
    """Bring the schema of your own PostgreSQL up to date.

    Needs NEARFIELD_DATABASE_URL. Run it once for each new version of nearfield, before the servers start. The embedded
    database is migrated automatically.

    Example: `nearfield migrate`
    """
    with open_database(settings(), migrate=True) as database, database.connect() as conn:
        revision = migrations.current(conn)
    emit(json, {"revision": revision}, lambda: out.print(f"the schema is at revision {revision}"))
