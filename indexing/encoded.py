"""encoded: vectors of feature records that were imported after the model was made, by its codec."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.codec import FeatureCodec
from engine.errors import InputError
from engine.features import as_of
from engine.space import Codec
from engine.store import features
from engine.store.database import Connection
from engine.vectors import Matrix


def encoded(
    conn: Connection,
    space_key: int,
    codec: Codec | None,
    item_keys: Sequence[int] | None = None,
    *,
    since: datetime | None = None,
) -> dict[int, Matrix]:
    """item_key -> (dim,) of the records of these items, or of all; none without a codec or for other columns."""
    if not isinstance(codec, FeatureCodec):
        return {}
    schema = features.schema(conn, space_key)
    keys, values = features.by_key(conn, space_key, item_keys, since)
    if schema is None or not keys:
        return {}
    try:
        known = as_of(codec.columns, schema.columns, values, new="skip")
    except InputError:  # imported anew with other columns: the next model knows them
        return {}
    return dict(zip(keys, codec.encode(known), strict=True))
