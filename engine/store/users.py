"""Users: one row per user of a space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from engine.errors import Conflict, NotFound
from engine.store import erasures
from engine.store.database import bulk_copy
from engine.store.shelves import served_shelves

UPSERT = """
INSERT INTO users (space_key, user_id, attributes)
SELECT %s, user_id, attributes FROM unnest(%s::text[], %s::jsonb[]) AS new (user_id, attributes)
ORDER BY user_id COLLATE "C"
ON CONFLICT (space_key, user_id) DO UPDATE SET attributes = excluded.attributes
RETURNING user_id, xmax = 0 AS created
"""
EVENTS = """
SELECT event_id, item_id, kind, value, occurred_at, order_id, session_id, recorded_at
FROM events JOIN items USING (item_key) WHERE user_key = %s ORDER BY occurred_at, event_id
"""
VECTORS = """
SELECT version AS model, vector::real[] AS vector FROM user_vectors JOIN models USING (model_key)
WHERE user_key = %s ORDER BY version
"""


ADD = "INSERT INTO users (space_key, user_id) VALUES (%s, %s) ON CONFLICT DO NOTHING"
LOCK = """SELECT user_id, user_key FROM users WHERE space_key = %s AND user_id = ANY(%s::text[])
    ORDER BY user_id COLLATE "C" FOR UPDATE"""


@dataclass(frozen=True)
class User:
    user_id: str
    attributes: Mapping[str, object] = field(default_factory=dict)  # JSON values that the storefront stores


@dataclass(frozen=True)
class ErasedUser:
    """`rows` counts the deleted rows by table; `user_ids`, now refused, are the user and the ids merged into it."""

    rows: Mapping[str, int]
    user_ids: tuple[str, ...]


@dataclass(frozen=True)
class BulkMerged:
    written: int
    erased: set[str]  # not written: erased before or during the import


def upsert(conn: sa.Connection, space_key: int, users: Sequence[User]) -> list[str]:
    """Write users; return "created" or "updated" for each. Of several with one id the last wins.

    Raises Conflict, and writes nothing, when one of them was erased.
    """
    last = {user.user_id: json.dumps(dict(user.attributes)) for user in users}
    rows = conn.exec_driver_sql(UPSERT, (space_key, list(last), list(last.values())))
    created = {row.user_id: row.created for row in rows}
    _refuse_erased(erasures.delete_erased(conn, space_key, list(last)))
    return ["created" if created[user.user_id] else "updated" for user in users]


def get(conn: sa.Connection, space_key: int, user_id: str) -> User:
    query = "SELECT user_id, attributes FROM users WHERE space_key = %s AND user_id = %s"
    row = conn.exec_driver_sql(query, (space_key, user_id)).first()
    if row is None:
        raise NotFound(f"there is no user {user_id!r}")
    return User(row.user_id, row.attributes)


def delete(conn: sa.Connection, space_key: int, user_id: str, is_visitor: bool = False) -> ErasedUser:
    """Erase a user and the ids merged into it, with events, vectors and shelves; the ids are refused from now on.

    A visitor of whom only shelves are stored, or `is_visitor` says that some wait to be stored, is a user too.
    """
    erased_ids, n_added = {user_id}, 0
    while True:  # a merge that commits before the lock adds ids
        keys = {row.user_id: row.user_key for row in conn.exec_driver_sql(LOCK, (space_key, sorted(erased_ids)))}
        if user_id not in keys:
            if not (is_visitor or served_shelves.is_known(conn, space_key, user_id)):
                raise NotFound(f"there is no user {user_id!r}")
            n_added += conn.exec_driver_sql(
                ADD, (space_key, user_id)
            ).rowcount  # events that come now wait for its lock
            continue
        with_merged = erased_ids | set(_merged_ids(conn, list(keys.values())))
        if with_merged == erased_ids:
            break
        erased_ids = with_merged
    erasures.record(conn, space_key, erased_ids)
    user_keys = list(keys.values())
    rows = {
        table: conn.exec_driver_sql(f"DELETE FROM {table} WHERE user_key = ANY(%s::bigint[])", (user_keys,)).rowcount
        for table in ("events", "user_vectors", "users")
    }
    rows["users"] -= n_added
    rows["served_shelves"] = served_shelves.delete(conn, space_key, erased_ids)
    return ErasedUser(rows, (user_id, *sorted(erased_ids - {user_id})))


def merge(conn: sa.Connection, space_key: int, source: str, target: str) -> int | None:
    """Move the events, attributes and served shelves of `source` to `target`, delete `source`, and return the number
    of events moved.

    Creates `target` if it does not exist. Of an attribute that both have, the value of `target` stays. Returns None
    when there is no `source`, as after an earlier merge. Raises Conflict when `target` was erased.
    """
    if not existing(conn, space_key, [source]):
        if not erasures.erased_among(conn, space_key, [target]):
            served_shelves.move(conn, space_key, source, target)
        return None
    conn.exec_driver_sql(ADD, (space_key, target))
    _refuse_erased(erasures.delete_erased(conn, space_key, [target]))
    keys = {row.user_id: row.user_key for row in conn.exec_driver_sql(LOCK, (space_key, [source, target]))}
    if source not in keys:  # another transaction merged it before the lock
        return None
    _refuse_erased({target} - keys.keys())  # another transaction erased it before the lock
    old, new = keys[source], keys[target]
    n_moved = conn.exec_driver_sql("UPDATE events SET user_key = %s WHERE user_key = %s", (new, old)).rowcount
    merge_attributes = """UPDATE users SET attributes = old.attributes || users.attributes
                          FROM users old WHERE users.user_key = %s AND old.user_key = %s"""
    conn.exec_driver_sql(merge_attributes, (new, old))
    record = """INSERT INTO merged_users (user_key, user_id)
                SELECT %s, user_id FROM merged_users WHERE user_key = %s UNION SELECT %s, %s ON CONFLICT DO NOTHING"""
    conn.exec_driver_sql(record, (new, old, new, source))
    for table in ("user_vectors", "users"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE user_key = %s", (old,))
    served_shelves.move(conn, space_key, source, target)
    return n_moved


def _merged_ids(conn: sa.Connection, keys: Sequence[int]) -> list[str]:
    """The ids of the users that were merged into these users, sorted."""
    query = 'SELECT DISTINCT user_id COLLATE "C" AS id FROM merged_users WHERE user_key = ANY(%s::bigint[]) ORDER BY id'
    return list(conn.exec_driver_sql(query, (list(keys),)).scalars())


def _refuse_erased(erased: set[str]) -> None:
    if erased:
        raise Conflict(f"{min(erased)!r} is refused: {erasures.WHY}")


def export(conn: sa.Connection, space_key: int, user_id: str) -> dict[str, Any]:
    """All stored data of a user as plain values, events oldest first; NotFound for an unknown user. Of a visitor, only
    shelves may be stored."""
    query = "SELECT user_key, user_id, attributes, created_at FROM users WHERE space_key = %s AND user_id = %s"
    user = conn.exec_driver_sql(query, (space_key, user_id)).first()
    shelves = served_shelves.of_user(conn, space_key, user_id)
    if user is None and shelves:
        nothing: dict[str, Any] = {"attributes": {}, "created_at": None, "merged_from": [], "events": [], "vectors": []}
        return {"user_id": user_id, **nothing, "shelves": shelves}
    if user is None:
        at = erasures.erased_at(conn, space_key, user_id)
        raise NotFound(f"there is no user {user_id!r}" + ("" if at is None else f"; erased at {at:%Y-%m-%d %H:%M} UTC"))
    events = conn.exec_driver_sql(EVENTS, (user.user_key,))
    vectors = conn.exec_driver_sql(VECTORS, (user.user_key,))
    return {
        "user_id": user.user_id,
        "attributes": user.attributes,
        "created_at": user.created_at,
        "merged_from": _merged_ids(conn, [user.user_key]),
        "events": [dict(row._mapping) for row in events],
        "vectors": [dict(row._mapping) for row in vectors],
        "shelves": shelves,
    }


def count(conn: sa.Connection, space_key: int) -> int:
    return int(conn.exec_driver_sql("SELECT count(*) FROM users WHERE space_key = %s", (space_key,)).scalar_one())


def ids(conn: sa.Connection, space_key: int) -> list[str]:
    """Every user id of a space, sorted."""
    query = 'SELECT user_id FROM users WHERE space_key = %s ORDER BY user_id COLLATE "C"'
    return list(conn.exec_driver_sql(query, (space_key,)).scalars())


def existing(conn: sa.Connection, space_key: int, user_ids: Sequence[str]) -> set[str]:
    """The ids among `user_ids` that exist."""
    query = "SELECT user_id FROM users WHERE space_key = %s AND user_id = ANY(%s::text[])"
    return set(conn.exec_driver_sql(query, (space_key, list(user_ids))).scalars())


def bulk_merge(conn: sa.Connection, space_key: int, table: pa.Table) -> BulkMerged:
    """Add distinct users from columns user_id, attributes (JSON or null), except erased ones.

    The attributes of a known user are merged with the stored ones; the new value of an attribute wins.
    """
    bulk_copy.stage_table(
        conn, "staged_users", "user_id text, attributes jsonb", table.select(["user_id", "attributes"])
    )
    merge = """INSERT INTO users (space_key, user_id, attributes)
               SELECT %s, user_id, coalesce(attributes, '{}') FROM staged_users
               ORDER BY user_id COLLATE "C"
               ON CONFLICT (space_key, user_id) DO UPDATE SET attributes = users.attributes || excluded.attributes
               WHERE users.attributes IS DISTINCT FROM users.attributes || excluded.attributes"""
    written = conn.exec_driver_sql(merge, (space_key,)).rowcount
    erased = erasures.delete_erased_staged(conn, space_key)
    return BulkMerged(written - len(erased), erased)
