"""nearfield embedders: the models to choose from."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import typer

from api.cli.terminal.options import Json
from api.cli.terminal.output import emit, out, table


def add_to(app: typer.Typer) -> None:
    app.command()(embedders)


def embedders(json: Json = False) -> None:
    """List the embedders with their abilities and parameters.

    The first table says what each embedder learns from and what it can do; the second lists its parameters for --set,
    with their defaults.

    Example: `nearfield embedders`
    """
    from engine.embedders.feature_embedders import registry
    from engine.embedders.registry import EMBEDDERS, make

    made: dict[str, tuple[str, Any]] = {name: ("events", make(name)) for name in EMBEDDERS}
    made |= {name: ("features", registry.make(name)) for name in registry.FEATURE_EMBEDDERS}
    parameters = {
        name: {field.name: getattr(each, field.name) for field in fields(each)} for name, (_, each) in made.items()
    }
    abilities = {name: {"learns_from": source} | asdict(each.abilities) for name, (source, each) in made.items()}

    def show() -> None:
        columns = next(iter(abilities.values()))
        table(("embedder", *columns), [(name, *each.values()) for name, each in abilities.items()])
        out.print()
        rows = [(name, key, str(value)) for name, each in parameters.items() for key, value in each.items()]
        table(("embedder", "parameter", "default"), rows)

    emit(json, {"embedders": parameters, "abilities": abilities}, show)
