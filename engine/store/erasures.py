"""Erasures: the ids of erased users as keyed hashes, so that no import and no request creates an erased user again.

The id itself is not stored. Its hash is HMAC-SHA256 with a secret of the space, which the first erasure creates.
PostgreSQL has only sha256, so the secret is stored as the two pads that HMAC derives from it. In a space without
erasures no id is hashed.

Code that inserts users calls `delete_erased` afterwards, in the same transaction: by then an erasure that committed
during the insert is visible, and a later one waits for the lock of the row.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from engine.errors import NotFound

WHY = "the user was erased; an admin may allow the id again"
BLOCK_BYTES = 64  # of SHA-256
PADS = "(SELECT pads FROM erasure_secrets WHERE space_key = %(space)s)"
HASH = f"sha256(substr({PADS}, 65) || sha256(substr({PADS}, 1, 64) || convert_to({{}}, 'UTF8')))"
ANY = "EXISTS (SELECT FROM erased_users WHERE space_key = %(space)s)"
# The pads are a subquery that runs once, so the hash depends on the id alone: the planner can join by hash, and
# computes one hash for each id.
IS_ERASED = f"{HASH} IN (SELECT hash FROM erased_users WHERE space_key = %(space)s)"
ERASED_AMONG = f"SELECT id FROM unnest(%(ids)s::text[]) AS t (id) WHERE {ANY} AND {IS_ERASED.format('id')}"
DELETE_ERASED = f"""DELETE FROM users WHERE space_key = %(space)s AND {ANY} AND user_id {{}}
    AND {IS_ERASED.format("user_id")} RETURNING user_id"""
RECORD = f"""INSERT INTO erased_users (space_key, hash)
    SELECT %(space)s, {HASH.format("id")} FROM unnest(%(ids)s::text[]) AS t (id) ON CONFLICT DO NOTHING"""


def record(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> None:
    """Record the erasure of these ids: they are refused from now on."""
    insert = "INSERT INTO erasure_secrets (space_key, pads) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    conn.exec_driver_sql(insert, (space_key, hmac_pads(secrets.token_bytes(BLOCK_BYTES // 2))))
    conn.exec_driver_sql(RECORD, {"space": space_key, "ids": list(user_ids)})


def hmac_pads(secret: bytes) -> bytes:
    """The inner and the outer pad of HMAC-SHA256 (RFC 2104), 64 bytes each."""
    block = secret.ljust(BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x36 for byte in block) + bytes(byte ^ 0x5C for byte in block)


def erased_among(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> set[str]:
    """The ids among `user_ids` that were erased."""
    if not conn.exec_driver_sql(f"SELECT {ANY}", {"space": space_key}).scalar_one():
        return set()
    return set(conn.exec_driver_sql(ERASED_AMONG, {"space": space_key, "ids": list(user_ids)}).scalars())


def delete_erased(conn: sa.Connection, space_key: int, user_ids: Sequence[str]) -> set[str]:
    """Delete the users among `user_ids`, inserted in this transaction, that were erased; return their ids."""
    statement = DELETE_ERASED.format("= ANY(%(ids)s::text[])")
    return set(conn.exec_driver_sql(statement, {"space": space_key, "ids": list(user_ids)}).scalars())


def delete_erased_staged(conn: sa.Connection, space_key: int) -> set[str]:
    """`delete_erased` for the users in the table `staged_users` of an import."""
    statement = DELETE_ERASED.format("IN (SELECT user_id FROM staged_users)")
    return set(conn.exec_driver_sql(statement, {"space": space_key}).scalars())


def erased_at(conn: sa.Connection, space_key: int, user_id: str) -> datetime | None:
    """The time of a user's erasure; None when the user was not erased, or was allowed again."""
    query = f"""SELECT erased_at FROM erased_users
                WHERE space_key = %(space)s AND hash = {HASH.format("%(id)s::text")}"""
    at: datetime | None = conn.exec_driver_sql(query, {"space": space_key, "id": user_id}).scalar()
    return at


def allow(conn: sa.Connection, space_key: int, user_id: str) -> None:
    """Accept an erased id again; NotFound when there is no erasure of it. The erased data stays erased."""
    delete = f"DELETE FROM erased_users WHERE space_key = %(space)s AND hash = {HASH.format('%(id)s::text')}"
    if conn.exec_driver_sql(delete, {"space": space_key, "id": user_id}).rowcount == 0:
        raise NotFound(f"no erasure of {user_id!r} is on record")


def count(conn: sa.Connection, space_key: int) -> int:
    """The number of ids that are refused."""
    query = "SELECT count(*) FROM erased_users WHERE space_key = %s"
    return int(conn.exec_driver_sql(query, (space_key,)).scalar_one())
