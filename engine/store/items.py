"""Items: one row per item of a space; a deleted item stays as a tombstone because events refer to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa
import sqlalchemy as sa

from engine.errors import NotFound
from engine.store.database import bulk_copy
from engine.values.items import Item, ItemVector
from engine.values.vectors import Matrix

# All writers lock rows in the order of COLLATE "C", so that two concurrent writers wait and do not deadlock.
UPSERT = """
INSERT INTO items (space_key, item_id, title, categories, attributes, available, vector, vector_model)
SELECT %s, item_id, title, categories, attributes, available, vector::vector, model
FROM unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[], %s::bool[], %s::text[], %s::int[])
    AS new (item_id, title, category_list, attributes, available, vector, model),
    LATERAL (SELECT coalesce(array_agg(value), '{}') AS categories
        FROM jsonb_array_elements_text(category_list::jsonb)) c
ORDER BY item_id COLLATE "C"
ON CONFLICT (space_key, item_id) DO UPDATE SET title = excluded.title, categories = excluded.categories,
    attributes = excluded.attributes, available = excluded.available, deleted = false, updated_at = now(),
    vector = CASE WHEN %s AND NOT items.deleted AND excluded.vector IS NULL THEN items.vector ELSE excluded.vector END,
    vector_model = CASE WHEN %s AND NOT items.deleted AND excluded.vector IS NULL THEN items.vector_model
        ELSE excluded.vector_model END,
    withdrawn = false
RETURNING item_id, xmax = 0 AS created
"""
# An import of events or items completes stored fields; it does not restore a deleted item.
MERGE = """
INSERT INTO items (space_key, item_id, title, categories, attributes)
SELECT %s, item_id, title, coalesce(string_to_array(categories, chr(31)), '{}'), coalesce(attributes, '{}')
FROM staged_items ORDER BY item_id COLLATE "C"
ON CONFLICT (space_key, item_id) DO UPDATE SET title = coalesce(excluded.title, items.title),
    categories = CASE WHEN excluded.categories = '{}' THEN items.categories ELSE excluded.categories END,
    attributes = items.attributes || excluded.attributes, updated_at = now()
WHERE (items.title, items.categories, items.attributes) IS DISTINCT FROM (coalesce(excluded.title, items.title),
    CASE WHEN excluded.categories = '{}' THEN items.categories ELSE excluded.categories END,
    items.attributes || excluded.attributes)
"""
SEPARATOR = "\x1f"  # of categories in staged_items; MERGE splits at it


def upsert(conn: sa.Connection, space_key: int, items: Sequence[Item], *, keep_vectors: bool = False) -> list[str]:
    """Write items; return "created" or "updated" for each. Of several with one id the last wins.

    With `keep_vectors` an item without a vector keeps its stored vector, for callers that do not handle vectors.
    """
    last = {item.item_id: item for item in items}
    parameters = (
        space_key,
        list(last),
        [item.title for item in last.values()],
        [json.dumps(item.categories) for item in last.values()],
        [json.dumps(dict(item.attributes)) for item in last.values()],
        [item.available for item in last.values()],
        [None if item.vector is None else json.dumps(item.vector.values) for item in last.values()],
        [None if item.vector is None else item.vector.model for item in last.values()],
        keep_vectors,
        keep_vectors,
    )
    rows = conn.exec_driver_sql(UPSERT, parameters)
    created = {row.item_id: row.created for row in rows}
    return ["created" if created[item.item_id] else "updated" for item in items]


def get(conn: sa.Connection, space_key: int, item_id: str) -> Item:
    query = """SELECT item_id, title, categories, attributes, available, vector::real[], vector_model FROM items
               WHERE space_key = %s AND item_id = %s AND NOT deleted"""
    row = conn.exec_driver_sql(query, (space_key, item_id)).first()
    if row is None:
        raise NotFound(f"there is no item {item_id!r}")
    vector = None if row.vector is None else ItemVector(row.vector_model, tuple(row.vector))
    return Item(row.item_id, row.title, tuple(row.categories), row.attributes, row.available, vector)


def delete(conn: sa.Connection, space_key: int, item_id: str) -> None:
    """Mark an item deleted: it is not shown any more, and its events stay."""
    update = """UPDATE items SET deleted = true, updated_at = now()
                WHERE space_key = %s AND item_id = %s AND NOT deleted"""
    if conn.exec_driver_sql(update, (space_key, item_id)).rowcount == 0:
        raise NotFound(f"there is no item {item_id!r}")


def set_availability(conn: sa.Connection, space_key: int, available: Mapping[str, bool]) -> list[str]:
    """Set the availability of items; return "updated" or "unknown" for each."""
    lock(conn, space_key, list(available))
    update = """UPDATE items SET available = new.available, withdrawn = false, updated_at = now()
                FROM unnest(%s::text[], %s::bool[]) AS new (item_id, available)
                WHERE items.space_key = %s AND items.item_id = new.item_id AND NOT deleted RETURNING items.item_id"""
    rows = conn.exec_driver_sql(update, (list(available), list(available.values()), space_key))
    updated = set(rows.scalars())
    return ["updated" if item_id in updated else "unknown" for item_id in available]


def lock(conn: sa.Connection, space_key: int, item_ids: Sequence[str]) -> None:
    """Lock these items until the transaction ends, in the order that all writers use."""
    query = """SELECT FROM items WHERE space_key = %s AND item_id = ANY(%s::text[])
               ORDER BY item_id COLLATE "C" FOR NO KEY UPDATE"""
    conn.exec_driver_sql(query, (space_key, list(item_ids)))


def withdraw(conn: sa.Connection, space_key: int, item_ids: Sequence[str]) -> None:
    """Hide items that are missing from a whole-catalogue file, until a later file contains them again."""
    set_availability(conn, space_key, dict.fromkeys(item_ids, False))
    update = "UPDATE items SET withdrawn = true WHERE space_key = %s AND item_id = ANY(%s::text[]) AND NOT deleted"
    conn.exec_driver_sql(update, (space_key, list(item_ids)))


def withdrawn(conn: sa.Connection, space_key: int) -> set[str]:
    """The items that are hidden because a whole-catalogue file did not contain them."""
    query = "SELECT item_id FROM items WHERE space_key = %s AND withdrawn AND NOT deleted"
    return set(conn.exec_driver_sql(query, (space_key,)).scalars())


def deleted(conn: sa.Connection, space_key: int, item_ids: Sequence[str]) -> set[str]:
    """The ids among `item_ids` that are deleted."""
    query = "SELECT item_id FROM items WHERE space_key = %s AND item_id = ANY(%s::text[]) AND deleted"
    return set(conn.exec_driver_sql(query, (space_key, list(item_ids))).scalars())


def count(conn: sa.Connection, space_key: int) -> int:
    query = "SELECT count(*) FROM items WHERE space_key = %s AND NOT deleted"
    return int(conn.exec_driver_sql(query, (space_key,)).scalar_one())


def read_catalogue(conn: sa.Connection, space_key: int, item_keys: Sequence[int] | None = None) -> pa.Table:
    """Items as a table with the schema CATALOGUE, sorted by key; times are microseconds since 1970 UTC.

    `item_keys` selects some items. Deleted items are included, so that readers can hide them.
    """
    selection = "" if item_keys is None else f"AND item_key = ANY('{{{','.join(str(int(key)) for key in item_keys)}}}')"
    query = f"""SELECT item_key, item_id, title, array_to_json(categories), attributes, available, deleted,
                    (date_part('epoch', created_at) * 1e6)::bigint, (date_part('epoch', updated_at) * 1e6)::bigint
                FROM items WHERE space_key = {space_key:d} {selection} ORDER BY item_key"""
    index = CATALOGUE.get_field_index("categories")
    table = bulk_copy.read_table(conn, query, CATALOGUE.set(index, pa.field("categories", pa.string())))
    return table.set_column(index, CATALOGUE.field(index), _parse_lists(table["categories"])).cast(CATALOGUE)


def categories(conn: sa.Connection, space_key: int) -> dict[str, list[str]]:
    """item_id -> categories, of each item that has categories."""
    query = "SELECT item_id, categories FROM items WHERE space_key = %s AND categories <> '{}' AND NOT deleted"
    return {item_id: list(names) for item_id, names in conn.exec_driver_sql(query, (space_key,))}


def _parse_lists(texts: pa.ChunkedArray) -> pa.Array:
    """Lists of text from JSON. Many items share the same list, so each distinct text is parsed once."""
    distinct = texts.combine_chunks().dictionary_encode()
    lists = pa.array([orjson.loads(text) for text in distinct.dictionary.to_pylist()], pa.list_(pa.string()))
    return lists.take(distinct.indices)


def read_vectors(
    conn: sa.Connection, space_key: int, model: int, item_keys: Sequence[int] | None = None
) -> dict[int, Matrix]:
    """item_key -> (dim,) vector, of each item that was written with a vector for `model`."""
    query = """SELECT item_key, vector::real[] FROM items WHERE space_key = %s AND vector_model = %s
               AND (%s::bigint[] IS NULL OR item_key = ANY(%s::bigint[]))"""
    keys = None if item_keys is None else list(item_keys)
    rows = conn.exec_driver_sql(query, (space_key, model, keys, keys))
    return {key: np.array(values, np.float32) for key, values in rows}


CATALOGUE = pa.schema(
    [
        ("item_key", pa.int64()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("attributes", pa.string()),
        ("available", pa.bool_()),
        ("deleted", pa.bool_()),
        ("created_at", pa.int64()),
        ("updated_at", pa.int64()),
    ]
)


def bulk_merge(conn: sa.Connection, space_key: int, table: pa.Table) -> int:
    """Add distinct items from columns item_id, title, categories (list), attributes (JSON).

    Returns the number of changed rows. An empty field of a known item keeps the stored value.
    """
    categories = pa.array(
        [None if value is None else SEPARATOR.join(value) for value in table["categories"].to_pylist()], pa.string()
    )
    staged = table.select(["item_id", "title"]).append_column("categories", categories)
    staged = staged.append_column("attributes", table["attributes"])
    bulk_copy.stage_table(conn, "staged_items", "item_id text, title text, categories text, attributes jsonb", staged)
    return conn.exec_driver_sql(MERGE, (space_key,)).rowcount
