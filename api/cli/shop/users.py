"""nearfield users erase|allow ID."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from engine.store import erasures, users
from engine.values.ids import check_id

app = typer.Typer(no_args_is_help=True)
UserId = Annotated[str, typer.Argument(metavar="ID", help="The user's id.", show_default=False)]


@app.command()
def erase(user: UserId, space: SpaceName = "default", json: Json = False) -> None:
    """Erase a user with events and vectors, and keep the id out: no import brings it back. Reindex for served files."""
    user_id = check_id(user, ("user",))
    with opened(space) as (_, database, found), database.begin() as conn:
        erased = users.delete(conn, found.key, user_id)

    def show() -> None:
        rows = ", ".join(f"{count:,} of {table}" for table, count in erased.rows.items())
        out.print(f"erased: {rows}; kept out: {', '.join(erased.user_ids)}", markup=False)

    emit(json, {"user_id": user_id, "erased": dict(erased.rows), "kept_out": list(erased.user_ids)}, show)


@app.command()
def allow(user: UserId, space: SpaceName = "default", json: Json = False) -> None:
    """Let the id of an erased user in again; what was erased does not come back by this."""
    user_id = check_id(user, ("user",))
    with opened(space) as (_, database, found), database.begin() as conn:
        erasures.allow(conn, found.key, user_id)
    emit(
        json, {"user_id": user_id, "status": "allowed"}, lambda: out.print(f"{user_id} is allowed again", markup=False)
    )
