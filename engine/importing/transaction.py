"""The database transaction of an import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from engine.errors import InputError
from engine.store import spaces
from engine.store.database.connections import Connection, Database, InvalidData


@contextmanager
def import_transaction(database: Database, space_name: str) -> Iterator[tuple[Connection, spaces.Space]]:
    """A connection in a transaction, and the space, created if needed. InputError for data that PostgreSQL refuses."""
    try:
        with database.begin() as conn:
            yield conn, spaces.ensure(conn, space_name)
    except InvalidData as error:
        raise InputError(f"PostgreSQL refused the file, and nothing was written: {error.orig}") from error


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """An Arrow table with plain strings (not string views), which the store's COPY needs."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
