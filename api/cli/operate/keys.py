"""nearfield keys create|list|revoke: API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.store import api_keys
from engine.values.items import check_text

COLUMNS = ("key_id", "scope", "space", "label", "created", "state")
keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


def add_to(app: typer.Typer) -> None:
    app.add_typer(keys_app, name="keys", help="Create, list and revoke API keys.")


@keys_app.command()
def create(
    scope: Annotated[
        str, typer.Option(help="What the key allows: read, write (includes read) or admin (everything).")
    ] = "read",
    label: Annotated[str, typer.Option(help="A note that `keys list` shows, such as the owner.")] = "",
    all_spaces: Annotated[bool, typer.Option("--all-spaces", help="Valid in every space.")] = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Create a key for the HTTP API.

    Prints the key once; only its hash is stored. Send it as `Authorization: Bearer KEY`. The first key closes a server
    that was open without keys.

    Example: `nearfield keys create --scope write --label shop-backend`
    """
    check_text(label, ("label",))
    with opened("default" if all_spaces else space) as (_, database, found), database.begin() as conn:
        text, record = api_keys.create(conn, scope=scope, space=None if all_spaces else found.name, label=label)
    body = {"key": text, "key_id": record.key_id, "scope": record.scope, "space": record.space, "label": record.label}

    def show() -> None:
        out.print(text, markup=False, soft_wrap=True)
        out.print(f"{record.scope} key for {record.space or 'every space'}; it is not shown again")

    emit(json, body, show)


@keys_app.command(name="list")
def list_keys(json: Json = False) -> None:
    """List the keys, without their texts.

    Example: `nearfield keys list`
    """
    with opened("default") as (_, database, _), database.connect() as conn:
        records = api_keys.list_all(conn)
    rows = [
        (
            each.key_id,
            each.scope,
            each.space or "every space",
            each.label,
            f"{each.created_at:%Y-%m-%d %H:%M}",
            "live" if each.revoked_at is None else "revoked",
        )
        for each in records
    ]
    body = {"keys": [dict(zip(COLUMNS, row, strict=True)) for row in rows]}
    emit(json, body, lambda: table(COLUMNS, rows))


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key_id that `keys list` shows.", show_default=False)],
    json: Json = False,
) -> None:
    """Revoke a key.

    Servers refuse it within two seconds.

    Example: `nearfield keys revoke KEY_ID`
    """
    with opened("default") as (_, database, _), database.begin() as conn:
        api_keys.revoke(conn, key_id)
    emit(json, {"key_id": key_id, "status": "revoked"}, lambda: out.print(f"{key_id} is revoked", markup=False))
