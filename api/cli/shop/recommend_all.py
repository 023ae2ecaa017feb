"""recommend --all: the recommendations of every user as a table in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from api.cli.shop.answer_output import item_fields, print_warnings
from api.cli.terminal.output import emit, out, progress
from api.cli.terminal.table_files import write_tables
from api.messages import warnings
from engine.errors import NotEnoughData, Problem
from engine.recommending.all_users import recommend_to_all
from engine.recommending.values.answer import Answer
from engine.recommending.values.request import Request
from engine.store import events, users
from engine.store.database.connections import Database
from indexing.live.view import LiveView

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("score", pa.float32()),
        ("reason", pa.string()),
        ("title", pa.string()),
    ]
)
TABLE_ROWS = 100_000  # per table written

Row = tuple[str, int, str, float, str, str | None]
Answers = Iterable[tuple[str, Answer]]


def write_all(
    database: Database, view: LiveView, request: Request, file: Path, problems: Sequence[Problem], json: bool
) -> None:
    """Writes `request` answered for every user of the space."""
    space = view.space
    with database.connect() as conn:
        columns = events.read_columns(conn, space.key)
        user_ids = users.ids(conn, space.key)
    if not user_ids:
        raise NotEnoughData(f"space {space.name!r} has no users yet")
    started = time.perf_counter()
    now_us = time.time_ns() // 1000
    answers = recommend_to_all(view, columns, user_ids, request, weighting=space.weighting, now_us=now_us)
    with progress() as report:
        n_rows = write_tables(file, SCHEMA, _tables(view, _reported(answers, len(user_ids), report)))
    seconds = round(time.perf_counter() - started, 3)
    body = {"users": len(user_ids), "rows": n_rows, "out": str(file), "seconds": seconds}
    body["warnings"] = warnings.to_json(problems)

    def show() -> None:
        out.print(f"{n_rows:,} rows for {len(user_ids):,} users in {file}, {seconds} s")
        print_warnings(body)

    emit(json, body, show)


def _reported(answers: Answers, n_users: int, report: Callable[..., Any]) -> Answers:
    for at, answer in enumerate(answers):
        if at % 256 == 0:
            report(f"user {at:,} of {n_users:,}", at / n_users)
        yield answer


def _tables(view: LiveView, answers: Answers) -> Iterable[pa.Table]:
    titles: dict[str, str | None] = {}
    rows: list[Row] = []
    for user_id, answer in answers:
        for rank, hit in enumerate(answer.hits, 1):
            if hit.item_id not in titles:
                titles[hit.item_id] = item_fields(view, hit.item_id, hit.row).get("title")
            rows.append((user_id, rank, hit.item_id, hit.score, hit.reason, titles[hit.item_id]))
        if len(rows) >= TABLE_ROWS:
            yield _table(rows)
            rows = []
    yield _table(rows)


def _table(rows: list[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
