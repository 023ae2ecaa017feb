"""Erasures: who was erased, as keyed hashes of their ids, so that no file and no client brings them back unseen.

The id itself is not kept. Its hash is HMAC-SHA256 with a secret of the space, made with the first erasure; PostgreSQL
has sha256 alone, so the secret is kept as the two pads that HMAC makes of it. No id is hashed where nobody was erased.

Whoever makes users calls `sweep` afterwards, in the same transaction: an erasure that ended while a user was being made
is seen by then, and one that has not ended waits for the row.
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
# The hash is of the id alone, as the pads are read once: so the planner joins by it, and makes it once for each id.
IS_ERASED = f"{HASH} IN (SELECT hash FROM erased_users WHERE space_key = %(space)s)"
AMONG = f"SELECT id FROM unnest(%(ids)s::text[]) AS t (id) WHERE {ANY} AND {IS_ERASED.format('id')}"
SWEEP = f"""DELETE FROM users WHERE space_key = %(space)s AND {ANY} AND user_id {{}}
    AND {IS_ERASED.format("user_id")} RETURNING user_id"""
BAR = f"""INSERT INTO erased_users (space_key, hash)
    SELECT %(space)s, {HASH.format("id")} FROM unnest(%(ids)s::text[]) AS t (id) ON CONFLICT DO NOTHING"""


def bar(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> None:
    """Keep these ids out from now on."""
    insert = "INSERT INTO erasure_secrets (space_key, pads) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    conn.exec_driver_sql(insert, (space_key, pads(secrets.token_bytes(BLOCK_BYTES // 2))))
    conn.exec_driver_sql(BAR, {"space": space_key, "ids": list(user_ids)})


def pads(secret: bytes) -> bytes:
    """What HMAC-SHA256 puts before the inner and the outer hash."""
    block = secret.ljust(BLOCK_BYTES, b"\0")
    return bytes(each ^ 0x36 for each in block) + bytes(each ^ 0x5C for each in block)


def among(conn: sa.Connection, space_key: int, user_ids: Collection[str]) -> set[str]:
    """Those of `user_ids` that were erased."""
    if not conn.exec_driver_sql(f"SELECT {ANY}", {"space": space_key}).scalar_one():
        return set()
    return set(conn.exec_driver_sql(AMONG, {"space": space_key, "ids": list(user_ids)}).scalars())


def sweep(conn: sa.Connection, space_key: int, user_ids: Sequence[str]) -> set[str]:
    """Take out those of `user_ids`, made in this transaction, that were erased; which those are."""
    statement = SWEEP.format("= ANY(%(ids)s::text[])")
    return set(conn.exec_driver_sql(statement, {"space": space_key, "ids": list(user_ids)}).scalars())


def sweep_staged(conn: sa.Connection, space_key: int) -> set[str]:
    """`sweep` of the users of an import."""
    statement = SWEEP.format("IN (SELECT user_id FROM staged_users)")
    return set(conn.exec_driver_sql(statement, {"space": space_key}).scalars())


def erased_at(conn: sa.Connection, space_key: int, user_id: str) -> datetime | None:
    """When a user was erased; None for one who was not, or was allowed again."""
    query = f"""SELECT erased_at FROM erased_users
                WHERE space_key = %(space)s AND hash = {HASH.format("%(id)s::text")}"""
    found: datetime | None = conn.exec_driver_sql(query, {"space": space_key, "id": user_id}).scalar()
    return found


def allow(conn: sa.Connection, space_key: int, user_id: str) -> None:
    """Let an erased id in again; NotFound for one that is not kept out. What was erased does not come back."""
    delete = f"DELETE FROM erased_users WHERE space_key = %(space)s AND hash = {HASH.format('%(id)s::text')}"
    if conn.exec_driver_sql(delete, {"space": space_key, "id": user_id}).rowcount == 0:
        raise NotFound(f"no erasure of {user_id!r} is on record")


def count(conn: sa.Connection, space_key: int) -> int:
    """How many ids are kept out."""
    query = "SELECT count(*) FROM erased_users WHERE space_key = %s"
    return int(conn.exec_driver_sql(query, (space_key,)).scalar_one())
