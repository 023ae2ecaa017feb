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
    """Store a latent space as the next version; the vectors are stored unscaled."""
    spaces.lock(conn, space_key)  # so that two writers do not choose the same version
    name, arrays = space.fold_in.state()
    codec_name, codec_arrays = (None, None) if space.codec is None else space.codec.state()
    insert = f"""INSERT INTO models (space_key, version, embedder, params, metric, dim, fold_in, arrays, evaluation,
                     codec, codec_arrays, publishable, n_items, n_users)
                 SELECT %s, coalesce(max(version), 0) + 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s
                 FROM models WHERE space_key = %s RETURNING model_key, {COLUMNS}"""
    model = (embedder, json.dumps(dict(params)), space.metric, space.dim, name, _pack(arrays))
    evaluation_and_codec = (
        json.dumps(dict(evaluation)),
        codec_name,
        None if codec_arrays is None else _pack(codec_arrays),
    )
    sizes = (publishable, len(space.items), len(space.users))
    row = conn.exec_driver_sql(insert, (space_key, *model, *evaluation_and_codec, *sizes, space_key)).one()
    _write_vectors(conn, space_key, row.model_key, "item", space.items)
    _write_vectors(conn, space_key, row.model_key, "user", space.users)
    return ModelRecord(*row[1:])


def _pack(arrays: Mapping[str, npt.NDArray]) -> bytes:
    return safetensors.save({key: np.ascontiguousarray(value) for key, value in arrays.items()})


def _write_vectors(conn: sa.Connection, space_key: int, model_key: int, noun: str, vectors: Vectors) -> None:
    table = f"{noun}_vectors_{model_key}"
    conn.exec_driver_sql(f"CREATE TABLE {table} PARTITION OF {noun}_vectors FOR VALUES IN ({model_key})")
    query = f"SELECT {noun}_id, {noun}_key FROM {noun}s WHERE space_key = %s"
    keys: dict[str, int] = {id_: key for id_, key in conn.exec_driver_sql(query, (space_key,))}
    known = np.array([id_ in keys for id_ in vectors.ids.ids], dtype=bool)  # False: erased during the training
    known_keys = np.array([keys[id_] for id_ in vectors.ids.ids if id_ in keys], dtype=np.int64)
    bulk_copy.write_vectors(conn, table, model_key, known_keys, vectors.matrix[known])
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
    conn: sa.Connection, space_key: int, version: int, read_item_ids: Callable[[], pa.Table] | None = None
) -> LatentSpace:
    """The latent space of a version, with the item rows in the order of training.

    `read_item_ids` returns the columns key (ascending) and id of every item, for a caller that reads them in parallel;
    it is called after the vectors are read.
    """
    query = """SELECT model_key, metric, dim, fold_in, arrays, codec, codec_arrays FROM models
               WHERE space_key = %s AND version = %s"""
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    if row is None:
        raise NotFound(f"there is no model version {version}")
    read_item_ids = read_item_ids or partial(_read_ids, conn, space_key, "item")
    items = _read_vectors(conn, row.model_key, "item", row.dim, read_item_ids)
    users = _read_vectors(conn, row.model_key, "user", row.dim, partial(_read_ids, conn, space_key, "user"))
    arrays = safetensors.load(bytes(row.arrays))
    restored = fold_in.restore(row.fold_in, items.matrix, arrays)
    return LatentSpace(items, users, row.metric, restored, _codec(row.codec, row.codec_arrays))


def load_codec(conn: sa.Connection, space_key: int, version: int) -> FeatureCodec | None:
    """Only the codec of a version, which a server needs in addition to a generation; None when it has no codec."""
    query = "SELECT codec, codec_arrays FROM models WHERE space_key = %s AND version = %s"
    row = conn.exec_driver_sql(query, (space_key, version)).first()
    if row is None:
        raise NotFound(f"there is no model version {version}")
    return _codec(row.codec, row.codec_arrays)


def _codec(name: str | None, packed: bytes | None) -> FeatureCodec | None:
    return None if name is None or packed is None else feature_codec.restore(name, safetensors.load(bytes(packed)))


def _read_vectors(
    conn: sa.Connection, model_key: int, noun: str, dim: int, read_ids: Callable[[], pa.Table]
) -> Vectors:
    keys, matrix = bulk_copy.read_vectors(conn, f"{noun}_vectors_{model_key}", f"{noun}_key", dim)
    sorted_keys, ids = read_ids().columns
    rows = np.searchsorted(sorted_keys.to_numpy(), keys)
    return Vectors(IdMap(ids.take(pa.array(rows)).to_pylist()), matrix)


def _read_ids(conn: sa.Connection, space_key: int, noun: str) -> pa.Table:
    query = f"SELECT {noun}_key, {noun}_id FROM {noun}s WHERE space_key = {space_key:d} ORDER BY {noun}_key"
    return bulk_copy.read_table(conn, query, pa.schema([("key", pa.int64()), ("id", pa.string())]))


def retire(conn: sa.Connection, space_key: int, version: int) -> None:
    """Delete a version by dropping its partitions."""
    delete = "DELETE FROM models WHERE space_key = %s AND version = %s RETURNING model_key"
    key = conn.exec_driver_sql(delete, (space_key, version)).scalar()
    if key is None:
        raise NotFound(f"there is no model version {version}")
    conn.exec_driver_sql(f"DROP TABLE item_vectors_{key}, user_vectors_{key}")
