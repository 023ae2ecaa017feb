"""nearfield keys create|list|revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.store import api_keys
from engine.values.items import check_text

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    scope: Annotated[str, typer.Option(help="read, write (and read), or admin (everything).")] = "read",
    label: Annotated[str, typer.Option(help="A note of whose key it is.")] = "",
    all_spaces: Annotated[bool, typer.Option("--all-spaces", help="For every space.")] = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Make a key. Its text is shown now and kept nowhere."""
    check_text(label, ("label",))
    with opened("default" if all_spaces else space) as (_, database, found), database.begin() as conn:
        text, record = api_keys.create(conn, scope=scope, space=None if all_spaces else found.name, label=label)
    body = {"key": text, "key_id": record.key_id, "scope": record.scope, "space": record.space, "label": record.label}

    def show() -> None:
        out.print(text, markup=False, soft_wrap=True)
        out.print(f"{record.scope} key for {record.space or 'every space'}; it is not shown again")

    emit(json, body, show)


@app.command(name="list")
def list_keys(json: Json = False) -> None:
    """Every key, without its text."""
    with opened("default") as (_, database, _), database.connect() as conn:
        found = api_keys.list_all(conn)
    rows = [
        (
            each.key_id,
            each.scope,
            each.space or "every space",
            each.label,
            f"{each.created_at:%Y-%m-%d %H:%M}",
            _state(each),
        )
        for each in found
    ]
    names = ("key_id", "scope", "space", "label", "created", "state")
    body = {"keys": [dict(zip(names, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(names, rows))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(show_default=False)], json: Json = False) -> None:
    """Stop a key from working; servers notice within two seconds."""
    with opened("default") as (_, database, _), database.begin() as conn:
        api_keys.revoke(conn, key_id)
    emit(json, {"key_id": key_id, "status": "revoked"}, lambda: out.print(f"{key_id} is revoked", markup=False))


def _state(record: api_keys.KeyRecord) -> str:
    return "live" if record.revoked_at is None else "revoked"
