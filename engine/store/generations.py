"""Generations: the record of each index build with its manifest and model version, and which one is active."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from engine.errors import Conflict, NotFound
from engine.store import spaces

COLUMNS = "generation, model, manifest, active, activated_at, created_at"


@dataclass(frozen=True)
class GenerationRecord:
    generation: str
    model: int
    manifest: Mapping[str, Any]
    active: bool
    activated_at: datetime | None
    created_at: datetime


def add(conn: sa.Connection, space_key: int, generation: str, model: int, manifest: Mapping[str, Any]) -> None:
    """Record a generation as the newest, even when the clock was set back."""
    insert = """INSERT INTO generations (space_key, generation, model, manifest, created_at)
                SELECT %s, %s, %s, %s, greatest(now(), max(created_at) + interval '1 microsecond')
                FROM generations WHERE space_key = %s"""
    conn.exec_driver_sql(insert, (space_key, generation, model, json.dumps(dict(manifest)), space_key))


def get(conn: sa.Connection, space_key: int, generation: str) -> GenerationRecord:
    query = f"SELECT {COLUMNS} FROM generations WHERE space_key = %s AND generation = %s"
    # PostgreSQL rejects a text with NUL
    row = conn.exec_driver_sql(query, (space_key, generation)).first() if generation.isprintable() else None
    if row is None:
        raise NotFound(f"there is no generation {generation!r}")
    return GenerationRecord(*row)


def activate(conn: sa.Connection, space_key: int, generation: str, *, instead_of: str | None = None) -> None:
    """Make one generation the active one; servers swap to it at their next poll.

    Raises Conflict when the active one is not `instead_of`, NotFound when the generation was removed; nothing changes
    then.
    """
    spaces.lock(conn, space_key)
    current = active(conn, space_key)
    if instead_of is not None and current is not None and current.generation != instead_of:
        raise Conflict(
            f"expected {instead_of} to be active, got {current.generation}, which was published in the meantime; "
            f"{generation} is not served"
        )
    get(conn, space_key, generation)
    conn.exec_driver_sql("UPDATE generations SET active = false WHERE space_key = %s AND active", (space_key,))
    # later than every other activation, even when the clock was set back
    update = """UPDATE generations SET active = true, activated_at = greatest(clock_timestamp(),
                    (SELECT max(activated_at) FROM generations WHERE space_key = %s) + interval '1 microsecond')
                WHERE space_key = %s AND generation = %s"""
    if conn.exec_driver_sql(update, (space_key, space_key, generation)).rowcount != 1:
        raise NotFound(f"there is no generation {generation!r}")


def active(conn: sa.Connection, space_key: int) -> GenerationRecord | None:
    query = f"SELECT {COLUMNS} FROM generations WHERE space_key = %s AND active"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    return None if row is None else GenerationRecord(*row)


def active_with_xid(conn: sa.Connection, space_key: int) -> tuple[str, int] | None:
    """The active generation, and the lower 32 bits of the `seq` of its activation."""
    query = "SELECT generation, xmin::text::bigint FROM generations WHERE space_key = %s AND active"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    return None if row is None else (row[0], row[1])


def previous(conn: sa.Connection, space_key: int) -> GenerationRecord | None:
    """The generation that was active before the active one, by time of activation."""
    query = f"""SELECT {COLUMNS} FROM generations WHERE space_key = %s AND NOT active AND activated_at IS NOT NULL
                AND activated_at < (SELECT activated_at FROM generations WHERE space_key = %s AND active)
                ORDER BY activated_at DESC LIMIT 1"""
    row = conn.exec_driver_sql(query, (space_key, space_key)).first()
    return None if row is None else GenerationRecord(*row)


def list_all(conn: sa.Connection, space_key: int) -> list[GenerationRecord]:
    query = f"SELECT {COLUMNS} FROM generations WHERE space_key = %s ORDER BY created_at DESC"
    return [GenerationRecord(*row) for row in conn.exec_driver_sql(query, (space_key,))]


def list_names(conn: sa.Connection) -> set[tuple[str, str]]:
    """(space name, generation) of every generation of the database."""
    query = "SELECT name, generation FROM generations JOIN spaces USING (space_key)"
    return {(row[0], row[1]) for row in conn.exec_driver_sql(query)}


def remove(conn: sa.Connection, space_key: int, generation: str) -> bool:
    """Delete the record of a generation that is not active; return whether it existed. Blocks its activation."""
    spaces.lock(conn, space_key)
    delete = "DELETE FROM generations WHERE space_key = %s AND generation = %s AND NOT active"
    return conn.exec_driver_sql(delete, (space_key, generation)).rowcount == 1
