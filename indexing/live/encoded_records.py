"""Vectors from feature records, for a generation and for live changes: by the codec, or by the item encoder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from engine.catalogue.predicate import ItemFields
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.latent_space.item_encoder import MEASURED
from engine.latent_space.space import Codec
from engine.store import features
from engine.store.database.connections import Connection
from engine.values.features import align_columns, to_records
from engine.values.vectors import Matrix
from indexing.generations.cold_items import fields_of_items
from indexing.live.view import LiveView


def encode_records(
    conn: Connection,
    space_key: int,
    codec: Codec | None,
    item_keys: Sequence[int] | None = None,
    *,
    since: datetime | None = None,
) -> dict[int, Matrix]:
    """item_key -> (dim,) vector of the records of these items, or of all.

    Empty without a codec, or where the stored records have other columns than the codec.
    """
    if not isinstance(codec, FeatureCodec):
        return {}
    schema = features.schema(conn, space_key)
    keys, values = features.read_by_key(conn, space_key, item_keys, since)
    if schema is None or not keys:
        return {}
    try:
        known = align_columns(codec.columns, schema.columns, values, unseen="skip")
    except InputError:  # records were imported again with other columns, which the next model learns
        return {}
    return dict(zip(keys, codec.encode(known), strict=True))


def record_fields(conn: Connection, space_key: int, item_keys: Sequence[int] | None = None) -> dict[int, ItemFields]:
    """item_key -> fields of the records of these items, or of all: numbers as they are, categories by name."""
    schema = features.schema(conn, space_key)
    if schema is None:
        return {}
    keys, values = features.read_by_key(conn, space_key, item_keys)
    records = to_records(schema.columns, values) if keys else []
    return {
        key: {MEASURED + name: value for name, value in record.items() if value is not None}
        for key, record in zip(keys, records, strict=True)
    }


def predict_vectors(conn: Connection, view: LiveView, changed: pa.Table) -> dict[int, Matrix]:
    """item_key -> (dim,) vector, by the item encoder, of changed items with feature records that are not learnt."""
    generation = view.generation
    if generation is None or generation.encoder is None or generation.codec is not None or changed.num_rows == 0:
        return {}
    found = record_fields(conn, view.space.key, changed["item_key"].to_pylist())
    built = generation.items
    unlearnt = [
        row
        for row in changed.to_pylist()
        if row["item_key"] in found and ((at := built.row(row["item_id"])) is None or at >= view.n_learnt)
    ]
    vectors = generation.encoder.encode(fields_of_items(unlearnt, found))
    return {row["item_key"]: vector for row, vector in zip(unlearnt, vectors, strict=True) if np.any(vector)}
