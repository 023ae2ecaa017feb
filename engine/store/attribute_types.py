"""Attribute types of a space: one per attribute, separate for items and users; stored types change only by request."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import get_args

import sqlalchemy as sa

from engine.catalogue.attribute_types import (
    MAX_NAME_BYTES,
    MAX_TYPES,
    NULL_WORDS,
    TIME,
    AttributeType,
    Subject,
    majority,
)
from engine.errors import InputError, StoreBusy, short_repr

TIME_PATTERN = f"^(?:{TIME.pattern})$"
WRITE = """
INSERT INTO attribute_types (space_key, subject, types) VALUES (%s, %s, %s)
ON CONFLICT (space_key, subject) DO UPDATE SET types = {} RETURNING types
"""
# Each stored value votes for one type; the SQL form of `engine.catalogue.attribute_types.vote`.
VOTES = """
SELECT name, CASE jsonb_typeof(value) WHEN 'string' THEN CASE WHEN value #>> '{{}}' ~ %s THEN 'time' ELSE 'text' END
    WHEN 'array' THEN 'list' WHEN 'object' THEN 'any' ELSE jsonb_typeof(value) END AS kind, count(*) AS n
FROM {table}, jsonb_each(attributes) AS each (name, value)
WHERE space_key = %s AND name = ANY(%s::text[]) AND jsonb_typeof(value) <> 'null'
    AND (jsonb_typeof(value) <> 'string' OR lower(btrim(value #>> '{{}}', E' \\t\\n\\r')) <> ALL(%s::text[]))
GROUP BY 1, 2
"""


def read(conn: sa.Connection, space_key: int, subject: Subject = "item") -> dict[str, AttributeType]:
    """All stored types, by attribute."""
    query = "SELECT types FROM attribute_types WHERE space_key = %s AND subject = %s"
    types: dict[str, AttributeType] | None = conn.exec_driver_sql(query, (space_key, subject)).scalar()
    return types or {}


def by_subject(conn: sa.Connection, space_key: int) -> dict[str, dict[str, AttributeType]]:
    """The types of a space for display: {"items": {...}, "users": {...}}, sorted by name."""
    return {f"{subject}s": dict(sorted(read(conn, space_key, subject).items())) for subject in get_args(Subject)}


def add(
    conn: sa.Connection, space_key: int, types: Mapping[str, AttributeType], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """Store types for attributes that have none, up to MAX_TYPES; return all stored types."""
    known = read(conn, space_key, subject)
    new = {name: kind for name, kind in types.items() if name not in known and len(name.encode()) <= MAX_NAME_BYTES}
    if not new or len(known) + len(new) > MAX_TYPES:
        return known
    return _write(conn, space_key, subject, new, "excluded.types || attribute_types.types")


def add_consistent(
    conn: sa.Connection, space_key: int, types: Mapping[str, AttributeType], subject: Subject = "item"
) -> None:
    """Store the types that values were converted to; StoreBusy when another writer stored a different one."""
    known = add(conn, space_key, types, subject)
    if different := [name for name, kind in types.items() if known.get(name, kind) != kind]:
        raise StoreBusy(
            f"another request set the type of {different[0]} at the same time; nothing was written, send it again"
        )


def set_types(
    conn: sa.Connection, space_key: int, types: Mapping[str, AttributeType], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """Replace the stored types of these attributes; stored values do not change.

    InputError for a name over 256 bytes, and for more than 10,000 attributes with a type.
    """
    if long := [name for name in types if len(name.encode()) > MAX_NAME_BYTES]:
        raise InputError(
            f"expected a name of at most {MAX_NAME_BYTES} bytes for an attribute with a type, got {short_repr(long[0])}"
        )
    if len(read(conn, space_key, subject).keys() | types.keys()) > MAX_TYPES:
        raise InputError(f"expected types for at most {MAX_TYPES:,} attributes in a space, got more")
    return _write(conn, space_key, subject, types, "attribute_types.types || excluded.types")


def infer_from_catalogue(
    conn: sa.Connection, space_key: int, names: Collection[str], subject: Subject = "item"
) -> dict[str, AttributeType]:
    """The type of each attribute by majority of its stored values; an attribute without a majority is left out."""
    query = VOTES.format(table="items" if subject == "item" else "users")
    votes: dict[str, dict[AttributeType, int]] = {}
    for name, kind, n in conn.exec_driver_sql(query, (TIME_PATTERN, space_key, list(names), ["", *NULL_WORDS])):
        votes.setdefault(name, {})[kind] = n
    return {name: kind for name, counts in votes.items() if (kind := majority(counts, None)) is not None}


def _write(
    conn: sa.Connection, space_key: int, subject: Subject, types: Mapping[str, AttributeType], merged: str
) -> dict[str, AttributeType]:
    """`merged` is the SQL expression for the stored types when there are some already."""
    row = (space_key, subject, json.dumps(dict(types)))
    written: dict[str, AttributeType] = conn.exec_driver_sql(WRITE.format(merged), row).scalar_one()
    return written
