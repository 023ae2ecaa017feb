"""Events: append-only, idempotent on (space, event_id)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from engine.errors import StoreBusy
from engine.store import erasures
from engine.store.database import bulk_copy
from engine.values.events import Event, EventColumns, History, derive_event_id

APPEND = """
WITH new AS (
    SELECT * FROM unnest(%(event_id)s::text[], %(user_id)s::text[], %(item_id)s::text[], %(kind)s::text[],
        %(value)s::real[], %(occurred_at)s::timestamptz[]) AS t (event_id, user_id, item_id, kind, value, occurred_at)
), known AS (
    SELECT event_id, user_key, item_key, kind, value, occurred_at FROM new
        JOIN users u ON u.space_key = %(space)s AND u.user_id = new.user_id
        JOIN items i ON i.space_key = %(space)s AND i.item_id = new.item_id
), written AS (
    INSERT INTO events (space_key, event_id, user_key, item_key, kind, value, occurred_at)
    SELECT %(space)s, known.* FROM known ORDER BY event_id
    ON CONFLICT DO NOTHING RETURNING event_id
)
SELECT ARRAY(SELECT event_id FROM known), ARRAY(SELECT event_id FROM written)
"""
ADD_USERS = """
INSERT INTO users (space_key, user_id) SELECT %s, id FROM unnest(%s::text[]) AS t (id)
WHERE NOT EXISTS (SELECT FROM users WHERE space_key = %s AND user_id = id)
ORDER BY id COLLATE "C" ON CONFLICT DO NOTHING
"""
ADD_ITEMS = ADD_USERS.replace("users", "items").replace("user_id", "item_id")
HISTORY = """
SELECT i.item_id, e.kind, e.value, (extract(epoch FROM e.occurred_at) * 1000000)::bigint
FROM users u CROSS JOIN LATERAL (
    SELECT item_key, kind, value, occurred_at FROM events
    WHERE user_key = u.user_key ORDER BY occurred_at DESC LIMIT %s) e
JOIN items i ON i.item_key = e.item_key
WHERE u.space_key = %s AND u.user_id = %s ORDER BY e.occurred_at DESC
"""
HISTORIES = """
SELECT u.user_id, i.item_id, e.kind, e.value, (extract(epoch FROM e.occurred_at) * 1000000)::bigint
FROM users u CROSS JOIN LATERAL (
    SELECT item_key, kind, value, occurred_at FROM events
    WHERE user_key = u.user_key ORDER BY occurred_at DESC LIMIT %s) e
JOIN items i ON i.item_key = e.item_key
WHERE u.space_key = %s AND u.user_id = ANY(%s::text[]) ORDER BY u.user_id, e.occurred_at DESC
"""
MERGE = """
INSERT INTO events (space_key, event_id, user_key, item_key, kind, value, occurred_at)
SELECT %s, event_id, user_key, item_key, kind, value, occurred_at FROM staged_events s
    JOIN users u ON u.space_key = %s AND u.user_id = s.user_id
    JOIN items i ON i.space_key = %s AND i.item_id = s.item_id
ON CONFLICT DO NOTHING
"""
ERASED = "a user of these events was erased or merged meanwhile; nothing was written, send them again"


@dataclass(frozen=True)
class StagedCounts:
    written: int
    duplicates: int


def append(conn: sa.Connection, space_key: int, events: Sequence[Event]) -> list[str]:
    """Write events; "written", "duplicate" or "erased", of a user who was, for each.

    Users and items never seen are made on the way. StoreBusy, and nothing written, when one of the users is erased at
    the same moment.
    """
    ids = [event.event_id or _derived(event) for event in events]
    first = dict(zip(reversed(ids), reversed(events), strict=True))
    written = _append(conn, space_key, first)
    erased: set[str] = set()
    if first:  # of users or items not known yet
        erased = _add(conn, space_key, first)
        written |= _append(conn, space_key, first)
    if first:
        raise StoreBusy(ERASED)
    statuses = []
    for id_ in ids:
        statuses.append("written" if id_ in written else "erased" if id_ in erased else "duplicate")
        written.discard(id_)
    return statuses


def _append(conn: sa.Connection, space_key: int, events: dict[str, Event]) -> set[str]:
    """Take those of known users and items out of `events`, by id, and write them; the ids that are new."""
    parameters = {"space": space_key, "event_id": list(events)} | {
        name: [getattr(event, name) for event in events.values()]
        for name in ("user_id", "item_id", "kind", "value", "occurred_at")
    }
    try:
        known, written = conn.exec_driver_sql(APPEND, parameters).one()
    except sa.exc.IntegrityError as error:  # users and items are there, or were a moment ago
        raise StoreBusy(ERASED) from error
    for id_ in known:
        del events[id_]
    return set(written)


def _add(conn: sa.Connection, space_key: int, events: dict[str, Event]) -> set[str]:
    """Make the users and items of `events`, by id; take those of users who were erased out of it, and say which."""
    names = sorted({event.user_id for event in events.values()})
    conn.exec_driver_sql(ADD_USERS, (space_key, names, space_key))
    swept = erasures.sweep(conn, space_key, names)
    erased = {id_ for id_, event in events.items() if event.user_id in swept}
    for id_ in erased:
        del events[id_]
    conn.exec_driver_sql(ADD_ITEMS, (space_key, sorted({event.item_id for event in events.values()}), space_key))
    return erased


def _derived(event: Event) -> str:
    occurred_us = round(event.occurred_at.timestamp() * 1e6)
    return derive_event_id(event.user_id, event.item_id, event.kind, event.value, occurred_us)


def history(conn: sa.Connection, space_key: int, user_id: str, limit: int) -> History:
    """The newest `limit` events of a user, newest first; empty for a user never seen. One statement."""
    rows = conn.exec_driver_sql(HISTORY, (limit, space_key, user_id)).all()
    if not rows:
        return History()
    item_ids, kinds, values, occurred = zip(*rows, strict=True)
    return History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))


def histories(conn: sa.Connection, space_key: int, user_ids: Sequence[str], limit: int) -> dict[str, History]:
    """`history` of many users, in one statement; users never seen are left out."""
    found: dict[str, list[sa.Row]] = {}
    for row in conn.exec_driver_sql(HISTORIES, (limit, space_key, list(user_ids))):
        found.setdefault(row[0], []).append(row)
    made = {}
    for user_id, rows in found.items():
        _, item_ids, kinds, values, occurred = zip(*rows, strict=True)
        made[user_id] = History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))
    return made


def count(conn: sa.Connection, space_key: int) -> int:
    return int(conn.exec_driver_sql("SELECT count(*) FROM events WHERE space_key = %s", (space_key,)).scalar_one())


def kind_counts(conn: sa.Connection, space_key: int) -> dict[str, int]:
    """Events by the word for their kind, the most frequent first."""
    query = "SELECT kind, count(*) FROM events WHERE space_key = %s GROUP BY kind ORDER BY 2 DESC, 1"
    return {kind: n for kind, n in conn.exec_driver_sql(query, (space_key,))}


def read_columns(conn: sa.Connection, space_key: int) -> EventColumns:
    """Every event of a space whose item is not deleted, in order of time."""
    kinds = conn.exec_driver_sql("SELECT DISTINCT kind FROM events WHERE space_key = %s", (space_key,)).scalars()
    names = sorted(kinds)
    query = sql.SQL(
        """SELECT user_key, item_key, array_position({}::text[], kind)::int4, value, occurred_at FROM events
           JOIN items USING (item_key) WHERE events.space_key = {} AND NOT deleted ORDER BY occurred_at, event_id"""
    ).format(sql.Literal(names), sql.Literal(space_key))
    rows = bulk_copy.read_fixed(
        conn,
        query.as_string(bulk_copy.driver_connection(conn)),
        [("user", ">i8"), ("item", ">i8"), ("kind", ">i4"), ("value", ">f4"), ("at", ">i8")],
    )
    user_ids, user_rows = _ids(conn, "users", "user", space_key, rows["user"])
    item_ids, item_rows = _ids(conn, "items", "item", space_key, rows["item"])
    return EventColumns(
        user_ids,
        item_ids,
        tuple(names),
        user_rows,
        item_rows,
        rows["kind"].astype(np.int32) - 1,
        rows["value"].astype(np.float32),
        rows["at"].astype(np.int64) + bulk_copy.EPOCH_US,
    )


def _ids(
    conn: sa.Connection, table: str, noun: str, space_key: int, keys: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """The ids of the keys that occur, in key order, and each key's row among them."""
    present, rows = np.unique(keys.astype(np.int64), return_inverse=True)
    query = f"SELECT {noun}_key, {noun}_id FROM {table} WHERE space_key = %s"
    names: dict[int, str] = {key: id_ for key, id_ in conn.exec_driver_sql(query, (space_key,))}
    return tuple(names[key] for key in present.tolist()), rows.astype(np.int64)


def merge_staged(conn: sa.Connection, space_key: int, table: pa.Table) -> StagedCounts:
    """Write checked events in bulk from columns event_id, user_id, item_id, kind, value, occurred_at (timestamp UTC).

    Their users and items must be there (`users.merge_staged`, `items.merge_staged`).
    """
    columns = ["event_id", "user_id", "item_id", "kind", "value", "occurred_at"]
    definition = "event_id text, user_id text, item_id text, kind text, value real, occurred_at timestamptz"
    bulk_copy.stage_table(conn, "staged_events", definition, table.select(columns))
    with bulk_copy.without_nested_loops(conn, table.num_rows):
        written = conn.exec_driver_sql(MERGE, (space_key, space_key, space_key)).rowcount
    return StagedCounts(written, table.num_rows - written)
