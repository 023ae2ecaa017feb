"""serve and migrate."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from api.cli.terminal.options import Device, Json, settings
from api.cli.terminal.output import emit, err, out
from engine.store.database import migrations
from engine.store.database.connections import open_database


def add_to(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(migrate)


def serve(
    host: Annotated[str, typer.Option(help="Beyond loopback a key is needed: `nearfield keys create`.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8000,
    workers: Annotated[int, typer.Option(help="Processes; they share one index through memory mapping.")] = 1,
    device: Device | None = None,
) -> None:
    """Answer over HTTP until SIGTERM or Ctrl-C."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # one request, one core: requests run side by side
        os.environ.setdefault(name, "1")
    from api import server

    def tell(port: int) -> None:
        err.print(f"nearfield on http://{host}:{port}, documentation at /docs")

    found = settings()
    server.serve(found if device is None else found.model_copy(update={"device": device}), host, port, workers, tell)


def migrate(json: Json = False) -> None:
    """Bring the schema of NEARFIELD_DATABASE_URL up to date; the embedded database does so by itself."""
    with open_database(settings(), migrate=True) as database, database.connect() as conn:
        revision = migrations.current(conn)
    emit(json, {"revision": revision}, lambda: out.print(f"the schema is at revision {revision}"))
