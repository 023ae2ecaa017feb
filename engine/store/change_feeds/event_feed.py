"""Uptake: events by the keys of their users and items, all of a space or what came since a snapshot.

As in the change feed, what is new is what this snapshot sees and that one did not, so no late commit is lost; here the
events themselves say which transaction wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql

from engine.store.change_feeds import item_feed
from engine.store.change_feeds.item_feed import Snapshot
from engine.store.database import bulk_copy
from engine.values.events import EventColumns

NEW = "xid >= %(xmin)s::text::xid8 AND NOT pg_visible_in_snapshot(xid, %(since)s::text::pg_snapshot)"
ANY_NEW = f"SELECT EXISTS (SELECT FROM events WHERE space_key = %(space)s AND {NEW})"
# Every event of the pairs that have a new one: what a user makes of an item is a sum over all of them.
TOUCHED = f"""
WITH pairs AS MATERIALIZED (SELECT DISTINCT user_key, item_key FROM events WHERE space_key = %(space)s AND {NEW}),
each AS MATERIALIZED (SELECT DISTINCT user_key FROM pairs)
SELECT user_key, item_key, kind, value, (extract(epoch FROM occurred_at) * 1000000)::bigint, coalesce({NEW}, false)
FROM (SELECT e.* FROM each CROSS JOIN LATERAL (SELECT * FROM events WHERE user_key = each.user_key OFFSET 0) e) of_them
JOIN pairs USING (user_key, item_key)
"""
# Nobody counts the newest numbers: a planner that expects many would read all events, every second.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
AT_A_TIME = 20_000  # rows
ROW = np.dtype([("user", "i8"), ("item", "i8"), ("kind", "i4"), ("value", "f4"), ("at", "i8"), ("new", "?")])


@dataclass(frozen=True, eq=False)
class Touched:
    """Every event of each user and item that came together since a snapshot; rows of the columns are keys."""

    events: EventColumns
    is_new: npt.NDArray[np.bool_]  # (n,), of which these came since


def read_all(conn: sa.Connection, space_key: int) -> EventColumns:
    """Every event of a space; its user and item rows are keys, and it has no ids."""
    kinds = conn.exec_driver_sql("SELECT DISTINCT kind FROM events WHERE space_key = %s", (space_key,)).scalars()
    names = sorted(kinds)
    query = sql.SQL(
        """SELECT user_key, item_key, array_position({}::text[], kind)::int4, value, occurred_at FROM events
           WHERE space_key = {}"""
    ).format(sql.Literal(names), sql.Literal(space_key))
    fields = [("user", ">i8"), ("item", ">i8"), ("kind", ">i4"), ("value", ">f4"), ("at", ">i8")]
    rows = bulk_copy.read_fixed(conn, query.as_string(bulk_copy.raw(conn)), fields)
    return EventColumns(
        (),
        (),
        tuple(names),
        rows["user"].astype(np.int64),
        rows["item"].astype(np.int64),
        rows["kind"].astype(np.int32) - 1,
        rows["value"].astype(np.float32),
        rows["at"].astype(np.int64) + bulk_copy.EPOCH_US,
    )


def read_since(conn: sa.Connection, space_key: int, since: Snapshot) -> tuple[Touched | None, Snapshot]:
    """What came since a snapshot, and the snapshot to go on from; call it in a REPEATABLE READ transaction.

    None where nothing came, and where `since` is of another epoch and so means nothing here.
    """
    now = item_feed.snapshot(conn)
    if now.epoch != since.epoch:
        return None, now
    conn.exec_driver_sql(BY_INDEX)
    parameters = {"space": space_key, "xmin": str(since.xmin), "since": str(since)}
    if not conn.exec_driver_sql(ANY_NEW, parameters).scalar_one():
        return None, now
    found = conn.exec_driver_sql(TOUCHED, parameters, execution_options={"stream_results": True})
    return _columns(found.partitions(AT_A_TIME)), now


def _columns(parts: Iterable[Iterable[sa.Row]]) -> Touched:
    codes: dict[str, int] = {}

    def coded() -> Iterator[npt.NDArray[np.void]]:
        for part in parts:
            rows = [(row[0], row[1], codes.setdefault(row[2], len(codes)), *row[3:]) for row in part]
            yield np.array(rows, dtype=ROW)

    made = np.concatenate([np.zeros(0, dtype=ROW), *coded()])
    columns = [np.ascontiguousarray(made[name]) for name in ROW.names or ()]
    user, item, kind, value, occurred, is_new = columns
    return Touched(EventColumns((), (), tuple(codes), user, item, kind, value, occurred), is_new)


def item_ids(conn: sa.Connection, item_keys: Sequence[int]) -> dict[int, str]:
    """The id of each key that is still there."""
    query = "SELECT item_key, item_id FROM items WHERE item_key = ANY(%s)"
    return {key: id_ for key, id_ in conn.exec_driver_sql(query, (list(item_keys),))}


def forget_foreign(conn: sa.Connection, space_key: int) -> int:
    """Events restored from another database bear numbers of its transactions, which this one has yet to give; how many.

    Without a number they are what they are here: older than any snapshot to come.
    """
    update = """UPDATE events SET xid = NULL
                WHERE space_key = %s AND xid >= pg_snapshot_xmax(pg_current_snapshot())"""
    return conn.exec_driver_sql(update, (space_key,)).rowcount
