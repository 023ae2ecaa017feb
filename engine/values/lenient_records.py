"""Readings: records as detectors take them: what a model has never seen is kept and named, and nothing is refused."""

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
    """`values` is (n, n_columns): NaN is missing, a category behind the model's own unseen, an infinity unreadable."""

    columns: tuple[Column, ...]  # of the model, each with the categories that were met behind its own
    values: Values
    texts: Mapping[tuple[int, int], str] = field(default_factory=dict)  # (row, column): what no number could be read of

    def __len__(self) -> int:
        return len(self.values)

    def records(self) -> list[dict[str, object]]:
        """As they were given, JSON-ready, missing as null."""
        made = to_records(self.columns, np.where(np.isinf(self.values), np.nan, self.values))
        for row, at in np.argwhere(np.isinf(self.values)).tolist():
            made[row][self.columns[at].name] = self.text(row, at)
        return made

    def text(self, row: int, at: int) -> str:
        """What a cell holds, for messages."""
        value = self.values[row, at]
        if np.isinf(value):
            return self.texts.get((row, at), "infinity" if value > 0 else "-infinity")
        names = self.columns[at].categories
        return f"{value:g}" if names is None else names[int(value)]


def parse_records(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> LenientRecords:
    """Readings of records with exactly these columns; InputError for another column set."""
    try:
        return LenientRecords(tuple(columns), from_records(columns, records))
    except InputError:
        return _cell_by_cell(columns, records)


def parse_rows(columns: Sequence[Column], rows: Sequence[object]) -> LenientRecords:
    """Readings of rows in the order of the columns; InputError for a row of another length."""
    try:
        return LenientRecords(tuple(columns), from_rows(columns, rows))
    except InputError:
        if any(not isinstance(row, list | tuple) or len(row) != len(columns) for row in rows):
            raise
    names = [column.name for column in columns]
    return _cell_by_cell(columns, [dict(zip(names, row, strict=True)) for row in rows])  # type: ignore[call-overload]


def from_stored(columns: Sequence[Column], stored: Sequence[Column], values: Values) -> LenientRecords:
    """Readings of stored values, whose columns may know more categories than the model's; InputError for other ones."""
    found = align_columns(columns, stored, values, unseen="keep")
    names = {column.name: column.categories for column in stored}
    return LenientRecords(tuple(replace(column, categories=names[column.name]) for column in columns), found)


def _cell_by_cell(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> LenientRecords:
    """What is no number becomes an infinity with its text, an unseen category one behind those that are known."""
    values = np.empty((len(records), len(columns)))
    texts: dict[tuple[int, int], str] = {}
    wider = list(columns)
    for row, given in enumerate(records):
        record = expand_lists(given)
        check_column_set(columns, list(record), ("records", row))
        for at, column in enumerate(wider):
            cell = {column.name: record[column.name]}
            try:
                values[row, at] = from_records([column], [cell])[0, 0]
            except InputError:
                text = _text(record[column.name])
                if column.categories is None:
                    values[row, at], texts[row, at] = np.inf, text
                else:
                    values[row, at] = len(column.categories)
                    wider[at] = replace(column, categories=(*column.categories, text))
    return LenientRecords(tuple(wider), values, texts)


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and np.isinf(cell):
        return "infinity" if cell > 0 else "-infinity"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else short_repr(cell)
