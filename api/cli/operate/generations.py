"""nearfield generations: the generations of a space."""

from __future__ import annotations

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, table
from engine.store import generations

COLUMNS = ("generation", "model", "recipe", "recall@20", "served", "created")


def add_to(app: typer.Typer) -> None:
    app.command(name="generations")(list_generations)


def list_generations(space: SpaceName = "default", json: Json = False) -> None:
    """List the generations of a space, newest first.

    Prints the model version, the recipe and the measured recall of each, and which one is served.

    Example: `nearfield generations --space default`
    """
    with opened(space) as (_, database, found), database.connect() as conn:
        records = generations.list_all(conn, found.key)
    rows = [
        (
            each.generation,
            each.model,
            each.manifest["indexes"]["metric"]["factory"],
            each.manifest["indexes"]["metric"]["recall@20"],
            each.active,
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
        for each in records
    ]
    body = {"generations": [dict(zip(COLUMNS, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(COLUMNS, rows))
