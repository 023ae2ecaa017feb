"""import_users: imports a file of users and their attributes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from engine.importing.attributes import read_attributes
from engine.importing.cells import cells
from engine.importing.cells.reading_options import DEFAULT_OPTIONS, ReadingOptions
from engine.importing.reports.erasure_checks import REASON, erased_checks
from engine.importing.reports.rejects import add_rejected, check, check_rejects_path, id_checks
from engine.importing.reports.summary import ImportSummary
from engine.importing.rows_by_id import merge_rows_by_id
from engine.importing.sheets.column_mapping import NO_MAPPING, Fields, map_columns
from engine.importing.sheets.sheet import read
from engine.importing.transaction import import_transaction, to_arrow
from engine.progress import Progress, no_progress
from engine.store import users as user_store
from engine.store.database.connections import Database

USER_FIELDS = Fields(names=("user_id",), required=("user_id",), rest_is_attributes=True)


def import_users(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NO_MAPPING,
    constants: Mapping[str, str] = NO_MAPPING,
    rejects: Path | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the users of a file in one transaction; every column except user_id is an attribute.

    An empty cell of a known user keeps the stored value. Rows with one id are merged, the last non-empty value of each
    attribute wins; the merged rows, and rows that change nothing, count as duplicates. Erased users are rejected.
    Raises InputError as `import_events` does.
    """
    started = time.perf_counter()
    check_rejects_path(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = map_columns(sheet, USER_FIELDS, columns, constants)
    progress("check", 0.3)
    attributes = read_attributes(database, space_name, source, reading, "user")
    ids = cells.parse_ids(source["user_id"], reading.missing_ids)
    frame = pl.DataFrame({"user_id": ids} | attributes.frame_columns())
    erased = erased_checks(database, space_name, frame["user_id"])
    rejected = check(sheet, frame, id_checks("user_id") + erased + attributes.checks(), rejects)
    accepted = frame.filter(~rejected.mask)
    merged = merge_rows_by_id(accepted, "user_id", list(attributes.columns))
    users = merged.frame
    staged = users.select("user_id", pl.Series("attributes", attributes.json_objects(users), pl.String))
    progress("write", 0.6)
    with import_transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        counts = user_store.bulk_merge(conn, space.key, to_arrow(staged))
    progress("done", 1.0)
    return ImportSummary(
        read=frame.height,
        written=counts.written,
        duplicates=accepted.height - counts.written - len(counts.erased),
        rejected=add_rejected(rejected.counts, REASON, len(counts.erased)),
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=merged.notes(),
        differing=merged.differing,
    )
