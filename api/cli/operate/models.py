"""nearfield models: the model versions of a space."""

from __future__ import annotations

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, table
from engine.store import models

COLUMNS = ("model", "embedder", "dim", "metric", "items", "users", "recall@20", "ndcg@20", "publishable", "created")


def add_to(app: typer.Typer) -> None:
    app.command(name="models")(list_models)


def list_models(space: SpaceName = "default", json: Json = False) -> None:
    """List the model versions of a space, newest first.

    Prints embedder, dimensions, sizes, recall@20 and ndcg@20 of each, and whether it may be published.

    Example: `nearfield models --space default`
    """
    with opened(space) as (_, database, found), database.connect() as conn:
        records = models.list_all(conn, found.key)
    rows = [
        (
            each.version,
            each.embedder,
            each.dim,
            each.metric,
            each.n_items,
            each.n_users,
            each.evaluation.get("recall@20"),
            each.evaluation.get("ndcg@20"),
            each.publishable,
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
        for each in records
    ]
    body = {"models": [dict(zip(COLUMNS, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(COLUMNS, rows))
