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
        %(value)s::real[], %(occurred_at)s::timestamptz[], %(order_id)s::text[], %(session_id)s::text[])
        AS t (event_id, user_id, item_id, kind, value, occurred_at, order_id, session_id)
), known AS (
    SELECT event_id, user_key, item_key, kind, value, occurred_at, order_id, session_id FROM new
        JOIN users u ON u.space_key = %(space)s AND u.user_id = new.user_id
        JOIN items i ON i.space_key = %(space)s AND i.item_id = new.item_id
), written AS (
    INSERT INTO events (space_key, event_id, user_key, item_key, kind, value, occurred_at, order_id, session_id)
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
OF_SESSION = """
SELECT i.item_id, e.kind, e.value, (extract(epoch FROM e.occurred_at) * 1000000)::bigint
FROM users u JOIN events e USING (user_key) JOIN items i ON i.item_key = e.item_key
WHERE u.space_key = %s AND u.user_id IN (%s, %s) AND e.session_id = %s ORDER BY e.occurred_at DESC LIMIT %s
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
INSERT INTO events (space_key, event_id, user_key, item_key, kind, value, occurred_at, order_id, session_id)
SELECT %s, event_id, user_key, item_key, kind, value, occurred_at, order_id, session_id FROM staged_events s
    JOIN users u ON u.space_key = %s AND u.user_id = s.user_id
    JOIN items i ON i.space_key = %s AND i.item_id = s.item_id
ON CONFLICT DO NOTHING
"""
USER_REMOVED = (
    "a user of these events was erased or merged into another at the same time; nothing was written, send them again"
)


@dataclass(frozen=True)
class BulkAppended:
    written: int
    duplicates: int


def append(conn: sa.Connection, space_key: int, events: Sequence[Event]) -> list[str]:
    """Write events; return a status for each: "written", "duplicate", or "erased" when its user was erased.

    Creates users and items that do not exist yet. Raises StoreBusy, and writes nothing, when one of the users is erased
    at the same time.
    """
    ids = [event.event_id or _derive_id(event) for event in events]
    pending = dict(zip(reversed(ids), reversed(events), strict=True))  # of equal ids the first event
    written = _append_known(conn, space_key, pending)
    erased: set[str] = set()
    if pending:  # events of new users or items
        erased = _create_users_and_items(conn, space_key, pending)
        written |= _append_known(conn, space_key, pending)
    if pending:
        raise StoreBusy(USER_REMOVED)
    statuses = []
    for id_ in ids:
        statuses.append("written" if id_ in written else "erased" if id_ in erased else "duplicate")
        written.discard(id_)
    return statuses


def _append_known(conn: sa.Connection, space_key: int, events: dict[str, Event]) -> set[str]:
    """Write the events (by id) of known users and items and remove them from `events`; return the ids that were new."""
    parameters = {"space": space_key, "event_id": list(events)} | {
        name: [getattr(event, name) for event in events.values()]
        for name in ("user_id", "item_id", "kind", "value", "occurred_at", "order_id", "session_id")
    }
    try:
        known, written = conn.exec_driver_sql(APPEND, parameters).one()
    except sa.exc.IntegrityError as error:  # a user or an item was deleted during the statement
        raise StoreBusy(USER_REMOVED) from error
    for id_ in known:
        del events[id_]
    return set(written)


def _create_users_and_items(conn: sa.Connection, space_key: int, events: dict[str, Event]) -> set[str]:
    """Create the users and items of `events` (by id); remove the events of erased users and return their event ids."""
    user_ids = sorted({event.user_id for event in events.values()})
    conn.exec_driver_sql(ADD_USERS, (space_key, user_ids, space_key))
    erased_users = erasures.delete_erased(conn, space_key, user_ids)
    erased = {id_ for id_, event in events.items() if event.user_id in erased_users}
    for id_ in erased:
        del events[id_]
    conn.exec_driver_sql(ADD_ITEMS, (space_key, sorted({event.item_id for event in events.values()}), space_key))
    return erased


def _derive_id(event: Event) -> str:
    occurred_us = round(event.occurred_at.timestamp() * 1e6)
    fields = (event.user_id, event.item_id, event.kind, event.value, occurred_us)
    return derive_event_id(*fields, order_id=event.order_id)


def history(conn: sa.Connection, space_key: int, user_id: str, limit: int) -> History:
    """The newest `limit` events of a user, newest first; empty for an unknown user. One statement."""
    return _history(conn.exec_driver_sql(HISTORY, (limit, space_key, user_id)).all())


def of_session(conn: sa.Connection, space_key: int, user_id: str, session_id: str, limit: int) -> History:
    """The newest `limit` events of one session of a user, newest first, with those from before the user was known."""
    return _history(conn.exec_driver_sql(OF_SESSION, (space_key, user_id, session_id, session_id, limit)).all())


def _history(rows: Sequence[sa.Row]) -> History:
    if not rows:
        return History()
    item_ids, kinds, values, occurred = zip(*rows, strict=True)
    return History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))


def histories(conn: sa.Connection, space_key: int, user_ids: Sequence[str], limit: int) -> dict[str, History]:
    """`history` of many users in one statement; unknown users are left out."""
    rows_of: dict[str, list[sa.Row]] = {}
    for row in conn.exec_driver_sql(HISTORIES, (limit, space_key, list(user_ids))):
        rows_of.setdefault(row[0], []).append(row)
    by_user = {}
    for user_id, rows in rows_of.items():
        _, item_ids, kinds, values, occurred = zip(*rows, strict=True)
        by_user[user_id] = History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))
    return by_user


def count(conn: sa.Connection, space_key: int) -> int:
    return int(conn.exec_driver_sql("SELECT count(*) FROM events WHERE space_key = %s", (space_key,)).scalar_one())


def kind_counts(conn: sa.Connection, space_key: int) -> dict[str, int]:
    """The number of events of each kind, the most frequent first."""
    query = "SELECT kind, count(*) FROM events WHERE space_key = %s GROUP BY kind ORDER BY 2 DESC, 1"
    return {kind: n for kind, n in conn.exec_driver_sql(query, (space_key,))}


def read_columns(conn: sa.Connection, space_key: int) -> EventColumns:
    """Every event of a space whose item is not deleted, ordered by time."""
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
    """The ids of the distinct keys, in key order, and the row of each key among them."""
    distinct, rows = np.unique(keys.astype(np.int64), return_inverse=True)
    query = f"SELECT {noun}_key, {noun}_id FROM {table} WHERE space_key = %s"
    id_of: dict[int, str] = {key: id_ for key, id_ in conn.exec_driver_sql(query, (space_key,))}
    return tuple(id_of[key] for key in distinct.tolist()), rows.astype(np.int64)


def bulk_append(conn: sa.Connection, space_key: int, table: pa.Table) -> BulkAppended:
    """Write validated events from columns event_id, user_id, item_id, kind, value, occurred_at (timestamp, UTC), and
    optionally order_id and session_id.

    The users and items of the events must exist (`users.bulk_merge`, `items.bulk_merge`).
    """
    columns = ["event_id", "user_id", "item_id", "kind", "value", "occurred_at", "order_id", "session_id"]
    definition = (
        "event_id text, user_id text, item_id text, kind text, value real, occurred_at timestamptz, order_id text, "
        "session_id text"
    )
    for name in {"order_id", "session_id"} - set(table.column_names):
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    bulk_copy.stage_table(conn, "staged_events", definition, table.select(columns))
    with bulk_copy.without_nested_loops(conn, table.num_rows):
        written = conn.exec_driver_sql(MERGE, (space_key, space_key, space_key)).rowcount
    return BulkAppended(written, table.num_rows - written)
