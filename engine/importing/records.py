"""Records: the rows of a file of numbers and categories, before they meet a space or a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from engine.errors import InputError
from engine.importing.cells import cells
from engine.importing.cells.feature_columns import measure
from engine.importing.reports.rejects import LOST
from engine.importing.sheets import arrays
from engine.importing.sheets.sheet import Sheet
from engine.importing.sheets.sheet import read as read_sheet
from engine.values.features import Column, Values, check_column_set, check_finite, unseen_category_error
from engine.values.ids import check_id, normalise_id
from engine.values.lenient_records import LenientRecords

MAX_COLUMNS = 65_536


@dataclass(frozen=True)
class Layout:
    """Which column is what. Without an id column records are called by their row, from 0."""

    id_column: str | None = None
    usual_ids: Sequence[str] = ()  # where no id column is named, the first of these that is there
    label_column: str | None = None
    categorical: Sequence[str] = ()
    ignore: Sequence[str] = ()
    array: str | None = None  # of an NPZ with several


@dataclass(frozen=True, eq=False)
class Records:
    """`values` is (n, n_columns), NaN where missing; `labels` are None where there is none."""

    ids: list[str]
    columns: tuple[Column, ...]
    values: Values
    labels: list[str | None]
    unread: Mapping[tuple[str, int], str] = field(default_factory=dict)  # (column, row): text where a number belongs


def read(
    path: Path, layout: Layout, known: Sequence[Column] | None = None, *, finite: bool = True, strict: bool = True
) -> Records:
    """The records of a CSV, Parquet, JSONL, NPY or NPZ file; `known` columns keep their kind, place and categories.

    Raises InputError for another column set than the known one, text in a numeric column, an infinity, an id that is
    none, and for a column without a value where no column is known yet. `finite=False` leaves values and ids unchecked;
    where it is not `strict`, a value that a known column cannot have is infinite.
    """
    is_array = path.suffix.lower() in arrays.SUFFIXES
    found = _from_arrays(path, layout, known) if is_array else _from_sheet(read_sheet(path), layout, known, strict)
    found = replace(found, ids=[normalise_id(id_) for id_ in found.ids])
    for row, id_ in enumerate(found.ids if finite else ()):
        check_id(id_, ("rows", row, "id"))
        if re.match(LOST, id_):
            raise InputError(f"id {id_} in row {row + 1} lost digits as a number; write the ids as text")
    if len(found.columns) > MAX_COLUMNS:
        raise InputError(f"expected at most {MAX_COLUMNS:,} columns, got {len(found.columns):,}")
    if any("\x00" in text for text in (label or "" for label in found.labels)):
        raise InputError("a label holds NUL")
    if not finite:
        return found
    if strict:
        check_finite(found.columns, found.values)
    return _checked_filled(found) if known is None else _in_order(found, known)


def read_for_model(path: Path, layout: Layout, columns: Sequence[Column]) -> Records:
    """Records with exactly the columns of a model; InputError also for a category that it has never had."""
    found = read(path, layout, columns)
    for made, column in zip(found.columns, columns, strict=True):
        if made.categories is not None and column.categories is not None and made != column:
            raise unseen_category_error(column, made.categories[len(column.categories)], ())
    return found


def read_for_detection(path: Path, layout: Layout, columns: Sequence[Column]) -> tuple[Records, LenientRecords]:
    """Records with exactly the columns of a model, whatever they hold; InputError for another column set."""
    found = read(path, layout, columns, strict=False)
    place = {column.name: at for at, column in enumerate(found.columns)}
    texts = {(row, place[name]): text for (name, row), text in found.unread.items()}
    return found, LenientRecords(found.columns, found.values, texts)


def _from_arrays(path: Path, layout: Layout, known: Sequence[Column] | None) -> Records:
    found = arrays.read(path, array=layout.array, label=layout.label_column, ids=layout.id_column)
    n, width = found.matrix.shape
    made = tuple(Column(f"{found.name}.{at}", None, found.name if found.one_unit else None) for at in range(width))
    kept = [at for at, column in enumerate(made) if column.name not in layout.ignore]
    unknown = [name for name in layout.ignore if name not in {column.name for column in made}]
    if unknown:
        raise InputError(f"{path.name} has no column {unknown[0]!r}; its columns are {made[0].name} to {made[-1].name}")
    columns, matrix = tuple(made[at] for at in kept), found.matrix[:, kept] if len(kept) < width else found.matrix
    if known is not None and len(known) == len(columns) and all(each.categories is None for each in known):
        columns = tuple(known)  # an array has no names: its columns stand as those of the records before
    return Records(found.ids or [str(row) for row in range(n)], columns, matrix, found.labels or [None] * n)


def _from_sheet(sheet: Sheet, layout: Layout, known: Sequence[Column] | None, strict: bool) -> Records:
    there = sheet.frame.columns
    usual = [name for name in layout.usual_ids if name in there]
    id_column = layout.id_column or (usual[0] if usual else None)
    apart = [name for name in (id_column, layout.label_column) if name is not None]
    for name in (*apart, *layout.categorical, *layout.ignore):
        if name not in there:
            raise InputError(f"{sheet.name} has no column {name!r}; columns found: {', '.join(there)}")
    names = [name for name in there if name not in (*apart, *layout.ignore)]
    if known is not None:
        _check_names(known, names)
    by_name = {column.name: column for column in known or ()}
    measured = measure(sheet, names, categorical=layout.categorical, known=by_name, strict=strict)
    height = sheet.frame.height
    ids = [str(row) for row in range(height)] if id_column is None else _ids(sheet, id_column)
    label = layout.label_column
    labels = [None] * height if label is None else cells.words(sheet.column(label)).to_list()
    return Records(ids, measured.columns, measured.values, labels, measured.unread)


def _check_names(known: Sequence[Column], names: Sequence[str]) -> None:
    """The set of columns before they are measured; a list stands for its parts."""
    parts: dict[str, list[str]] = {}
    for column in known:
        if column.unit is not None:
            parts.setdefault(column.unit, []).append(column.name)
    check_column_set(known, [each for name in names for each in parts.get(name, [name])])


def _ids(sheet: Sheet, name: str) -> list[str]:
    found = cells.ids(sheet.column(name))
    if found.null_count():
        raise InputError(f"column {name!r} has no id in row {found.is_null().arg_true()[0] + 1}")
    return pl.Series(found).to_list()


def _checked_filled(found: Records) -> Records:
    filled = np.asarray((~np.isnan(found.values)).any(axis=0))
    empty = [column.name for column, there in zip(found.columns, filled, strict=True) if not there]
    if empty:
        more = f" (and {len(empty) - 1} more columns)" if len(empty) > 1 else ""
        raise InputError(f"column {empty[0]!r}{more} has no value in any row; leave it out with --ignore {empty[0]}")
    return found


def _in_order(found: Records, known: Sequence[Column]) -> Records:
    check_column_set(known, [column.name for column in found.columns])
    place = {column.name: at for at, column in enumerate(found.columns)}
    order = [place[column.name] for column in known]
    return replace(found, columns=tuple(found.columns[at] for at in order), values=found.values[:, order])
