"""nearfield users for-item: the users of a campaign for one item, as a table in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from api.cli.shop.answer_output import item_fields
from api.cli.shop.recommend import Exclude, parsed_exclude
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from api.cli.terminal.table_files import check_file, write_tables
from engine.errors import NotEnoughData
from engine.recommending.users_for_item import UsersForItem, users_for_item
from engine.store import events, user_facts, users
from engine.values.ids import check_id
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("reason", pa.string()),
        ("because_item_id", pa.string()),
        ("because_title", pa.string()),
    ]
)


def for_item(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The id of the item.", show_default=False)],
    file: Annotated[Path, typer.Option("--out", help="File to write: .parquet, .csv or .jsonl.", show_default=False)],
    k: Annotated[int, typer.Option("--k", min=1, help="Number of users.")] = 10_000,
    exclude: Exclude = "purchased",
    segment: Annotated[
        str | None, typer.Option(help="Only users who are in this segment now.", show_default=False)
    ] = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Find the users to whom an item fits best.

    Reads all users and writes the best to a file, with the score that the item has in each user's recommendations and
    the most similar item of the user's history. Users who bought the item are left out. Nothing is stored of erased
    users, so they are not in the file.

    Example: `nearfield users for-item tent --k 10000 --out campaign.parquet`
    """
    item_id, excluded = check_id(item, ("item",)), parsed_exclude(exclude)
    check_file(file)
    started = time.perf_counter()
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        now_us = time.time_ns() // 1000
        passing = None if segment is None else view.presets.segments.user_filter(segment, ("segment",))
        with database.connect() as conn:
            columns = events.read_columns(conn, found.key)
            if passing is None:
                user_ids = users.ids(conn, found.key)
            else:
                user_ids = user_facts.members(conn, found.key, found.weighting.vocabulary, passing, now_us)
        if not user_ids:
            who = f"space {found.name!r}" if segment is None else f"segment {segment!r}"
            raise NotEnoughData(f"{who} has no users yet")
        best = users_for_item(
            view, columns, user_ids, item_id, k=k, exclude=excluded, weighting=found.weighting, now_us=now_us
        )
        n_rows = write_tables(file, SCHEMA, [_table(view, best)])
    seconds = round(time.perf_counter() - started, 3)
    body = {"item_id": item_id, "users": n_rows, "of": len(user_ids), "excluded": best.n_excluded}
    body |= {"without_vector": best.n_without_vector, "out": str(file), "seconds": seconds}

    def show() -> None:
        left_out = f"{best.n_excluded:,} excluded, {best.n_without_vector:,} without a history that counts"
        out.print(f"{n_rows:,} of {len(user_ids):,} users in {file}, {seconds} s; {left_out}", markup=False)

    emit(json, body, show)


def _table(view: LiveView, best: UsersForItem) -> pa.Table:
    titles: dict[str | None, str | None] = {None: None}
    for item_id in best.because:
        if item_id is not None and item_id not in titles:
            titles[item_id] = item_fields(view, item_id, -1 if (row := view.items.row(item_id)) is None else row).get(
                "title"
            )
    n = len(best.user_ids)
    columns = [best.user_ids, range(1, n + 1), best.scores, ["history"] * n, best.because]
    columns.append([titles[item_id] for item_id in best.because])
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
