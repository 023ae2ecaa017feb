"""ItemValues: the values of one catalogue field by item. `Columns` has the same values by kind, for masks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.catalogue.columns import Columns, FieldValues
from engine.catalogue.comparable_values import Kind, Scalar
from engine.catalogue.predicate import field_values

Value = Scalar | tuple[str, bool]  # a bool is ("bool", value), because True == 1 in Python
Values = frozenset[Value]  # of one item; empty: no value
NO_VALUES: Values = frozenset()
MAX_FIELDS = 16  # cached fields, 16 bytes per item each


@dataclass(frozen=True, eq=False)
class ItemValues:
    starts: npt.NDArray[np.int64]  # (n_items + 1,), by row: the place of its first value in `codes`
    counts: npt.NDArray[np.int32]  # (n_items + 1,), how many values follow; the last is 0
    codes: npt.NDArray[np.int32]
    distinct: Sequence[Value]  # by code

    @cached_property
    def _single(self) -> list[Values]:
        """The values of an item with one value, by code; items share these objects."""
        return [frozenset([value]) for value in self.distinct]

    def of_rows(self, rows: Sequence[int]) -> list[Values]:
        """Empty for a row outside the catalogue."""
        n_items = len(self.starts) - 1
        at = np.array(rows, np.int64)
        at[(at < 0) | (at > n_items)] = n_items
        starts, counts = self.starts[at].tolist(), self.counts[at].tolist()
        single, codes = self._single, self.codes
        return [
            single[codes[start]] if n == 1 else self._several(start, n) if n else NO_VALUES
            for start, n in zip(starts, counts, strict=True)
        ]

    def rows_of(self, values: Values) -> list[int]:
        """The rows that have exactly these values, at least one, in their order."""
        code = self._code_of.get(next(iter(values)))
        if code is None:
            return []
        starts, rows = self._rows_by_code
        found: list[int] = rows[starts[code] : starts[code + 1]].tolist()
        if len(values) == 1 and not self._has_lists:
            return found
        counts = self.counts[found]
        if (counts == 1).all():
            return found if len(values) == 1 else []
        return [row for row, each in zip(found, self.of_rows(found), strict=True) if each == values]

    def rows_with_any(self, values: Values) -> npt.NDArray[np.int64]:
        """The rows that have at least one of these values; a row that has several of them comes several times."""
        starts, rows = self._rows_by_code
        codes = [code for value in values if (code := self._code_of.get(value)) is not None]
        return np.concatenate([np.zeros(0, np.int64), *(rows[starts[code] : starts[code + 1]] for code in codes)])

    @cached_property
    def _has_lists(self) -> bool:
        """Whether an item has several values."""
        return bool((self.counts > 1).any())

    @cached_property
    def _code_of(self) -> dict[Value, int]:
        return {value: code for code, value in enumerate(self.distinct)}

    @cached_property
    def _rows_by_code(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """By code, the place of its first row; and the rows. A value that is twice in a list counts once."""
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        order = np.argsort(self.codes, kind="stable")
        codes, rows = self.codes[order], rows[order]
        is_first = np.ones(len(rows), bool)
        is_first[1:] = (codes[1:] != codes[:-1]) | (rows[1:] != rows[:-1])
        n_rows = np.bincount(codes[is_first], minlength=len(self.distinct))
        return np.concatenate([[0], np.cumsum(n_rows)]), rows[is_first]

    def _several(self, start: int, n: int) -> Values:
        return frozenset([self.distinct[code] for code in self.codes[start : start + n].tolist()])


class ItemValuesCache:
    """The values of the fields of one generation; a field is read at its first use."""

    def __init__(self, columns: Columns):
        self._columns = columns
        self._cached: dict[str, ItemValues] = {}
        self._lock = threading.Lock()

    def get(self, field: str) -> ItemValues:
        """`field` as `Condition.field` names it; a field that no item has is empty."""
        found = self._cached.get(field)
        if found is None:
            with self._lock:
                found = self._cached.get(field) or item_values(self._columns, field)
                while len(self._cached) >= MAX_FIELDS:
                    self._cached.pop(next(iter(self._cached)))
                self._cached[field] = found
        return found


def item_values(columns: Columns, field: str) -> ItemValues:
    code_of: dict[Value, int] = {}
    rows, codes = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for kind in get_args(Kind):
        stored = columns.field_values(field, kind)
        if stored is not None:
            distinct, of_kind = _encoded(stored)
            shared = [code_of.setdefault(_value(kind, each), len(code_of)) for each in distinct]
            rows.append(stored.rows)
            codes.append(np.array(shared, np.int32)[of_kind])
    all_rows, all_codes = np.concatenate(rows), np.concatenate(codes)
    counts = np.bincount(all_rows, minlength=columns.catalogue.num_rows + 1).astype(np.int32)
    starts = np.cumsum(counts) - counts
    return ItemValues(starts, counts, all_codes[np.argsort(all_rows, kind="stable")], list(code_of))


def changed_values(field: str, value: object) -> Values:
    """The values of an item that has changed since the build, from its JSON value."""
    return frozenset(_value(kind, each) for kind, each in field_values(field, value))


class ChangedItem(Protocol):
    @property
    def facts(self) -> Mapping[str, object]:
        """By field, as `Condition.field` names it."""
        ...


def rows_of_groups(
    built: ItemValues | None, changed: Mapping[int, ChangedItem], field: str, groups: Sequence[Values]
) -> list[list[int]]:
    """For each group, the rows whose current values of the field are exactly these, at least one; in their order.

    `changed` are the items that changed since the build, by row.
    """
    found = [[row for row in built.rows_of(group) if row not in changed] if built else [] for group in groups]
    if changed:
        places = {group: at for at, group in enumerate(groups)}
        for row, item in changed.items():
            at = places.get(changed_values(field, item.facts.get(field)))
            if at is not None:
                found[at].append(row)
        for rows in found:
            rows.sort()
    return found


def rows_with_any(
    built: ItemValues | None, changed: Mapping[int, ChangedItem], field: str, values: Values
) -> npt.NDArray[np.int64]:
    """The rows that currently have at least one of these values in a field; `changed` as in `rows_of_groups`."""
    found = built.rows_with_any(values) if built else np.zeros(0, np.int64)
    if not changed:
        return found
    kept = found[~np.isin(found, np.fromiter(changed, np.int64, len(changed)))]
    facts = ((row, changed_values(field, item.facts.get(field))) for row, item in changed.items())
    return np.concatenate([kept, np.array([row for row, each in facts if each & values], np.int64)])


def _encoded(stored: FieldValues) -> tuple[list[Scalar], npt.NDArray[np.int64]]:
    """The distinct values, and the place of each value among them."""
    if not isinstance(stored.values, np.ndarray):
        encoded = pa.array(stored.values).dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    if stored.rests is None:
        distinct, places = np.unique(stored.values, return_inverse=True)
        return distinct.tolist(), places
    place_of: dict[Scalar, int] = {}
    pairs = zip(stored.values.tolist(), stored.rests.tolist(), strict=True)
    exact = [int(number) + rest if rest else number for number, rest in pairs]
    places = np.array([place_of.setdefault(each, len(place_of)) for each in exact], np.int64)
    return list(place_of), places


def _value(kind: Kind, scalar: Scalar) -> Value:
    """An element of a list equals the same value alone."""
    return ("bool", bool(scalar)) if kind == "bool" else scalar
