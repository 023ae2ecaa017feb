"""Served shelves: the requests of the last days and the items that answered them, in one partition for each day.

Dry runs repeat the requests; what a user was shown is read for `impressed` and `rotation`. User ids are text, because a
shelf can be served to a visitor of whom nothing else is stored. A stored request has no user and no session, which have
columns of their own, so that a merge need not rewrite it.

Writes hold a shared lock of the space, erasures and merges an exclusive one. Code that writes asks afterwards, in the
same transaction, which of the users were erased, and deletes those: no shelf of an erased user can be left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import sqlalchemy as sa

from engine.store.database.bulk_copy import driver_connection
from engine.values.events import History

COLUMNS = "space_key, served_at, recommendation_id, user_id, session_id, placement, request, item_ids"
TIME = "(extract(epoch FROM served_at) * 1000000)::bigint"
LOCK = "SELECT pg_advisory_xact_lock{}(hashtextextended('served_shelves', %s))"
PREFIX = "served_shelves_"  # of a partition, followed by its day as YYYYMMDD
PARTITIONS = """SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = 'served_shelves'::regclass ORDER BY c.relname"""
MERGED = """SELECT m.user_id, u.user_id FROM merged_users m JOIN users u USING (user_key)
    WHERE u.space_key = %s AND m.user_id = ANY(%s::text[])
    AND NOT EXISTS (SELECT FROM users WHERE space_key = %s AND user_id = m.user_id)"""
NUL = r"\u0000"  # which JSON can have and PostgreSQL cannot store
MAX_SHELVES = 1000  # newest, of a user, from which impressions are read
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ServedShelf:
    served_us: int  # microseconds since 1970 UTC
    recommendation_id: str
    user_id: str | None
    session_id: str | None
    placement: str | None
    request: str  # JSON text, as asked, without the user, the session and vectors
    item_ids: Sequence[str]


def make_partitions(conn: sa.Connection, day: date) -> None:
    """Make the partitions of a day (UTC) and of the next one, where they are missing.

    In a transaction of its own: it waits until no transaction uses the table.
    """
    conn.exec_driver_sql(LOCK.format(""), (0,))  # of no space: two servers would make the same partition
    present = set(conn.exec_driver_sql(PARTITIONS).scalars())
    for start in (day, day + timedelta(days=1)):
        if (name := f"{PREFIX}{start:%Y%m%d}") not in present:
            bounds = f"FROM ('{start} 00:00+00') TO ('{start + timedelta(days=1)} 00:00+00')"
            conn.exec_driver_sql(f"CREATE TABLE {name} PARTITION OF served_shelves FOR VALUES {bounds}")


def drop_partitions(conn: sa.Connection, before: date) -> list[str]:
    """Drop the partitions of the days before this one; return their names."""
    conn.exec_driver_sql(LOCK.format(""), (0,))
    present = conn.exec_driver_sql(PARTITIONS).scalars()
    old = [name for name in present if name.startswith(PREFIX) and name < f"{PREFIX}{before:%Y%m%d}"]
    for name in old:
        conn.exec_driver_sql(f"DROP TABLE {name}")
    return old


def write(conn: sa.Connection, space_key: int, shelves: Iterable[ServedShelf]) -> int:
    """Write shelves by COPY and return their number; none for a space that was deleted.

    A user that was merged meanwhile is the user into whom they were merged. Shelves whose request has a NUL character
    are left out. The partitions must exist.
    """
    conn.exec_driver_sql(LOCK.format("_shared"), (space_key,))
    space = conn.exec_driver_sql("SELECT FROM spaces WHERE space_key = %s FOR KEY SHARE", (space_key,)).first()
    if space is None:
        return 0
    kept = [shelf for shelf in shelves if NUL not in shelf.request]
    user_ids = sorted({shelf.user_id for shelf in kept if shelf.user_id is not None})
    merged = dict(tuple(row) for row in conn.exec_driver_sql(MERGED, (space_key, user_ids, space_key)))
    with driver_connection(conn).cursor() as cursor, cursor.copy(f"COPY served_shelves ({COLUMNS}) FROM STDIN") as copy:
        for each in kept:
            at = EPOCH + timedelta(microseconds=each.served_us)
            user_id = None if each.user_id is None else merged.get(each.user_id, each.user_id)
            ids = (each.recommendation_id, user_id, each.session_id, each.placement)
            copy.write_row((space_key, at, *ids, each.request, list(each.item_ids)))
    return len(kept)


def newest(
    conn: sa.Connection, space_key: int, n: int, placement: str | None = None, *, without_placement: bool = False
) -> list[ServedShelf]:
    """The newest `n` shelves of a space, of one placement, or without a placement, newest first."""
    query = f"""SELECT {TIME}, recommendation_id, user_id, session_id, placement, request::text, item_ids
        FROM served_shelves WHERE space_key = %s AND (%s::text IS NULL OR placement = %s)
        AND (NOT %s OR placement IS NULL) ORDER BY served_at DESC, recommendation_id LIMIT %s"""
    found = conn.exec_driver_sql(query, (space_key, placement, placement, without_placement, n))
    return [ServedShelf(*row) for row in found]


def shown_to(
    conn: sa.Connection, space_key: int, user_id: str, since_us: int, session_id: str | None = None
) -> History:
    """The items that a user was shown since a time, in one session or in all, newest first, as impressions."""
    query = f"""SELECT {TIME}, item_ids FROM served_shelves
        WHERE space_key = %s AND user_id = %s AND served_at >= %s AND (%s::text IS NULL OR session_id = %s)
        ORDER BY served_at DESC LIMIT %s"""
    since = EPOCH + timedelta(microseconds=since_us)
    rows = conn.exec_driver_sql(query, (space_key, user_id, since, session_id, session_id, MAX_SHELVES)).all()
    return impressions([(at, ids) for at, ids in rows])


def impressions(shelves: Sequence[tuple[int, Sequence[str]]]) -> History:
    """The items of shelves, each with the time in microseconds at which it was served, as a history of impressions."""
    item_ids = tuple(id_ for _, ids in shelves for id_ in ids)
    times = np.repeat(
        np.array([at for at, _ in shelves], np.int64), np.array([len(ids) for _, ids in shelves], np.int64)
    )
    return History(item_ids, ("impression",) * len(item_ids), np.ones(len(item_ids), np.float32), times)


def is_known(conn: sa.Connection, space_key: int, user_id: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM served_shelves WHERE space_key = %s AND user_id = %s)"
    return bool(conn.exec_driver_sql(query, (space_key, user_id)).scalar_one())


def of_user(conn: sa.Connection, space_key: int, user_id: str) -> list[dict[str, object]]:
    """Every shelf that is stored of a user, oldest first, as plain values."""
    query = """SELECT served_at, recommendation_id, session_id, placement, request, item_ids FROM served_shelves
        WHERE space_key = %s AND user_id = %s ORDER BY served_at, recommendation_id"""
    return [dict(row._mapping) for row in conn.exec_driver_sql(query, (space_key, user_id))]


def delete(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> int:
    """Delete the shelves of users; shelves of them that wait to be written are written after this transaction."""
    conn.exec_driver_sql(LOCK.format(""), (space_key,))
    return _delete(conn, space_key, user_ids)


def delete_erased(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> int:
    """Delete the shelves of erased users in the transaction that wrote them, which holds the shared lock."""
    return _delete(conn, space_key, user_ids) if user_ids else 0


def _delete(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> int:
    query = "DELETE FROM served_shelves WHERE space_key = %s AND user_id = ANY(%s::text[])"
    return conn.exec_driver_sql(query, (space_key, list(user_ids))).rowcount


def move(conn: sa.Connection, space_key: int, source: str, target: str) -> int:
    """Give the shelves of a visitor to a user; return their number."""
    conn.exec_driver_sql(LOCK.format(""), (space_key,))
    query = "UPDATE served_shelves SET user_id = %s WHERE space_key = %s AND user_id = %s"
    return conn.exec_driver_sql(query, (target, space_key, source)).rowcount
