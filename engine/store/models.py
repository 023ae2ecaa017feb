"""Model versions: immutable latent spaces with their evaluation. Retiring one drops its partitions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa
from safetensors import numpy as safetensors

from engine.codec import feature_codec
from engine.codec.feature_codec import FeatureCodec
from engine.errors import NotFound
from engine.latent_space import fold_in
from engine.latent_space.space import LatentSpace, Metric
from engine.store import spaces
from engine.store.database import bulk_copy
from engine.values.ids import IdMap
from engine.values.vectors import Vectors

COLUMNS = "version, embedder, params, metric, dim, evaluation, publishable, n_items, n_users, created_at"


@dataclass(frozen=True)
class ModelRecord:
    version: int
    embedder: str
    params: Mapping[str, Any]
    metric: Metric
    dim: int
    evaluation: Mapping[str, Any]
    publishable: bool
    n_items: int
    n_users: int
    created_at: datetime


def save(
    conn: sa.Connection,
    space_key: int,
    *,
    embedder: str,
    params: Mapping[str, Any],
    space: LatentSpace,
    evaluation: Mapping[str, Any],
    publishable: bool,
) -> ModelRecord:
    """Store a latent space as the next version, vectors raw as the model made them."""
    spaces.lock(conn, space_key)  # versions count up
    name, arrays = space.fold_in.state()
    codec_name, codec_arrays = (None, None) if space.codec is None else space.codec.state()
    insert = f"""INSERT INTO models (space_key, version, embedder, params, metric, dim, fold_in, arrays, evaluation,
                     codec, codec_arrays, publishable, n_items, n_users)
                 SELECT %s, coalesce(max(version), 0) + 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s
                 FROM models WHERE space_key = %s RETURNING model_key, {COLUMNS}"""
    values = (embedder, json.dumps(dict(params)), space.metric, space.dim, name, _pack(arrays))
    figures = (json.dumps(dict(evaluation)), codec_name, None if codec_arrays is None else _pack(codec_arrays))
    sizes = (publishable, len(space.items), len(space.users))
    row = conn.exec_driver_sql(insert, (space_key, *values, *figures, *sizes, space_key)).one()
    _write(conn, space_key, row.model_key, "item", space.items)
    _write(conn, space_key, row.model_key, "user", space.users)
    return ModelRecord(*row[1:])


def _pack(arrays: Mapping[str, npt.NDArray]) -> bytes:
    return safetensors.save({key: np.ascontiguousarray(value) for key, value in arrays.items()})


def _write(conn: sa.Connection, space_key: int, model_key: int, noun: str, vectors: Vectors) -> None:
    table = f"{noun}_vectors_{model_key}"
    conn.exec_driver_sql(f"CREATE TABLE {table} PARTITION OF {noun}_vectors FOR VALUES IN ({model_key})")
    query = f"SELECT {noun}_id, {noun}_key FROM {noun}s WHERE space_key = %s"
    keys: dict[str, int] = {id_: key for id_, key in conn.exec_driver_sql(query, (space_key,))}
    known = np.array([id_ in keys for id_ in vectors.ids.ids], dtype=bool)  # one erased while training ran stays erased
    found = np.array([keys[id_] for id_ in vectors.ids.ids if id_ in keys], dtype=np.int64)
    bulk_copy.write_vectors(conn, table, model_key, found, vectors.matrix[known])
    conn.exec_driver_sql(f"CREATE INDEX ON {table} ({noun}_key)")


def get(conn: sa.Connection, space_key: int, version: int) -> ModelRecord:
    query = f"SELECT {COLUMNS} FROM models WHERE space_key = %s AND version = %s"
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    if row is None:
        raise NotFound(f"there is no model version {version}")
    return ModelRecord(*row)


def latest(conn: sa.Connection, space_key: int, *, publishable_only: bool = False) -> ModelRecord | None:
    query = f"""SELECT {COLUMNS} FROM models WHERE space_key = %s AND (publishable OR NOT %s)
                ORDER BY version DESC LIMIT 1"""
    row = conn.exec_driver_sql(query, (space_key, publishable_only)).first()
    return None if row is None else ModelRecord(*row)


def list_all(conn: sa.Connection, space_key: int) -> list[ModelRecord]:
    query = f"SELECT {COLUMNS} FROM models WHERE space_key = %s ORDER BY version DESC"
    return [ModelRecord(*row) for row in conn.exec_driver_sql(query, (space_key,))]


def load_space(
    conn: sa.Connection, space_key: int, version: int, item_names: Callable[[], pa.Table] | None = None
) -> LatentSpace:
    """The latent space of a version, item rows in the order they were trained in.

    `item_names`, called once the vectors are there, has the columns key, ascending, and id of every item where somebody
    else reads them.
    """
    query = """SELECT model_key, metric, dim, fold_in, arrays, codec, codec_arrays FROM models
               WHERE space_key = %s AND version = %s"""
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    if row is None:
        raise NotFound(f"there is no model version {version}")
    items = _read(conn, row.model_key, "item", row.dim, item_names or partial(_names, conn, space_key, "item"))
    users = _read(conn, row.model_key, "user", row.dim, partial(_names, conn, space_key, "user"))
    arrays = safetensors.load(bytes(row.arrays))
    folds = fold_in.restore(row.fold_in, items.matrix, arrays)
    return LatentSpace(items, users, row.metric, folds, _codec(row.codec, row.codec_arrays))


def load_codec(conn: sa.Connection, space_key: int, version: int) -> FeatureCodec | None:
    """The codec of a version alone, None for one that has none: what a server needs beside a generation."""
    query = "SELECT codec, codec_arrays FROM models WHERE space_key = %s AND version = %s"
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    if row is None:
        raise NotFound(f"there is no model version {version}")
    return _codec(row.codec, row.codec_arrays)


def _codec(name: str | None, packed: bytes | None) -> FeatureCodec | None:
    return None if name is None or packed is None else feature_codec.restore(name, safetensors.load(bytes(packed)))


def _read(conn: sa.Connection, model_key: int, noun: str, dim: int, names: Callable[[], pa.Table]) -> Vectors:
    keys, matrix = bulk_copy.read_vectors(conn, f"{noun}_vectors_{model_key}", f"{noun}_key", dim)
    key, id_ = names().columns
    rows = np.searchsorted(key.to_numpy(), keys)
    return Vectors(IdMap(id_.take(pa.array(rows)).to_pylist()), matrix)


def _names(conn: sa.Connection, space_key: int, noun: str) -> pa.Table:
    query = f"SELECT {noun}_key, {noun}_id FROM {noun}s WHERE space_key = {space_key:d} ORDER BY {noun}_key"
    return bulk_copy.read_table(conn, query, pa.schema([("key", pa.int64()), ("id", pa.string())]))


def retire(conn: sa.Connection, space_key: int, version: int) -> None:
    """Delete a version by dropping its partitions."""
    delete = "DELETE FROM models WHERE space_key = %s AND version = %s RETURNING model_key"
    key = conn.exec_driver_sql(delete, (space_key, version)).scalar()
    if key is None:
        raise NotFound(f"there is no model version {version}")
    conn.exec_driver_sql(f"DROP TABLE item_vectors_{key}, user_vectors_{key}")
