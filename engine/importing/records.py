"""Records: the rows of a file of numbers and categories, as feature columns, values, ids and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from engine.errors import InputError
from engine.importing.cells import cells
from engine.importing.cells.feature_columns import read_feature_columns
from engine.importing.reports.rejects import ROUNDED_ID
from engine.importing.sheets import arrays
from engine.importing.sheets.sheet import Sheet
from engine.importing.sheets.sheet import read as read_sheet
from engine.values.features import Column, Values, check_column_set, check_finite, unseen_category_error
from engine.values.ids import check_id, normalise_id
from engine.values.lenient_records import LenientRecords

MAX_COLUMNS = 65_536


@dataclass(frozen=True)
class Layout:
    """The roles of the columns. Without an id column, the id of a record is its row number from 0."""

    id_column: str | None = None
    default_ids: Sequence[str] = ()  # without `id_column`, the first of these columns that the file has
    label_column: str | None = None
    categorical: Sequence[str] = ()
    ignore: Sequence[str] = ()
    array: str | None = None  # for an NPZ file with several arrays


@dataclass(frozen=True, eq=False)
class Records:
    """`values` is (n, n_columns), NaN for a missing value; a label is None for a record without one."""

    ids: list[str]
    columns: tuple[Column, ...]
    values: Values
    labels: list[str | None]
    unreadable: Mapping[tuple[str, int], str] = field(default_factory=dict)  # (column, row) -> text, not a number


def read(
    path: Path, layout: Layout, known: Sequence[Column] | None = None, *, validate: bool = True, strict: bool = True
) -> Records:
    """The records of a CSV, Parquet, JSONL, NPY or NPZ file; `known` columns keep their kind, order and categories.

    Raises InputError for a column set that differs from the known one, text in a numeric column, an infinity, an
    invalid id, and, without known columns, for a column without any value. `validate=False` skips the checks of ids and
    values. With `strict=False` a value that a known column cannot have becomes infinite.
    """
    is_array = path.suffix.lower() in arrays.SUFFIXES
    records = _from_arrays(path, layout, known) if is_array else _from_sheet(read_sheet(path), layout, known, strict)
    records = replace(records, ids=[normalise_id(id_) for id_ in records.ids])
    for row, id_ in enumerate(records.ids if validate else ()):
        check_id(id_, ("rows", row, "id"))
        if re.match(ROUNDED_ID, id_):
            raise InputError(f"id {id_} in row {row + 1} is a rounded number; export the ids as text")
    if len(records.columns) > MAX_COLUMNS:
        raise InputError(f"expected at most {MAX_COLUMNS:,} columns, got {len(records.columns):,}")
    if any("\x00" in text for text in (label or "" for label in records.labels)):
        raise InputError("a label contains a NUL character; remove it")
    if not validate:
        return records
    if strict:
        check_finite(records.columns, records.values)
    return _check_not_empty(records) if known is None else _in_order(records, known)


def read_for_model(path: Path, layout: Layout, columns: Sequence[Column]) -> Records:
    """Records with exactly the columns of a model; InputError also for a category that the model does not know."""
    records = read(path, layout, columns)
    for column, model_column in zip(records.columns, columns, strict=True):
        if column.categories is not None and model_column.categories is not None and column != model_column:
            raise unseen_category_error(model_column, column.categories[len(model_column.categories)], ())
    return records


def read_for_detection(path: Path, layout: Layout, columns: Sequence[Column]) -> tuple[Records, LenientRecords]:
    """Records with exactly the columns of a model and any values; InputError for another column set."""
    records = read(path, layout, columns, strict=False)
    index_of = {column.name: index for index, column in enumerate(records.columns)}
    texts = {(row, index_of[name]): text for (name, row), text in records.unreadable.items()}
    return records, LenientRecords(records.columns, records.values, texts)


def _from_arrays(path: Path, layout: Layout, known: Sequence[Column] | None) -> Records:
    table = arrays.read(path, array=layout.array, label=layout.label_column, ids=layout.id_column)
    n_rows, n_columns = table.matrix.shape
    unit = table.name if table.one_unit else None
    all_columns = tuple(Column(f"{table.name}.{index}", None, unit) for index in range(n_columns))
    kept = [index for index, column in enumerate(all_columns) if column.name not in layout.ignore]
    unknown = [name for name in layout.ignore if name not in {column.name for column in all_columns}]
    if unknown:
        raise InputError(
            f"{path.name} has no column {unknown[0]!r}; its columns are {all_columns[0].name} to {all_columns[-1].name}"
        )
    columns = tuple(all_columns[index] for index in kept)
    matrix = table.matrix[:, kept] if len(kept) < n_columns else table.matrix
    if known is not None and len(known) == len(columns) and all(each.categories is None for each in known):
        columns = tuple(known)  # an array has no column names, so its columns are the known ones, by position
    return Records(table.ids or [str(row) for row in range(n_rows)], columns, matrix, table.labels or [None] * n_rows)


def _from_sheet(sheet: Sheet, layout: Layout, known: Sequence[Column] | None, strict: bool) -> Records:
    in_file = sheet.frame.columns
    defaults = [name for name in layout.default_ids if name in in_file]
    id_column = layout.id_column or (defaults[0] if defaults else None)
    not_features = [name for name in (id_column, layout.label_column) if name is not None]
    for name in (*not_features, *layout.categorical, *layout.ignore):
        if name not in in_file:
            raise InputError(f"{sheet.name} has no column {name!r}; columns found: {', '.join(in_file)}")
    names = [name for name in in_file if name not in (*not_features, *layout.ignore)]
    if known is not None:
        _check_names(known, names)
    by_name = {column.name: column for column in known or ()}
    table = read_feature_columns(sheet, names, categorical=layout.categorical, known=by_name, strict=strict)
    height = sheet.frame.height
    ids = [str(row) for row in range(height)] if id_column is None else _read_ids(sheet, id_column)
    label = layout.label_column
    labels = [None] * height if label is None else cells.parse_text(sheet.column(label)).to_list()
    return Records(ids, table.columns, table.values, labels, table.unreadable)


def _check_names(known: Sequence[Column], names: Sequence[str]) -> None:
    """Check the column set before the columns are parsed; a column of lists stands for its parts."""
    parts: dict[str, list[str]] = {}
    for column in known:
        if column.unit is not None:
            parts.setdefault(column.unit, []).append(column.name)
    check_column_set(known, [each for name in names for each in parts.get(name, [name])])


def _read_ids(sheet: Sheet, name: str) -> list[str]:
    ids = cells.parse_ids(sheet.column(name))
    if ids.null_count():
        raise InputError(f"column {name!r} has no id in row {ids.is_null().arg_true()[0] + 1}")
    return pl.Series(ids).to_list()


def _check_not_empty(records: Records) -> Records:
    has_value = np.asarray((~np.isnan(records.values)).any(axis=0))
    empty = [column.name for column, filled in zip(records.columns, has_value, strict=True) if not filled]
    if empty:
        more = f" (and {len(empty) - 1} more columns)" if len(empty) > 1 else ""
        raise InputError(f"column {empty[0]!r}{more} has no value in any row; leave it out with --ignore {empty[0]}")
    return records


def _in_order(records: Records, known: Sequence[Column]) -> Records:
    """The records with their columns in the order of the known ones."""
    check_column_set(known, [column.name for column in records.columns])
    index_of = {column.name: index for index, column in enumerate(records.columns)}
    order = [index_of[column.name] for column in known]
    return replace(records, columns=tuple(records.columns[index] for index in order), values=records.values[:, order])
