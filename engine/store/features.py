"""Feature records: one row of fixed width per item of a space, and the columns that they share."""

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

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's


@dataclass(frozen=True)
class FeatureSchema:
    """The columns of a space's records, and every label that one of them has."""

    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()


def schema(conn: sa.Connection, space_key: int) -> FeatureSchema | None:
    """None: the space has no feature records."""
    query = "SELECT columns, labels FROM feature_schemas WHERE space_key = %s"
    row = conn.exec_driver_sql(query, (space_key,)).first()
    if row is None:
        return None
    return FeatureSchema(tuple(column_from_json(each) for each in row.columns), tuple(row.labels))


def set_schema(conn: sa.Connection, space_key: int, made: FeatureSchema) -> None:
    insert = """INSERT INTO feature_schemas (space_key, columns, labels) VALUES (%s, %s, %s)
                ON CONFLICT (space_key) DO UPDATE SET columns = excluded.columns, labels = excluded.labels"""
    columns = json.dumps([column.to_json() for column in made.columns])
    conn.exec_driver_sql(insert, (space_key, columns, json.dumps(made.labels)))


def clear(conn: sa.Connection, space_key: int) -> None:
    """Forget every record of a space and their columns; the items stay."""
    for table in ("item_features", "feature_schemas"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE space_key = %s", (space_key,))


def write(
    conn: sa.Connection, space_key: int, item_ids: Sequence[str], values: Values, labels: npt.NDArray[np.int32]
) -> None:
    """Write records, (n, n_columns) values and the place of each one's label, -1 for none; known ids are replaced.

    Each becomes an item, with its label as category, so that search, filters and the change feed know it.
    """
    found = schema(conn, space_key)
    assert found is not None
    names = [[found.labels[place]] if place >= 0 else None for place in labels.tolist()]
    blank = pa.nulls(len(item_ids), pa.string())
    staged = pa.table(
        {
            "item_id": pa.array(item_ids, pa.string()),
            "title": blank,
            "categories": pa.array(names, pa.list_(pa.string())),
            "attributes": blank,
        }
    )
    items.merge_staged(conn, space_key, staged)
    conn.exec_driver_sql(  # the change feed tells servers, which encode the record anew
        "UPDATE items SET deleted = false, updated_at = now() WHERE space_key = %s AND item_id = ANY(%s::text[])",
        (space_key, list(item_ids)),
    )
    query = "SELECT item_id, item_key FROM items WHERE space_key = %s AND item_id = ANY(%s::text[])"
    keys = {id_: key for id_, key in conn.exec_driver_sql(query, (space_key, list(item_ids)))}
    row_keys = np.array([keys[id_] for id_ in item_ids], np.int64)
    conn.exec_driver_sql("DELETE FROM item_features WHERE item_key = ANY(%s::bigint[])", (row_keys.tolist(),))
    _copy_in(conn, space_key, row_keys, values, labels, moment(conn, space_key))


def count(conn: sa.Connection, space_key: int) -> int:
    query = "SELECT count(*) FROM item_features WHERE space_key = %s"
    return int(conn.exec_driver_sql(query, (space_key,)).scalar_one())


def read(
    conn: sa.Connection, space_key: int, *, since: datetime | None = None, until: datetime | None = None
) -> Features:
    """The records of items that are not deleted, by item key; those written after `since` and not after `until`.

    Raises NotEnoughData when the space has none at all.
    """
    found = schema(conn, space_key)
    if found is None:
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
    rows = bulk_copy.read_fixed(conn, query, [("label", ">i4"), ("numbers", f"({len(found.columns)},)<f8")])
    labels = tuple(found.labels[place] if place >= 0 else None for place in rows["label"].tolist())
    values = rows["numbers"].astype(np.float64).reshape(len(ids), len(found.columns))
    return Features(IdMap(ids), found.columns, values, labels if found.labels else None)


def get(conn: sa.Connection, space_key: int, item_ids: Sequence[str]) -> Values:
    """The (n, n_columns) values of records by id, in that order; NotFound for the first that is not there."""
    query = """SELECT item_id, numbers FROM item_features JOIN items USING (item_key)
               WHERE items.space_key = %s AND NOT deleted AND item_id = ANY(%s::text[])"""
    rows = conn.exec_driver_sql(query, (space_key, list(item_ids)))
    found = {row.item_id: np.frombuffer(bytes(row.numbers), "<f8") for row in rows}
    for id_ in item_ids:
        if id_ not in found:
            raise NotFound(f"there is no feature record {id_!r}")
    return np.stack([found[id_] for id_ in item_ids]).astype(np.float64)


def moment(conn: sa.Connection, space_key: int) -> datetime:
    """Now, by the clock that `recorded_at` goes by, and no import writes until the transaction ends.

    So every record is either seen here or recorded later. When the transaction of an import began says neither: one
    that began before may end after.
    """
    spaces.lock(conn, space_key)
    found: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return found


def by_key(
    conn: sa.Connection, space_key: int, item_keys: Sequence[int] | None = None, since: datetime | None = None
) -> tuple[list[int], Values]:
    """Keys and (n, n_columns) values of records of these items, or of all; only those written after `since`."""
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
    width = values.shape[1]
    row = np.dtype(
        [("fields", ">i2"), ("len1", ">i4"), ("space", ">i8"), ("len2", ">i4"), ("key", ">i8")]
        + [("len3", ">i4"), ("label", ">i4"), ("len4", ">i4"), ("numbers", "<f8", (width,))]
        + [("len5", ">i4"), ("at", ">i8")]
    )
    statement = "COPY item_features (space_key, item_key, label, numbers, recorded_at) FROM STDIN (FORMAT binary)"
    with bulk_copy.driver_connection(conn).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(bulk_copy.HEADER)
        step = max(1, 2**23 // (8 * width))
        for start in range(0, len(keys), step):
            part = slice(start, start + step)
            rows = np.zeros(len(keys[part]), dtype=row)
            rows["fields"], rows["len1"], rows["len2"], rows["len3"], rows["len4"] = 5, 8, 8, 4, 8 * width
            rows["len5"], rows["at"] = 8, (recorded_at - EPOCH) // timedelta(microseconds=1)
            rows["space"], rows["key"], rows["label"] = space_key, keys[part], labels[part]
            rows["numbers"] = values[part]
            copy.write(rows.tobytes())
        copy.write(bulk_copy.TRAILER)
