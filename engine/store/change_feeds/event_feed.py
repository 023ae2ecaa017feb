"""The feed of events: all events of a space, or the events since a snapshot, with user and item keys in place of ids.

As in `item_feed`, an event is new when the current snapshot sees it and the remembered snapshot does not, so no late
commit is lost. Each event row stores the id of the transaction that wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql

from engine.store.change_feeds import snapshots
from engine.store.change_feeds.snapshots import Snapshot
from engine.store.database import bulk_copy
from engine.values.events import EventColumns

NEW = "xid >= %(xmin)s::text::xid8 AND NOT pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot)"
ANY_NEW = f"SELECT EXISTS (SELECT FROM events WHERE space_key = %(space)s AND {NEW})"
# All events of each (user, item) pair that has a new one: the weight of a pair is a sum over all its events.
CHANGED_PAIRS = f"""
WITH pairs AS MATERIALIZED (SELECT DISTINCT user_key, item_key FROM events WHERE space_key = %(space)s AND {NEW}),
each AS MATERIALIZED (SELECT DISTINCT user_key FROM pairs)
SELECT user_key, item_key, kind, value, (extract(epoch FROM occurred_at) * 1000000)::bigint, coalesce({NEW}, false)
FROM (SELECT e.* FROM each CROSS JOIN LATERAL (SELECT * FROM events WHERE user_key = each.user_key OFFSET 0) e) of_them
JOIN pairs USING (user_key, item_key)
"""
# The planner has no statistics of the newest transaction ids; it expects many rows and scans all events each second.
USE_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
CHUNK_ROWS = 20_000
ROW = np.dtype([("user", "i8"), ("item", "i8"), ("kind", "i4"), ("value", "f4"), ("at", "i8"), ("new", "?")])


@dataclass(frozen=True, eq=False)
class ChangedPairs:
    """All events of each (user, item) pair that has a new event; the user and item rows are keys."""

    events: EventColumns
    is_new: npt.NDArray[np.bool_]  # (n,): the event was written since the snapshot


def read_all(conn: sa.Connection, space_key: int) -> EventColumns:
    """Every event of a space, without ids: the user and item rows are keys.

    `baskets` are hashes of the order, or of the session of an event without an order.
    """
    kinds = conn.exec_driver_sql("SELECT DISTINCT kind FROM events WHERE space_key = %s", (space_key,)).scalars()
    names = sorted(kinds)
    query = sql.SQL(
        """SELECT user_key, item_key, array_position({}::text[], kind)::int4, value, occurred_at,
           coalesce(hashtextextended(order_id, 1), hashtextextended(session_id, 2), 0)
           FROM events WHERE space_key = {}"""
    ).format(sql.Literal(names), sql.Literal(space_key))
    fields = [("user", ">i8"), ("item", ">i8"), ("kind", ">i4"), ("value", ">f4"), ("at", ">i8"), ("basket", ">i8")]
    rows = bulk_copy.read_fixed(conn, query.as_string(bulk_copy.driver_connection(conn)), fields)
    return EventColumns(
        (),
        (),
        tuple(names),
        rows["user"].astype(np.int64),
        rows["item"].astype(np.int64),
        rows["kind"].astype(np.int32) - 1,
        rows["value"].astype(np.float32),
        rows["at"].astype(np.int64) + bulk_copy.EPOCH_US,
        rows["basket"].astype(np.int64),
    )


def read_since(conn: sa.Connection, space_key: int, since: Snapshot) -> tuple[ChangedPairs | None, Snapshot]:
    """The pairs with events since a snapshot, and the snapshot for the next read. Call it in REPEATABLE READ.

    The pairs are None when no event is new, and when `since` is of another epoch.
    """
    now = snapshots.current(conn)
    if now.epoch != since.epoch:
        return None, now
    conn.exec_driver_sql(USE_INDEX)
    parameters = {"space": space_key, "xmin": str(since.xmin), "since": str(since)}
    if not conn.exec_driver_sql(ANY_NEW, parameters).scalar_one():
        return None, now
    result = conn.exec_driver_sql(CHANGED_PAIRS, parameters, execution_options={"stream_results": True})
    return _to_columns(result.partitions(CHUNK_ROWS)), now


def _to_columns(chunks: Iterable[Iterable[sa.Row]]) -> ChangedPairs:
    kind_codes: dict[str, int] = {}

    def encoded() -> Iterator[npt.NDArray[np.void]]:
        for chunk in chunks:
            rows = [(row[0], row[1], kind_codes.setdefault(row[2], len(kind_codes)), *row[3:]) for row in chunk]
            yield np.array(rows, dtype=ROW)

    table = np.concatenate([np.zeros(0, dtype=ROW), *encoded()])
    columns = [np.ascontiguousarray(table[name]) for name in ROW.names or ()]
    user, item, kind, value, occurred, is_new = columns
    return ChangedPairs(EventColumns((), (), tuple(kind_codes), user, item, kind, value, occurred), is_new)


def item_ids(conn: sa.Connection, item_keys: Sequence[int]) -> dict[int, str]:
    """The id of each key that still exists."""
    query = "SELECT item_key, item_id FROM items WHERE item_key = ANY(%s)"
    return {key: id_ for key, id_ in conn.exec_driver_sql(query, (list(item_keys),))}


def clear_foreign_xids(conn: sa.Connection, space_key: int) -> int:
    """Clear the transaction ids of events that were restored from another database; return how many were cleared.

    Such an id belongs to the other database, and here it lies in the future. An event without an id is older than any
    later snapshot.
    """
    update = """UPDATE events SET xid = NULL
                WHERE space_key = %s AND xid >= pg_snapshot_xmax(pg_current_snapshot())"""
    return conn.exec_driver_sql(update, (space_key,)).rowcount
