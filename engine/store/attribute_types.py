"""Attribute types of a space: stored per attribute, apart for items and users; what is known stays until it is set."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from engine.attribute_types import (
    MAX_NAME_BYTES,
    MAX_TYPES,
    NOTHING,
    AttributeType,
    Subject,
    majority,
)

ADD = """
INSERT INTO attribute_types (space_key, subject, types) VALUES (%s, %s, %s)
ON CONFLICT (space_key, subject) DO UPDATE SET types = {} RETURNING types
"""
# One vote of each value, as `engine.attribute_types.vote` has it.
VOTES = """
SELECT name, CASE jsonb_typeof(value) WHEN 'string' THEN 'text' WHEN 'array' THEN 'list' WHEN 'object' THEN 'any'
    ELSE jsonb_typeof(value) END AS kind, count(*) AS n
FROM {table}, jsonb_each(attributes) AS each (name, value)
WHERE space_key = %s AND name = ANY(%s::text[]) AND jsonb_typeof(value) <> 'null'
    AND (jsonb_typeof(value) <> 'string' OR lower(btrim(value #>> '{{}}', E' \\t\\n\\r')) <> ALL(%s::text[]))
GROUP BY 1, 2
"""


def read(conn: sa.Connection, space_key: int, subject: Subject = "item") -> dict[str, AttributeType]:
    """Every type that is known, by attribute."""
    query = "SELECT types FROM attribute_types WHERE space_key = %s AND subject = %s"
    found: dict[str, AttributeType] | None = conn.exec_driver_sql(query, (space_key, subject)).scalar()
    return found or {}


def add(
    conn: sa.Connection, space_key: int, types: Mapping[str, AttributeType], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """Store types of attributes that have none yet; every type that is known now."""
    return _write(conn, space_key, subject, types, "excluded.types || attribute_types.types")


def set_types(
    conn: sa.Connection, space_key: int, types: Mapping[str, AttributeType], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """Store types in the place of what was known; stored values stay as they are."""
    return _write(conn, space_key, subject, types, "attribute_types.types || excluded.types")


def of_catalogue(
    conn: sa.Connection, space_key: int, names: Collection[str], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """The types of attributes by what most of their stored values are; those without a value are left out."""
    query = VOTES.format(table="items" if subject == "item" else "users")
    votes: dict[str, dict[AttributeType, int]] = {}
    for name, kind, n in conn.exec_driver_sql(query, (space_key, list(names), ["", *NOTHING])):
        votes.setdefault(name, {})[kind] = n
    return {name: kind for name, found in votes.items() if (kind := majority(found)) is not None}


def _write(
    conn: sa.Connection, space_key: int, subject: Subject, types: Mapping[str, AttributeType], joined: str
) -> dict[str, AttributeType]:
    short = {name: kind for name, kind in types.items() if len(name.encode()) <= MAX_NAME_BYTES}
    known = read(conn, space_key, subject)
    room = MAX_TYPES - len(known.keys() | short.keys())
    if not short or room < 0:
        return known
    row = (space_key, subject, json.dumps(short))
    written: dict[str, AttributeType] = conn.exec_driver_sql(ADD.format(joined), row).scalar_one()
    return written
