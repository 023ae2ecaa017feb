"""Features: records of numbers and categories, as they were measured; what becomes of them is in preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.ids import IdMap
from engine.vectors import read_only

Values = npt.NDArray[np.float64]  # numbers as they are, categories as their place in the column's list, NaN is missing
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})  # lower case, what exports write for no value
SHOWN = 5


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


def check_column_set(expected: Sequence[Column], given: Sequence[str]) -> None:
    """InputError that lists the columns that are missing and those nobody asked for."""
    names = [column.name for column in expected]
    missing, unexpected = [n for n in names if n not in given], [n for n in given if n not in names]
    if missing or unexpected:
        parts = [f"missing {_some(missing)}"] if missing else []
        parts += [f"unexpected {_some(unexpected)}"] if unexpected else []
        raise InputError(f"expected the {len(names)} columns this was made of; {'; '.join(parts)}", loc=("records",))


def from_records(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> Values:
    """(n, n_columns) values of records with exactly these columns; null or NaN is missing.

    Raises InputError for another column set, text in a numeric column, an infinity or an unseen category.
    """
    values = np.empty((len(records), len(columns)))
    known = [None if column.categories is None else _places(column.categories) for column in columns]
    for row, record in enumerate(records):
        if record.keys() != {column.name for column in columns}:
            check_column_set(columns, list(record))
        for at, column in enumerate(columns):
            cell, places = record[column.name], known[at]
            loc = ("records", row, column.name)
            values[row, at] = _number(cell, column, loc) if places is None else _place(cell, column, places, loc)
    return values


def check_finite(columns: Sequence[Column], values: npt.NDArray[np.floating]) -> None:
    """InputError for the first infinity; NaN is a missing value and stays."""
    infinite = np.isinf(values)
    if infinite.any():
        row, at = np.argwhere(infinite)[0]
        raise InputError(
            f"column {columns[at].name!r} has an infinity in row {row + 1}; leave the cell empty for a missing value",
            loc=("records", int(row), columns[at].name),
        )


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
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return float("nan")
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"column {column.name!r} is numeric, got {_short(cell)}", loc=loc) from None
    if np.isinf(number):
        raise InputError(f"column {column.name!r} has an infinity; send null for a missing value", loc=loc)
    return number


def _place(cell: object, column: Column, places: Mapping[str, int], loc: tuple[str | int, ...]) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING):
        return float("nan")
    text = str(cell)
    if text not in places:
        raise InputError(
            f"column {column.name!r} has never had the category {_short(text)}; it knows {_some(list(places))}. "
            "Import records that have it and train again, or send null",
            loc=loc,
        )
    return float(places[text])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
