"""import_features: a file of records with numbers and categories."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.errors import InputError
from engine.features import Column, Values, check_column_set, check_finite
from engine.ids import check_id
from engine.importing import arrays, cells
from engine.importing.measured import measure
from engine.importing.sheet import Sheet, read
from engine.importing.summary import ImportSummary, Progress, silent
from engine.importing.transaction import transaction
from engine.store import features as feature_store
from engine.store.database import Connection, Database
from engine.store.features import FeatureSchema

MAX_COLUMNS = 65_536


@dataclass(frozen=True, eq=False)
class Records:
    """What a file holds, before it meets the records that are there already."""

    ids: list[str]
    columns: tuple[Column, ...]
    values: Values
    labels: list[str | None]


def import_features(
    database: Database,
    space_name: str,
    path: Path,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    categorical: Sequence[str] = (),
    ignore: Sequence[str] = (),
    array: str | None = None,
    progress: Progress = silent,
) -> ImportSummary:
    """Write the records of a CSV, Parquet, JSONL, NPY or NPZ file in one transaction; known ids are replaced.

    Without an id column records are called by their row, from 0. Of several rows with one id the last wins. The label
    is kept apart from what is learnt from. A second file needs the columns of the first; new categories join the old.
    Raises InputError for another column set, text in a numeric column, an infinity, or an id that is none.
    """
    started = time.perf_counter()
    progress("read", 0.0)
    is_array = path.suffix.lower() in arrays.SUFFIXES
    sheet = None if is_array else read(path)
    with transaction(database, space_name) as (conn, space):
        feature_store.lock_schema(conn, space.key)
        before = feature_store.schema(conn, space.key)
        progress("check", 0.3)
        if sheet is None:
            found = _from_arrays(path, array, id_column, label_column)
        else:
            found = _from_sheet(sheet, id_column, label_column, categorical, ignore, before)
        _check(found)
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
    )


def _from_arrays(path: Path, array: str | None, ids: str | None, label: str | None) -> Records:
    found = arrays.read(path, array=array, label=label, ids=ids)
    n, width = found.matrix.shape
    columns = tuple(Column(f"{found.name}.{at}", None, found.name if found.one_unit else None) for at in range(width))
    return Records(found.ids or [str(row) for row in range(n)], columns, found.matrix, found.labels or [None] * n)


def _from_sheet(
    sheet: Sheet,
    id_column: str | None,
    label_column: str | None,
    categorical: Sequence[str],
    ignore: Sequence[str],
    before: FeatureSchema | None,
) -> Records:
    there = sheet.frame.columns
    apart = [name for name in (id_column, label_column) if name is not None]
    for name in (*apart, *categorical, *ignore):
        if name not in there:
            raise InputError(f"{sheet.name} has no column {name!r}; columns found: {', '.join(there)}")
    names = [name for name in there if name not in (*apart, *ignore)]
    known = {} if before is None else {column.name: column for column in before.columns}
    measured = measure(sheet, names, categorical=categorical, known=known)
    height = sheet.frame.height
    ids = [str(row) for row in range(height)] if id_column is None else _ids(sheet, id_column)
    labels = [None] * height if label_column is None else cells.words(sheet.column(label_column)).to_list()
    return Records(ids, measured.columns, measured.values, labels)


def _ids(sheet: Sheet, name: str) -> list[str]:
    found = cells.ids(sheet.column(name))
    if found.null_count():
        raise InputError(f"column {name!r} has no id in row {found.is_null().arg_true()[0] + 1}")
    return pl.Series(found).to_list()


def _check(found: Records) -> None:
    for row, id_ in enumerate(found.ids):
        check_id(id_, ("rows", row, "id"))
    if len(found.columns) > MAX_COLUMNS:
        raise InputError(f"expected at most {MAX_COLUMNS:,} columns, got {len(found.columns):,}")
    if any("\x00" in text for text in (label or "" for label in found.labels)):
        raise InputError("a label holds NUL")
    check_finite(found.columns, found.values)


def _write(conn: Connection, space_key: int, found: Records, before: FeatureSchema | None) -> int:
    """Write the last of the rows of each id, in the column order of the space; how many."""
    columns, values = found.columns, found.values
    if before is not None:
        check_column_set(before.columns, [column.name for column in columns])
        order = {column.name: at for at, column in enumerate(columns)}
        places = [order[column.name] for column in before.columns]
        columns, values = tuple(columns[at] for at in places), values[:, places]
    names = dict.fromkeys((*(before.labels if before else ()), *(each for each in found.labels if each is not None)))
    place_of = {name: place for place, name in enumerate(names)}
    feature_store.set_schema(conn, space_key, FeatureSchema(columns, tuple(names)))
    last = {id_: row for row, id_ in enumerate(found.ids)}
    rows = np.fromiter(last.values(), np.int64, len(last))
    labels: npt.NDArray[np.int32] = np.array(
        [-1 if (label := found.labels[row]) is None else place_of[label] for row in rows.tolist()], np.int32
    )
    feature_store.write(conn, space_key, list(last), values[rows], labels)
    return len(last)
