"""Spaces: the name, key and event weighting of a tenant."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from engine.errors import InputError, NotFound
from engine.values.events import Weighting

COLUMNS = "space_key, name, weighting, cursor_secret, presets_version"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Space:
    key: int
    name: str
    weighting: Weighting
    cursor_secret: bytes = field(default=b"", repr=False)  # signs the cursors of this space
    presets_version: int = 0  # incremented by each change of a placement, page, rule or segment


def check_name(name: str) -> str:
    """The name itself; InputError when it is not a valid space name."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"expected a space name of 1 to 63 characters a-z, 0-9, _ and -, starting with a letter or digit; got "
            f"{name!r}",
            loc=("space",),
        )
    return name


def ensure(conn: sa.Connection, name: str) -> Space:
    """The space of this name, created if it does not exist."""
    check_name(name)
    insert = "INSERT INTO spaces (name, weighting) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING"
    conn.exec_driver_sql(insert, (name, _dump(Weighting())))
    return get(conn, name)


def get(conn: sa.Connection, name: str) -> Space:
    query = f"SELECT {COLUMNS} FROM spaces WHERE name = %s"
    row = conn.exec_driver_sql(query, (name,)).first() if NAME.fullmatch(name) else None  # other text may hold NUL
    if row is None:
        raise NotFound(f"there is no space {name!r}")
    return _space(row)


def get_locked(conn: sa.Connection, name: str) -> Space:
    """`get`, with a lock that makes a deletion of the space wait for the end of this transaction."""
    space = get(conn, name)
    query = "SELECT FROM spaces WHERE space_key = %s FOR KEY SHARE"
    if conn.exec_driver_sql(query, (space.key,)).first() is None:
        raise NotFound(f"there is no space {name!r}; it was deleted a moment ago")
    return space


def find_by_key(conn: sa.Connection, key: int) -> Space | None:
    """The space of this key; None when it was deleted."""
    row = conn.exec_driver_sql(f"SELECT {COLUMNS} FROM spaces WHERE space_key = %s", (key,)).first()
    return None if row is None else _space(row)


def list_all(conn: sa.Connection) -> list[Space]:
    return [_space(row) for row in conn.exec_driver_sql(f"SELECT {COLUMNS} FROM spaces ORDER BY name")]


def set_weighting(conn: sa.Connection, space: Space, weighting: Weighting) -> Space:
    conn.exec_driver_sql("UPDATE spaces SET weighting = %s WHERE space_key = %s", (_dump(weighting), space.key))
    return replace(space, weighting=weighting)


def lock(conn: sa.Connection, key: int) -> None:
    """Lock the records of a space, its model versions and its active generation until the transaction ends.

    Take it before any row of the space, which prevents deadlocks. It does not block writes of events.
    """
    conn.exec_driver_sql("SELECT FROM spaces WHERE space_key = %s FOR NO KEY UPDATE", (key,))


def delete(conn: sa.Connection, name: str) -> None:
    """Delete a space with everything in it, and revoke its API keys."""
    space = get(conn, name)
    lock(conn, space.key)
    model_keys = conn.exec_driver_sql("SELECT model_key FROM models WHERE space_key = %s", (space.key,)).scalars().all()
    for key in model_keys:
        conn.exec_driver_sql(f"DROP TABLE IF EXISTS item_vectors_{key}, user_vectors_{key}")
    for table in ("served_shelves", "events", "users", "items", "models", "generations", "spaces"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE space_key = %s", (space.key,))
    # last: by now an API key that another transaction created during the deletion is visible
    revoke = "UPDATE api_keys SET revoked_at = now() WHERE space_key = %s AND revoked_at IS NULL"
    conn.exec_driver_sql(revoke, (space.key,))


def _space(row: sa.Row[Any]) -> Space:
    return Space(row.space_key, row.name, Weighting(**row.weighting), bytes(row.cursor_secret), row.presets_version)


def _dump(weighting: Weighting) -> str:
    return json.dumps(asdict(weighting) | {"kinds": dict(weighting.kinds)})
