"""Presets: the stored placements, pages, rules and segments of a space, with every version that they ever had.

A change adds a version; nothing is overwritten. Each change increments `presets_version` of the space, by which servers
notice it. Changes of one space happen one after the other, because each locks the row of the space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from engine.errors import NotFound

Kind = Literal["placement", "page", "rule", "segment"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = "kind, name, version, body, changed_at, changed_by"
CURRENT = f"""
SELECT DISTINCT ON (kind, name) {COLUMNS} FROM presets WHERE space_key = %s ORDER BY kind, name, version DESC
"""


@dataclass(frozen=True)
class StoredPreset:
    """One version. The body is None for a deletion."""

    kind: Kind
    name: str
    version: int
    body: Mapping[str, Any] | None
    changed_at: datetime
    changed_by: str  # the id of a key, or "local"


def put(
    conn: sa.Connection, space_key: int, kind: Kind, name: str, body: Mapping[str, Any] | None, changed_by: str
) -> int:
    """Add a version and return its number; a body of None deletes the preset."""
    lock = "UPDATE spaces SET presets_version = presets_version + 1 WHERE space_key = %s"
    if conn.exec_driver_sql(lock, (space_key,)).rowcount == 0:
        raise NotFound("the space was deleted a moment ago")
    insert = """INSERT INTO presets (space_key, kind, name, version, body, changed_by)
                SELECT %s, %s, %s, coalesce(max(version), 0) + 1, %s::jsonb, %s FROM presets
                WHERE space_key = %s AND kind = %s AND name = %s RETURNING version"""
    text = None if body is None else json.dumps(body)
    row = (space_key, kind, name, text, changed_by, space_key, kind, name)
    return int(conn.exec_driver_sql(insert, row).scalar_one())


def delete(conn: sa.Connection, space_key: int, kind: Kind, name: str, changed_by: str) -> int:
    """Add the version that deletes a preset; NotFound if there is none now."""
    get(conn, space_key, kind, name)
    return put(conn, space_key, kind, name, None, changed_by)


def get(conn: sa.Connection, space_key: int, kind: Kind, name: str, version: int | None = None) -> StoredPreset:
    """A version, or the current one; NotFound for a deleted or unknown preset, and for a version without a body."""
    found = [each for each in history(conn, space_key, kind, name) if version in (None, each.version)]
    if not found or found[0].body is None:
        of_version = "" if version is None else f" with a version {version}"
        raise NotFound(f"there is no {kind} {name!r}{of_version}")
    return found[0]


def history(conn: sa.Connection, space_key: int, kind: Kind, name: str) -> list[StoredPreset]:
    """Every version, newest first; empty for an unknown preset."""
    query = f"SELECT {COLUMNS} FROM presets WHERE space_key = %s AND kind = %s AND name = %s ORDER BY version DESC"
    return [_preset(row) for row in conn.exec_driver_sql(query, (space_key, kind, name))]


def list_current(conn: sa.Connection, space_key: int, kind: Kind | None = None) -> list[StoredPreset]:
    """The current presets of a space, or of one kind, without deleted ones, by kind and name."""
    found = [_preset(row) for row in conn.exec_driver_sql(CURRENT, (space_key,))]
    return [each for each in found if each.body is not None and kind in (None, each.kind)]


def rollback(conn: sa.Connection, space_key: int, kind: Kind, name: str, version: int, changed_by: str) -> int:
    """Add a version with the body of an earlier one; NotFound if that has none."""
    return put(conn, space_key, kind, name, get(conn, space_key, kind, name, version).body, changed_by)


def _preset(row: sa.Row) -> StoredPreset:
    return StoredPreset(*row)
