"""Feature records: numbers and categories as measured, and their strict parsing from JSON.

Scaling and one-hot encoding are in `engine.codec.preprocessing`; parsing that accepts unseen values is in
`engine.values.lenient_records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import InputError, short_repr
from engine.values.ids import IdMap
from engine.values.vectors import read_only

Values = npt.NDArray[np.float64]  # numbers as measured, categories as codes (index in the column's list), NaN: missing
MISSING_WORDS = frozenset({"", "nan", "na", "n/a", "null", "none"})  # lower case; exports write these for no value
MAX_NAMED = 5


@dataclass(frozen=True)
class Column:
    """A column of feature records; categorical if it has `categories`. Columns of one `unit` share one scale."""

    name: str
    categories: tuple[str, ...] | None = None
    unit: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "categories": self.categories, "unit": self.unit}


def column_from_json(value: Mapping[str, Any]) -> Column:
    categories = value["categories"]
    return Column(value["name"], None if categories is None else tuple(categories), value["unit"])


@dataclass(frozen=True, eq=False)
class Features:
    """Feature records with ids: `values` is (n, n_columns) float64; `labels` are never trained on, None if absent."""

    ids: IdMap
    columns: tuple[Column, ...]
    values: Values
    labels: tuple[str | None, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.ids), len(self.columns)):
            raise InputError(f"expected ({len(self.ids)}, {len(self.columns)}) values, got {self.values.shape}")
        object.__setattr__(self, "values", read_only(self.values))

    def __len__(self) -> int:
        return len(self.ids)

    def with_label(self, label: str) -> Features:
        """The records with this label; InputError if there are none."""
        rows = [row for row, each in enumerate(self.labels or ()) if each == label]
        if not rows:
            known = dict.fromkeys(each for each in self.labels or () if each is not None)
            there = (
                f"the labels are {_some(list(known))}" if known else "the records have no labels; import with --label"
            )
            raise InputError(f"no record has the label {label!r}; {there}", loc=("normal",))
        return Features(IdMap(self.ids.ids[row] for row in rows), self.columns, self.values[rows], (label,) * len(rows))


def check_column_set(
    expected: Sequence[Column], names: Sequence[str], loc: tuple[str | int, ...] = ("records",)
) -> None:
    """Raise InputError with the missing and unexpected columns if `names` differ from the expected columns."""
    expected_names = [column.name for column in expected]
    missing = [name for name in expected_names if name not in names]
    unexpected = [name for name in names if name not in expected_names]
    if missing or unexpected:
        parts = [f"missing {_some(missing)}"] if missing else []
        parts += [f"unexpected {_some(unexpected)}"] if unexpected else []
        raise InputError(f"expected the {len(expected)} known columns; {'; '.join(parts)}", loc=loc)


def from_records(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> Values:
    """(n, n_columns) values of records with exactly these columns; null and NaN are missing values.

    Raises InputError for another column set, text in a numeric column, an infinity or an unseen category.
    """
    values = np.empty((len(records), len(columns)))
    codes_of = [None if column.categories is None else _codes(column.categories) for column in columns]
    names = {column.name for column in columns}
    for row, original in enumerate(records):
        record = original if original.keys() == names else expand_lists(original)
        if record.keys() != names:
            check_column_set(columns, list(record), ("records", row))
        for at, column in enumerate(columns):
            cell, codes = record[column.name], codes_of[at]
            loc = ("records", row, column.name)
            values[row, at] = _number(cell, column, loc) if codes is None else _code(cell, column, codes, loc)
    return values


def expand_lists(record: Mapping[str, object]) -> Mapping[str, object]:
    """The record with each list expanded into columns NAME.0, NAME.1 and so on."""
    if not any(isinstance(cell, list) for cell in record.values()):
        return record
    return {
        name: each
        for column, cell in record.items()
        for name, each in (
            ((f"{column}.{at}", part) for at, part in enumerate(cell)) if isinstance(cell, list) else ((column, cell),)
        )
    }


def check_finite(columns: Sequence[Column], values: npt.NDArray[np.floating]) -> None:
    """Raise InputError for the first infinity; NaN is a missing value and allowed."""
    infinite = np.isinf(values)
    if infinite.any():
        row, at = np.argwhere(infinite)[0]
        raise InputError(
            f"column {columns[at].name!r} has an infinity in row {row + 1}; leave the cell empty for a missing value",
            loc=("records", int(row), columns[at].name),
        )


def from_rows(columns: Sequence[Column], rows: Sequence[object]) -> Values:
    """(n, n_columns) values of rows in column order; null and NaN are missing values.

    Raises InputError for a row of another length, text in a numeric column, an infinity or an unseen category.
    """
    for at, row in enumerate(rows):
        if not isinstance(row, list | tuple) or len(row) != len(columns):
            got = f"{len(row)} values" if isinstance(row, list | tuple) else short_repr(row)
            raise InputError(f"expected a row of {len(columns)} values in column order, got {got}", loc=("values", at))
    if all(column.categories is None for column in columns):
        try:
            values = np.array(rows, dtype=np.float64)
            if values.ndim == 2 and not np.isinf(values).any():
                return values
        except (TypeError, ValueError, OverflowError):
            pass  # the cell-by-cell parsing below names the cell
    names = [column.name for column in columns]
    return from_records(columns, [dict(zip(names, row, strict=True)) for row in rows])  # type: ignore[call-overload]


def align_columns(
    columns: Sequence[Column], stored: Sequence[Column], values: Values, *, unseen: Literal["error", "skip", "keep"]
) -> Values:
    """Stored values in the column order and category codes of a model, which may have fewer categories.

    `unseen` is the treatment of a category that the model has not seen: "error" raises InputError, "skip" makes the
    value missing, "keep" keeps its code, which is beyond the model's categories. Another column set is an InputError.
    """
    check_column_set(columns, [column.name for column in stored])
    stored_at = {column.name: at for at, column in enumerate(stored)}
    aligned = values[:, [stored_at[column.name] for column in columns]]
    for at, column in enumerate(columns):
        if column.categories is None:
            continue
        is_unseen = aligned[:, at] >= len(column.categories)
        if is_unseen.any() and unseen == "error":
            names = stored[stored_at[column.name]].categories or ()
            raise unseen_category_error(column, names[int(aligned[is_unseen, at][0])], ("records",))
        if unseen != "keep":
            aligned[is_unseen, at] = np.nan
    return aligned


def to_records(columns: Sequence[Column], values: Values) -> list[dict[str, object]]:
    """Values as records ready for JSON, with null for a missing value."""
    lists: list[list[object]] = []
    for at, column in enumerate(columns):
        cells = values[:, at]
        names = column.categories
        lists.append([None if np.isnan(c) else float(c) if names is None else names[int(c)] for c in cells])
    return [dict(zip((c.name for c in columns), cells, strict=True)) for cells in zip(*lists, strict=True)]


def _codes(categories: Sequence[str]) -> dict[str, int]:
    return {name: code for code, name in enumerate(categories)}


def _number(cell: object, column: Column, loc: tuple[str | int, ...]) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS):
        return float("nan")
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"column {column.name!r} is numeric, got {short_repr(cell)}", loc=loc) from None
    if np.isinf(number):
        raise InputError(f"column {column.name!r} has an infinity; send null for a missing value", loc=loc)
    return number


def _code(cell: object, column: Column, codes: Mapping[str, int], loc: tuple[str | int, ...]) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS):
        return float("nan")
    text = _text(cell)
    if text not in codes:
        raise unseen_category_error(column, text, loc)
    return float(codes[text])


def unseen_category_error(column: Column, text: str, loc: tuple[str | int, ...]) -> InputError:
    """The error for a category that the model has not seen in this column."""
    return InputError(
        f"column {column.name!r} has never had the category {short_repr(text)}; it knows "
        f"{_some(column.categories or ())}. Import records that have it and train again, or leave the value empty",
        loc=loc,
    )


def _text(cell: object) -> str:
    """The name of a category as an import writes it: "true" for True, "3" for 3.0."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, list | dict):
        return short_repr(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
