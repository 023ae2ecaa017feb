"""import_users: a file of users and their attributes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from engine.importing.attributes import read_attributes
from engine.importing.cells import cells
from engine.importing.cells.reading_options import AS_IT_IS, Reading
from engine.importing.reports.erasure_checks import REASON, erased_checks
from engine.importing.reports.rejects import check, check_target, id_checks, with_more
from engine.importing.reports.summary import ImportSummary
from engine.importing.rows_by_id import join_rows
from engine.importing.sheets.column_mapping import NONE, Fields, resolve
from engine.importing.sheets.sheet import read
from engine.importing.transaction import arrow, transaction
from engine.progress import Progress, no_progress
from engine.store import users as user_store
from engine.store.database.connections import Database

FIELDS = Fields(names=("user_id",), needed=("user_id",), rest=True)


def import_users(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NONE,
    constants: Mapping[str, str] = NONE,
    rejects: Path | None = None,
    reading: Reading = AS_IT_IS,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the users of a file in one transaction; every other column of it is an attribute.

    Known users are completed: an empty cell leaves what is there. Of several rows with one id each field is the
    last that is not empty; the others, and rows that change nothing, count as duplicates. A user who was erased is
    rejected. Raises InputError as `import_events` does.
    """
    started = time.perf_counter()
    check_target(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = resolve(sheet, FIELDS, columns, constants)
    progress("check", 0.3)
    attributes = read_attributes(database, space_name, source, reading, "user")
    frame = pl.DataFrame({"user_id": cells.ids(source["user_id"], reading.missing_ids)} | attributes.frame_columns())
    kept_out = erased_checks(database, space_name, frame["user_id"])
    rejected = check(sheet, frame, id_checks("user_id") + kept_out + attributes.checks(), rejects)
    good = frame.filter(~rejected.mask)
    joined = join_rows(good, "user_id", list(attributes.columns))
    users = joined.frame
    staged = users.select("user_id", pl.Series("attributes", attributes.json_objects(users), pl.String))
    progress("write", 0.6)
    with transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        made = user_store.bulk_merge(conn, space.key, arrow(staged))
    progress("done", 1.0)
    return ImportSummary(
        read=frame.height,
        written=made.written,
        duplicates=good.height - made.written - len(made.erased),
        rejected=with_more(rejected.counts, REASON, len(made.erased)),
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=joined.notes(),
        differing=joined.differing,
    )
