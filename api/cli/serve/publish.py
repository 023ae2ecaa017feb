"""nearfield publish and nearfield rollback: choose which generation is served."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.terminal.options import Force, Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from engine.errors import NotEnoughData
from engine.store import generations, models


def add_to(app: typer.Typer) -> None:
    app.command()(publish)
    app.command()(rollback)


def publish(
    generation: Annotated[
        str | None, typer.Argument(help="Generation to serve. Default: the newest.", show_default=False)
    ] = None,
    force: Force = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Serve a generation; running servers swap to it without a pause.

    A generation whose model is worse than popularity is refused unless you pass --force.
    `nearfield generations` lists the generations.

    Example: `nearfield publish --space default`
    """
    from indexing.building import publish as publishing
    from indexing.building.reindex import check_publishable

    with opened(space) as (settings, database, found):
        with database.connect() as conn:
            newest = generations.list_all(conn, found.key)[:1]
            name = generation or (newest[0].generation if newest else None)
            if name is None:
                raise NotEnoughData("there is no generation yet; run `nearfield index`")
            record = models.get(conn, found.key, generations.get(conn, found.key, name).model)
        if not force:
            check_publishable(record)
        publishing.publish(database, found, name, settings.generations)
    emit(json, {"generation": name, "model": record.version}, lambda: out.print(f"{name} is served"))


def rollback(space: SpaceName = "default", json: Json = False) -> None:
    """Serve the generation that was served before the current one.

    Running servers swap without a pause.

    Example: `nearfield rollback`
    """
    from indexing.building.publish import rollback as roll_back

    with opened(space) as (settings, database, found):
        name = roll_back(database, found, settings.generations)
    emit(json, {"generation": name}, lambda: out.print(f"{name} is served again"))
