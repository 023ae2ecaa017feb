"""import_features: imports a file of feature records, numbers and categories, as items of a space."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.importing import records
from engine.importing.records import Layout, Records
from engine.importing.reports.summary import ImportSummary
from engine.importing.transaction import import_transaction
from engine.progress import Progress, no_progress
from engine.store import features as feature_store
from engine.store import spaces
from engine.store.database.connections import Connection, Database
from engine.store.features import FeatureSchema

MIN_RECORDS = 20  # with fewer, each record may have its own category by chance


def import_features(
    database: Database,
    space_name: str,
    path: Path,
    layout: Layout | None = None,
    *,
    replace: bool = False,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the records of a CSV, Parquet, JSONL, NPY or NPZ file in one transaction; a known id is replaced.

    Of several rows with one id the last wins. The label column is stored, but is not a feature. A second file must have
    the columns of the first; new categories are added. With `replace` all earlier records are deleted first. Raises
    InputError as `engine.importing.records.read` does.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    with import_transaction(database, space_name) as (conn, space):
        spaces.lock(conn, space.key)  # one import at a time: the second sees the categories that the first added
        if replace:
            feature_store.clear(conn, space.key)
        stored = feature_store.schema(conn, space.key)
        new = records.read(path, layout or Layout(), None if stored is None else stored.columns)
        progress("write", 0.6)
        n_written = _write(conn, space.key, new, stored)
    progress("done", 1.0)
    return ImportSummary(
        read=len(new.ids),
        written=n_written,
        duplicates=len(new.ids) - n_written,
        rejected={},
        samples=(),
        seconds=time.perf_counter() - started,
        notes=_id_like_column_notes(new),
    )


def _id_like_column_notes(records: Records) -> tuple[str, ...]:
    """Notes about columns with a different category in every record, from which nothing can be learnt."""
    n = len(records.values)
    return tuple(
        f"column {column.name!r} has a different category in each of the {n:,} records; if it identifies the records "
        f"give --id {column.name}, else leave it out with --ignore {column.name}"
        for column, cells in zip(records.columns, records.values.T, strict=True)
        if column.categories is not None and n >= MIN_RECORDS and len(np.unique(cells[~np.isnan(cells)])) == n
    )


def _write(conn: Connection, space_key: int, records: Records, stored: FeatureSchema | None) -> int:
    """Write the last row of each id; return the number of records written."""
    new_labels = (each for each in records.labels if each is not None)
    labels = tuple(dict.fromkeys((*(stored.labels if stored else ()), *new_labels)))
    index_of = {label: index for index, label in enumerate(labels)}
    feature_store.set_schema(conn, space_key, FeatureSchema(records.columns, labels))
    last = {id_: row for row, id_ in enumerate(records.ids)}
    rows = np.fromiter(last.values(), np.int64, len(last))
    label_indices: npt.NDArray[np.int32] = np.array(
        [-1 if (label := records.labels[row]) is None else index_of[label] for row in rows.tolist()], np.int32
    )
    feature_store.write(conn, space_key, list(last), records.values[rows], label_indices)
    return len(last)
