"""Feature records: one row of fixed width per item of a space, and the columns that the records share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from engine.errors import NotEnoughData, NotFound
from engine.store import items, spaces
from engine.store.database import bulk_copy
from engine.values.features import Column, Features, Values, column_from_json
from engine.values.ids import IdMap

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of PostgreSQL's timestamps


@dataclass(frozen=True)
class FeatureSchema:
    """The columns of a space's records, and all labels that occur."""

    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()


def schema(conn: sa.Connection, space_key: int) -> FeatureSchema | None:
    """The columns of a space's records; None when it has no records."""
    query = "SELECT columns, labels FROM feature_schemas WHERE space_key = %s"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    if row is None:
        return None
    return FeatureSchema(tuple(column_from_json(each) for each in row.columns), tuple(row.labels))


def set_schema(conn: sa.Connection, space_key: int, schema: FeatureSchema) -> None:
    insert = """INSERT INTO feature_schemas (space_key, columns, labels) VALUES (%s, %s, %s)
                ON CONFLICT (space_key) DO UPDATE SET columns = excluded.columns, labels = excluded.labels"""
    columns = json.dumps([column.to_json() for column in schema.columns])
    conn.exec_driver_sql(insert, (space_key, columns, json.dumps(schema.labels)))


def clear(conn: sa.Connection, space_key: int) -> None:
    """Delete the records of a space and their columns; the items stay."""
    for table in ("item_features", "feature_schemas"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE space_key = %s", (space_key,))


def write(
    conn: sa.Connection, space_key: int, item_ids: Sequence[str], values: Values, labels: npt.NDArray[np.int32]
) -> None:
    """Write records: (n, n_columns) values and (n,) indices into the labels of the schema, -1 for no label.

    A record with a known id replaces the stored one. Each record is also an item with its label as category, so search,
    filters and the change feed include it.
    """
    stored = schema(conn, space_key)
    assert stored is not None
    categories = [[stored.labels[index]] if index >= 0 else None for index in labels.tolist()]
    nulls = pa.nulls(len(item_ids), pa.string())
    staged = pa.table(
        {
            "item_id": pa.array(item_ids, pa.string()),
            "title": nulls,
            "categories": pa.array(categories, pa.list_(pa.string())),
            "attributes": nulls,
        }
    )
    items.bulk_merge(conn, space_key, staged)
    conn.exec_driver_sql(  # puts the items into the change feed, so that servers encode the records again
        "UPDATE items SET deleted = false, updated_at = now() WHERE space_key = %s AND item_id = ANY(%s::text[])",
        (space_key, list(item_ids)),
    )
    query = "SELECT item_id, item_key FROM items WHERE space_key = %s AND item_id = ANY(%s::text[])"
    keys = {id_: key for id_, key in conn.exec_driver_sql(query, (space_key, list(item_ids)))}
    row_keys = np.array([keys[id_] for id_ in item_ids], np.int64)
    conn.exec_driver_sql("DELETE FROM item_features WHERE item_key = ANY(%s::bigint[])", (row_keys.tolist(),))
    _copy_in(conn, space_key, row_keys, values, labels, lock_and_get_time(conn, space_key))


def count(conn: sa.Connection, space_key: int) -> int:
    query = "SELECT count(*) FROM item_features WHERE space_key = %s"
    return int(conn.exec_driver_sql(query, (space_key,)).scalar_one())


def read(
    conn: sa.Connection, space_key: int, *, since: datetime | None = None, until: datetime | None = None
) -> Features:
    """The records of items that are not deleted, ordered by item key, written after `since` and at or before `until`.

    Raises NotEnoughData when the space has no records.
    """
    stored = schema(conn, space_key)
    if stored is None:
        raise NotEnoughData("this space has no feature records; import some with `nearfield import features FILE`")
    conn.exec_driver_sql("CREATE TEMPORARY TABLE IF NOT EXISTS chosen (item_key bigint, item_id text) ON COMMIT DROP")
    conn.exec_driver_sql("TRUNCATE chosen")
    conn.exec_driver_sql(
        """INSERT INTO chosen SELECT item_key, item_id FROM item_features JOIN items USING (item_key)
           WHERE item_features.space_key = %s AND NOT deleted
           AND recorded_at > coalesce(%s, '-infinity'::timestamptz)
           AND recorded_at <= coalesce(%s, 'infinity'::timestamptz)""",
        (space_key, since, until),
    )
    ids = conn.exec_driver_sql("SELECT item_id FROM chosen ORDER BY item_key").scalars().all()
    query = "SELECT label, numbers FROM chosen JOIN item_features USING (item_key) ORDER BY item_key"
    rows = bulk_copy.read_fixed(conn, query, [("label", ">i4"), ("numbers", f"({len(stored.columns)},)<f8")])
    labels = tuple(stored.labels[index] if index >= 0 else None for index in rows["label"].tolist())
    values = rows["numbers"].astype(np.float64).reshape(len(ids), len(stored.columns))
    return Features(IdMap(ids), stored.columns, values, labels if stored.labels else None)


def get(conn: sa.Connection, space_key: int, item_ids: Sequence[str]) -> Values:
    """The (n, n_columns) values of the records with these ids, in this order; NotFound for the first unknown id."""
    query = """SELECT item_id, numbers FROM item_features JOIN items USING (item_key)
               WHERE items.space_key = %s AND NOT deleted AND item_id = ANY(%s::text[])"""
    rows = conn.exec_driver_sql(query, (space_key, list(item_ids)))
    values = {row.item_id: np.frombuffer(bytes(row.numbers), "<f8") for row in rows}
    for id_ in item_ids:
        if id_ not in values:
            raise NotFound(f"there is no feature record {id_!r}")
    return np.stack([values[id_] for id_ in item_ids]).astype(np.float64)


def lock_and_get_time(conn: sa.Connection, space_key: int) -> datetime:
    """The current time of the clock that sets `recorded_at`; blocks imports until the transaction ends.

    Every record is therefore either visible to this transaction or recorded later. The start time of an import's
    transaction would not tell: an import that starts earlier may commit later.
    """
    spaces.lock(conn, space_key)
    now: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return now


def read_by_key(
    conn: sa.Connection, space_key: int, item_keys: Sequence[int] | None = None, since: datetime | None = None
) -> tuple[list[int], Values]:
    """Keys and (n, n_columns) values of the records of these items, or of all items, written after `since`."""
    query = """SELECT item_key, numbers FROM item_features WHERE space_key = %s
               AND (%s::bigint[] IS NULL OR item_key = ANY(%s::bigint[]))
               AND recorded_at > coalesce(%s, '-infinity'::timestamptz) ORDER BY item_key"""
    keys = None if item_keys is None else list(item_keys)
    rows = conn.exec_driver_sql(query, (space_key, keys, keys, since)).all()
    values = [np.frombuffer(bytes(row.numbers), "<f8") for row in rows]
    return [row.item_key for row in rows], np.array(values, np.float64)


def _copy_in(
    conn: sa.Connection,
    space_key: int,
    keys: npt.NDArray[np.int64],
    values: Values,
    labels: npt.NDArray[np.int32],
    recorded_at: datetime,
) -> None:
    """COPY (space_key, item_key, label, numbers, recorded_at) rows, binary."""
    n_columns = values.shape[1]
    row_dtype = np.dtype(
        [("fields", ">i2"), ("len1", ">i4"), ("space", ">i8"), ("len2", ">i4"), ("key", ">i8")]
        + [("len3", ">i4"), ("label", ">i4"), ("len4", ">i4"), ("numbers", "<f8", (n_columns,))]
        + [("len5", ">i4"), ("at", ">i8")]
    )
    statement = "COPY item_features (space_key, item_key, label, numbers, recorded_at) FROM STDIN (FORMAT binary)"
    with bulk_copy.driver_connection(conn).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(bulk_copy.HEADER)
        chunk_rows = max(1, 2**23 // (8 * n_columns))
        for start in range(0, len(keys), chunk_rows):
            chunk = slice(start, start + chunk_rows)
            rows = np.zeros(len(keys[chunk]), dtype=row_dtype)
            rows["fields"], rows["len1"], rows["len2"], rows["len3"], rows["len4"] = 5, 8, 8, 4, 8 * n_columns
            rows["len5"], rows["at"] = 8, (recorded_at - EPOCH) // timedelta(microseconds=1)
            rows["space"], rows["key"], rows["label"] = space_key, keys[chunk], labels[chunk]
            rows["numbers"] = values[chunk]
            copy.write(rows.tobytes())
        copy.write(bulk_copy.TRAILER)
