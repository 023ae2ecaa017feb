"""nearfield users erase, allow and for-item."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.shop.users_for_item import for_item
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from engine.store import erasures, users
from engine.values.ids import check_id

users_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
UserId = Annotated[str, typer.Argument(metavar="ID", help="The id of the user.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.add_typer(users_app, name="users", help="Erase a user; allow an erased id again; find users for an item.")
    users_app.command(name="for-item")(for_item)


@users_app.command()
def erase(user: UserId, space: SpaceName = "default", json: Json = False) -> None:
    """Erase a user for good.

    Deletes the events, attributes and vectors of the user and keeps a keyed hash of the id, so that no import brings
    the user back. Index files still hold the user's vector until the next reindex.

    Example: `nearfield users erase ann`
    """
    user_id = check_id(user, ("user",))
    with opened(space) as (_, database, found), database.begin() as conn:
        erased = users.delete(conn, found.key, user_id)

    def show() -> None:
        rows = ", ".join(f"{count:,} of {table}" for table, count in erased.rows.items())
        out.print(f"erased: {rows}; excluded from imports: {', '.join(erased.user_ids)}", markup=False)

    emit(json, {"user_id": user_id, "erased": dict(erased.rows), "kept_out": list(erased.user_ids)}, show)


@users_app.command()
def allow(user: UserId, space: SpaceName = "default", json: Json = False) -> None:
    """Allow the id of an erased user again.

    Later events and imports with this id are stored again. Erased data does not come back.

    Example: `nearfield users allow ann`
    """
    user_id = check_id(user, ("user",))
    with opened(space) as (_, database, found), database.begin() as conn:
        erasures.allow(conn, found.key, user_id)
    emit(
        json, {"user_id": user_id, "status": "allowed"}, lambda: out.print(f"{user_id} is allowed again", markup=False)
    )
