"""nearfield compress: memory and accuracy of compressed vectors."""

from __future__ import annotations

import typer

from api.cli.records.record_sources import Model, model_version
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, progress, table


def add_to(app: typer.Typer) -> None:
    app.command()(compress)


def compress(model: Model = None, space: SpaceName = "default", json: Json = False) -> None:
    """Compare the vectors as float32, float16, int8 and PQ.

    Prints the memory of each form and the recall that it loses. Changes nothing.

    Example: `nearfield compress --space default`
    """
    from indexing.building.compression import of_model

    with opened(space) as (_, database, found), progress() as report, database.begin() as conn:
        version = model_version(conn, found, model)
        report("compress", 0.1)
        body = of_model(conn, found.key, version)
    rows = body["kinds"]
    names = list(rows[0])
    emit(
        json,
        body,
        lambda: table([name.replace("_", " ") for name in names], [[row[name] for name in names] for row in rows]),
    )
