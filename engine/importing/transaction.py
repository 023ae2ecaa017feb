"""The one transaction of an import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa

from engine.errors import InputError
from engine.store import spaces
from engine.store.database.connections import Connection, Database, InvalidData


@contextmanager
def transaction(database: Database, space_name: str) -> Iterator[tuple[Connection, spaces.Space]]:
    """A connection and the space, made if there is none; data that PostgreSQL refuses is an InputError."""
    try:
        with database.begin() as conn:
            yield conn, spaces.ensure(conn, space_name)
    except InvalidData as error:
        raise InputError(f"PostgreSQL refused the file, and nothing was written: {error.orig}") from error


def arrow(frame: pl.DataFrame) -> pa.Table:
    """As the store's COPY takes it: plain strings, not string views."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
