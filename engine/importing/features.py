"""import_features: a file of records with numbers and categories, into the items of a space."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.importing import records
from engine.importing.records import Layout, Records
from engine.importing.reports.summary import ImportSummary
from engine.importing.transaction import transaction
from engine.progress import Progress, no_progress
from engine.store import features as feature_store
from engine.store import spaces
from engine.store.database.connections import Connection, Database
from engine.store.features import FeatureSchema

SURE = 20  # records that have each a category of its own, which is no chance any more


def import_features(
    database: Database,
    space_name: str,
    path: Path,
    layout: Layout | None = None,
    *,
    replace: bool = False,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the records of a CSV, Parquet, JSONL, NPY or NPZ file in one transaction; known ids are replaced.

    Of several rows with one id the last wins. The label is kept apart from what is learnt from. A second file needs
    the columns of the first, new categories join the old; `replace` forgets every record that was there before.
    Raises InputError as `engine.importing.records.read`.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    with transaction(database, space_name) as (conn, space):
        spaces.lock(conn, space.key)  # imports take turns: the second sees the categories that the first added
        if replace:
            feature_store.clear(conn, space.key)
        before = feature_store.schema(conn, space.key)
        found = records.read(path, layout or Layout(), None if before is None else before.columns)
        progress("write", 0.6)
        written = _write(conn, space.key, found, before)
    progress("done", 1.0)
    return ImportSummary(
        read=len(found.ids),
        written=written,
        duplicates=len(found.ids) - written,
        rejected={},
        samples=(),
        seconds=time.perf_counter() - started,
        notes=_like_ids(found),
    )


def _like_ids(found: Records) -> tuple[str, ...]:
    """What is told of categories of which every record has its own: nothing can be learnt from them."""
    n = len(found.values)
    return tuple(
        f"column {column.name!r} has another category in each of the {n:,} records; if it names the records say "
        f"--id {column.name}, else leave it out with --ignore {column.name}"
        for column, cells in zip(found.columns, found.values.T, strict=True)
        if column.categories is not None and n >= SURE and len(np.unique(cells[~np.isnan(cells)])) == n
    )


def _write(conn: Connection, space_key: int, found: Records, before: FeatureSchema | None) -> int:
    """Write the last of the rows of each id; how many."""
    names = dict.fromkeys((*(before.labels if before else ()), *(each for each in found.labels if each is not None)))
    place_of = {name: place for place, name in enumerate(names)}
    feature_store.set_schema(conn, space_key, FeatureSchema(found.columns, tuple(names)))
    last = {id_: row for row, id_ in enumerate(found.ids)}
    rows = np.fromiter(last.values(), np.int64, len(last))
    labels: npt.NDArray[np.int32] = np.array(
        [-1 if (label := found.labels[row]) is None else place_of[label] for row in rows.tolist()], np.int32
    )
    feature_store.write(conn, space_key, list(last), found.values[rows], labels)
    return len(last)
