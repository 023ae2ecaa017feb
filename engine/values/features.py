"""Features: records of numbers and categories, as they were measured; what becomes of them is in preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.errors import InputError, short_repr
from engine.values.ids import IdMap
from engine.values.vectors import read_only

Values = npt.NDArray[np.float64]  # numbers as they are, categories as their place in the column's list, NaN is missing
MISSING_WORDS = frozenset({"", "nan", "na", "n/a", "null", "none"})  # lower case, what exports write for no value
MAX_NAMED = 5


@dataclass(frozen=True)
class Column:
    """One measured thing. `categories` of a categorical column; columns of one `unit` are scaled by one number."""

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
    """`values` is (n, n_columns) float64; `labels` are kept apart from training, None where a record has none."""

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
        """The records with this label; InputError when there is none."""
        rows = [row for row, each in enumerate(self.labels or ()) if each == label]
        if not rows:
            known = dict.fromkeys(each for each in self.labels or () if each is not None)
            there = (
                f"the labels are {_some(list(known))}" if known else "the records have no labels; import with --label"
            )
            raise InputError(f"no record has the label {label!r}; {there}", loc=("normal",))
        return Features(IdMap(self.ids.ids[row] for row in rows), self.columns, self.values[rows], (label,) * len(rows))


def check_column_set(
    expected: Sequence[Column], given: Sequence[str], loc: tuple[str | int, ...] = ("records",)
) -> None:
    """InputError that lists the columns that are missing and those nobody asked for."""
    names = [column.name for column in expected]
    missing, unexpected = [n for n in names if n not in given], [n for n in given if n not in names]
    if missing or unexpected:
        parts = [f"missing {_some(missing)}"] if missing else []
        parts += [f"unexpected {_some(unexpected)}"] if unexpected else []
        raise InputError(f"expected the {len(names)} columns this was made of; {'; '.join(parts)}", loc=loc)


def from_records(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> Values:
    """(n, n_columns) values of records with exactly these columns; null or NaN is missing.

    Raises InputError for another column set, text in a numeric column, an infinity or an unseen category.
    """
    values = np.empty((len(records), len(columns)))
    known = [None if column.categories is None else _places(column.categories) for column in columns]
    names = {column.name for column in columns}
    for row, given in enumerate(records):
        record = given if given.keys() == names else expand_lists(given)
        if record.keys() != names:
            check_column_set(columns, list(record), ("records", row))
        for at, column in enumerate(columns):
            cell, places = record[column.name], known[at]
            loc = ("records", row, column.name)
            values[row, at] = _number(cell, column, loc) if places is None else _place(cell, column, places, loc)
    return values


def expand_lists(record: Mapping[str, object]) -> Mapping[str, object]:
    """The record with each list of values as columns NAME.0, NAME.1 and so on."""
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
    """InputError for the first infinity; NaN is a missing value and stays."""
    infinite = np.isinf(values)
    if infinite.any():
        row, at = np.argwhere(infinite)[0]
        raise InputError(
            f"column {columns[at].name!r} has an infinity in row {row + 1}; leave the cell empty for a missing value",
            loc=("records", int(row), columns[at].name),
        )


def from_rows(columns: Sequence[Column], rows: Sequence[object]) -> Values:
    """(n, n_columns) values of rows, null or NaN for missing.

    Raises InputError for a row of another length, text where a number belongs, an infinity or an unseen category.
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
            pass  # which cell it was, the way by name says
    names = [column.name for column in columns]
    return from_records(columns, [dict(zip(names, row, strict=True)) for row in rows])  # type: ignore[call-overload]


def align_columns(
    columns: Sequence[Column], stored: Sequence[Column], values: Values, *, unseen: Literal["error", "skip", "keep"]
) -> Values:
    """Stored values in the terms of a model's `columns`, which may know fewer categories than were stored since.

    Raises InputError for another column set, and with new="error" for a category that the model has never had;
    "skip" takes such a value as missing, "keep" leaves it at its place behind the model's own.
    """
    check_column_set(columns, [column.name for column in stored])
    place = {column.name: at for at, column in enumerate(stored)}
    found = values[:, [place[column.name] for column in columns]]
    for at, column in enumerate(columns):
        if column.categories is None:
            continue
        later = found[:, at] >= len(column.categories)
        if later.any() and unseen == "error":
            names = stored[place[column.name]].categories or ()
            raise unseen_category_error(column, names[int(found[later, at][0])], ("records",))
        if unseen != "keep":
            found[later, at] = np.nan
    return found


def to_records(columns: Sequence[Column], values: Values) -> list[dict[str, object]]:
    """Values as JSON-ready records, missing as null."""
    lists: list[list[object]] = []
    for at, column in enumerate(columns):
        cells = values[:, at]
        names = column.categories
        lists.append([None if np.isnan(c) else float(c) if names is None else names[int(c)] for c in cells])
    return [dict(zip((c.name for c in columns), cells, strict=True)) for cells in zip(*lists, strict=True)]


def _places(categories: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(categories)}


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


def _place(cell: object, column: Column, places: Mapping[str, int], loc: tuple[str | int, ...]) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING_WORDS):
        return float("nan")
    text = _text(cell)
    if text not in places:
        raise unseen_category_error(column, text, loc)
    return float(places[text])


def unseen_category_error(column: Column, text: str, loc: tuple[str | int, ...]) -> InputError:
    """The error for a category that a column has never had."""
    return InputError(
        f"column {column.name!r} has never had the category {short_repr(text)}; it knows "
        f"{_some(column.categories or ())}. Import records that have it and train again, or leave the value empty",
        loc=loc,
    )


def _text(cell: object) -> str:
    """A category as an import would name it: true, 3 and not 3.0."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, list | dict):
        return short_repr(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
