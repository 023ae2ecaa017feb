"""nearfield index: build a generation of a model version."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.terminal.options import Device, Json, Recipe, SpaceName, opened
from api.cli.terminal.output import emit, out, progress, table
from engine.errors import NotEnoughData
from engine.store import generations, models

CURVE_COLUMNS = ("recipe", "effort", "recall@20", "surely", "us", "us for all", "build s")


def add_to(app: typer.Typer) -> None:
    app.command()(index)


def index(
    model: Annotated[
        int | None, typer.Option(help="Model version to index. Default: the newest.", show_default=False)
    ] = None,
    recipe: Recipe = "auto",
    device: Device = "cpu",
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Build an index of a model version and measure its recall.

    The index, the catalogue and the model form a generation, which is served once it is published. The command prints
    the recall of each index against exact search, and refuses an index below its floor.

    Example: `nearfield index --model 3 --recipe hnsw`
    """
    from indexing.building.build import build_generation

    with opened(space) as (settings, database, found), progress() as report:
        with database.connect() as conn:
            newest = models.latest(conn, found.key)
        version = model if model is not None else (newest.version if newest else None)
        if version is None:
            raise NotEnoughData("there is no model yet; run `nearfield train`")
        name = build_generation(
            database, found, version, settings.generations, recipe=recipe, device=device, progress=report
        )
        with database.connect() as conn:
            indexes = generations.get(conn, found.key, name).manifest["indexes"]
    body = {"generation": name, "model": version, "indexes": indexes}

    def show() -> None:
        rows = [(label, each["factory"], each["effort"] or None, each["recall@20"]) for label, each in indexes.items()]
        table(("index", "recipe", "effort", "recall@20"), rows)
        curve = [tuple(point.values()) for point in indexes["metric"]["curve"]]
        if curve:
            out.print("recipes measured on a sample:")
            table(CURVE_COLUMNS, curve)
        out.print(f"generation {name} of model {version}; next: nearfield publish")

    emit(json, body, show)
