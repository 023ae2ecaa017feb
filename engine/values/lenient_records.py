"""Lenient parsing of feature records for anomaly detection and drift: unseen and unreadable cells are kept and named.

Training uses the strict parsing of `engine.values.features`, which rejects such records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engine.errors import InputError, short_repr
from engine.values.features import (
    Column,
    Values,
    align_columns,
    check_column_set,
    expand_lists,
    from_records,
    from_rows,
    to_records,
)


@dataclass(frozen=True, eq=False)
class LenientRecords:
    """Records whose cells may be unseen or unreadable.

    `values` is (n, n_columns): NaN is a missing cell, a code beyond the model's categories an unseen category, and an
    infinity an unreadable number.
    """

    columns: tuple[Column, ...]  # of the model; unseen categories are appended to the categories of their column
    values: Values
    texts: Mapping[tuple[int, int], str] = field(default_factory=dict)  # (row, column) -> text of an unreadable number

    def __len__(self) -> int:
        return len(self.values)

    def to_records(self) -> list[dict[str, object]]:
        """The records as they were received, ready for JSON, with null for a missing cell."""
        records = to_records(self.columns, np.where(np.isinf(self.values), np.nan, self.values))
        for row, column in np.argwhere(np.isinf(self.values)).tolist():
            records[row][self.columns[column].name] = self.cell_text(row, column)
        return records

    def cell_text(self, row: int, column: int) -> str:
        """The content of a cell, for messages."""
        value = self.values[row, column]
        if np.isinf(value):
            return self.texts.get((row, column), "infinity" if value > 0 else "-infinity")
        categories = self.columns[column].categories
        return f"{value:g}" if categories is None else categories[int(value)]


def parse_records(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> LenientRecords:
    """Parse records with exactly these columns; InputError for another column set."""
    try:
        return LenientRecords(tuple(columns), from_records(columns, records))
    except InputError:
        return _parse_cells(columns, records)


def parse_rows(columns: Sequence[Column], rows: Sequence[object]) -> LenientRecords:
    """Parse rows of values in column order; InputError for a row of another length."""
    try:
        return LenientRecords(tuple(columns), from_rows(columns, rows))
    except InputError:
        if any(not isinstance(row, list | tuple) or len(row) != len(columns) for row in rows):
            raise
    names = [column.name for column in columns]
    return _parse_cells(columns, [dict(zip(names, row, strict=True)) for row in rows])  # type: ignore[call-overload]


def from_stored(columns: Sequence[Column], stored: Sequence[Column], values: Values) -> LenientRecords:
    """The records of stored `values`, whose columns may have more categories than the columns of the model.

    Raises InputError for another column set.
    """
    aligned = align_columns(columns, stored, values, unseen="keep")
    categories = {column.name: column.categories for column in stored}
    return LenientRecords(tuple(replace(column, categories=categories[column.name]) for column in columns), aligned)


def _parse_cells(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> LenientRecords:
    """Parse cell by cell: an unreadable number becomes infinity with its text, an unseen category a new last one."""
    values = np.empty((len(records), len(columns)))
    texts: dict[tuple[int, int], str] = {}
    extended = list(columns)
    for row, original in enumerate(records):
        record = expand_lists(original)
        check_column_set(columns, list(record), ("records", row))
        for at, column in enumerate(extended):
            cell = {column.name: record[column.name]}
            try:
                values[row, at] = from_records([column], [cell])[0, 0]
            except InputError:
                text = _text(record[column.name])
                if column.categories is None:
                    values[row, at], texts[row, at] = np.inf, text
                else:
                    values[row, at] = len(column.categories)
                    extended[at] = replace(column, categories=(*column.categories, text))
    return LenientRecords(tuple(extended), values, texts)


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and np.isinf(cell):
        return "infinity" if cell > 0 else "-infinity"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else short_repr(cell)
