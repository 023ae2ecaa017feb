"""nearfield weights: what events are worth in a space."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any

import typer

from api.cli.learn import kind_table
from api.cli.terminal.options import Json, SpaceName, opened, pairs
from api.cli.terminal.output import emit, out, table
from engine.errors import InputError
from engine.store import spaces
from engine.values.events import Weighting
from engine.values.kind_synonyms import SYNONYMS

JUDGED_BY = {"new": "items new to the user", "any": "any item, bought before or not"}


def add_to(app: typer.Typer) -> None:
    app.command()(weights)


def weights(
    kind: Annotated[
        list[str] | None, typer.Option(help="Weight of a kind of event, as purchase=5. Repeatable.", show_default=False)
    ] = None,
    other: Annotated[float | None, typer.Option(help="Weight of unknown kinds.", show_default=False)] = None,
    half_life_days: Annotated[
        float | None,
        typer.Option(help="Age in days at which an event counts half; 0: age does not count.", show_default=False),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(help="How the value (quantity) of an event counts: ignore, log or linear.", show_default=False),
    ] = None,
    repeat: Annotated[
        str | None,
        typer.Option(
            help="How several events of one user and item add up: sum, log, or binary (the pair counts once).",
            show_default=False,
        ),
    ] = None,
    predict: Annotated[
        str | None,
        typer.Option(
            help="What models are judged by: new (items new to the user) or any (also items bought before).",
            show_default=False,
        ),
    ] = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Show or change what events are worth in a space.

    Without options, prints the table of kinds, their weights and the other names that each kind is known by. With
    options, changes them; the next training and the next answer use the new values. --kind also takes one of the other
    names, which then has a weight of its own.

    Example: `nearfield weights --kind wishlist=2 --half-life-days 90`
    """
    with opened(space) as (_, database, found):
        now = found.weighting
        kinds = kind_table.changed(now.kinds, {name: _number(text) for name, text in pairs(kind, "--kind").items()})
        options: dict[str, Any] = {"other": other, "value": value, "repeat": repeat, "predict": predict}
        changes = {name: each for name, each in options.items() if each is not None}
        if half_life_days is not None:
            changes["half_life_days"] = half_life_days or None
        changed = replace(now, kinds=kinds, **changes)
        if changed != now:
            with database.begin() as conn:
                spaces.set_weighting(conn, found, changed)
    body: dict[str, Any] = {field.name: getattr(changed, field.name) for field in fields(changed)} | {"kinds": kinds}
    body["synonyms"] = {kind: words.split() for kind, words in SYNONYMS.items()}

    emit(json, body, lambda: _print_weighting(changed))


def _print_weighting(weighting: Weighting) -> None:
    table(kind_table.NAMES, kind_table.rows(weighting))
    half_life = f"{weighting.half_life_days:g} days" if weighting.half_life_days else "none, old events count in full"
    out.print(f"half-life: {half_life}; value: {weighting.value}; repeat: {weighting.repeat}")
    if weighting.repeat == "binary":
        out.print("an item counts once if its events add up to more than zero; their kind, value and age do not count")
    out.print(f"models are judged by {JUDGED_BY[weighting.predict]}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"a weight is a number, got {text!r}") from None
