"""Checks that reject the rows of erased users, so that an old file does not create them again."""

from __future__ import annotations

import polars as pl

from engine.errors import NotFound
from engine.importing.reports.rejects import Check
from engine.store import erasures, spaces
from engine.store.database.connections import Database

REASON = "user was erased"


def erased_checks(database: Database, space_name: str, user_ids: pl.Series) -> list[Check]:
    """The check for the erased users among `user_ids`; none when nobody was erased or the space does not exist yet."""
    distinct = user_ids.drop_nulls().unique()
    ids = distinct.filter(~distinct.str.contains("\x00", literal=True)).to_list()
    try:
        with database.connect() as conn:
            erased = erasures.erased_among(conn, spaces.get(conn, space_name).key, ids)
    except NotFound:
        return []
    return [(REASON, pl.col("user_id").is_in(sorted(erased)))] if erased else []
