"""Filters: the masks of predicates over one generation and what changed since, made once and kept up."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from engine.catalogue import predicate
from engine.catalogue.columns import Columns
from engine.catalogue.comparable_values import Kind
from engine.catalogue.filter_type_check import check, kinds_of
from engine.catalogue.predicate import CORE, PREFIX, Facts, Predicate
from engine.deadline import in_time
from engine.errors import InputError
from engine.recommending.values.searcher import Mask

LOOKED_AT = 1000  # changed items, for names of attributes that somebody may have meant
REMEMBERED = 32  # masks, a byte per item each


@dataclass(frozen=True, eq=False)
class LiveItem:
    """An item as it is now: changed since the build, or new."""

    item_id: str
    key: int
    fields: bytes  # JSON
    facts: Facts
    shown: bool


Changed = Mapping[int, LiveItem]  # row -> item


@dataclass(frozen=True, eq=False)
class _Made:
    """Masks and the state they were made for; none is written to again, so identity tells whether they hold."""

    changed: Changed
    allowed: Mask | None
    matching: Mask
    shown: Mask  # matching and allowed
    unknown: frozenset[str]  # attributes that no item has

    @cached_property
    def n_shown(self) -> int:
        return int(np.count_nonzero(self.shown))


class Filters:
    """The masks of one generation, the least recently asked for forgotten."""

    def __init__(self, built: Columns | None):
        self._columns = built
        self._made: OrderedDict[Predicate, _Made] = OrderedDict()
        self._lock = threading.Lock()

    def shown(self, asked: Predicate, changed: Changed, n_rows: int, allowed: Mask | None) -> Mask:
        """Which of a view's rows pass and may be shown, (n_rows,) bool. Not to be written to.

        InputError where the predicate compares an attribute with a type that no item has.
        """
        with self._lock:
            made = self._made.get(asked)
            if made is not None:
                self._made.move_to_end(asked)
        if made is None or made.changed is not changed or made.allowed is not allowed:
            same = made is not None and made.changed is changed
            matching = made.matching if made is not None and same else self._fresh(asked, changed, n_rows, made)
            unknown = made.unknown if made is not None and same else self._unknown(asked, changed)
            made = _Made(changed, allowed, matching, matching if allowed is None else matching & allowed, unknown)
            made.shown.flags.writeable = False  # what a searcher made of it may be kept
            self._remember(asked, made)
        return made.shown

    def n_shown(self, asked: Predicate, changed: Changed, allowed: Mask | None) -> int | None:
        """How many rows `shown` has, where that is remembered."""
        made = self._made.get(asked)
        return made.n_shown if made is not None and made.changed is changed and made.allowed is allowed else None

    def unknown_fields(self, asked: Predicate, changed: Changed) -> frozenset[str]:
        """Attributes in a predicate that no item has."""
        made = self._made.get(asked)
        return made.unknown if made is not None and made.changed is changed else self._unknown(asked, changed)

    def _unknown(self, asked: Predicate, changed: Changed) -> frozenset[str]:
        built = self._columns
        fields = {test.field for test in predicate.tests(asked)} - CORE.keys()
        fields = {field for field in fields if built is None or not built.has(field)}
        for item in changed.values() if fields else ():
            fields = {field for field in fields if item.facts.get(field) is None}
            if not fields:
                break
        return frozenset(fields)

    def attributes(self, changed: Changed) -> list[str]:
        """Names of attributes that items have; of those that changed, of some."""
        names = {} if self._columns is None else dict.fromkeys(self._columns.attributes["field"].to_pylist())
        for item in islice(changed.values(), LOOKED_AT):
            names |= dict.fromkeys(field for field, value in item.facts.items() if value is not None)
        return [name.removeprefix(PREFIX) for name in names if name not in CORE]

    def _remember(self, asked: Predicate, made: _Made) -> None:
        with self._lock:
            self._made[asked] = made
            self._made.move_to_end(asked)
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)

    def _fresh(self, asked: Predicate, changed: Changed, n_rows: int, before: _Made | None) -> Mask:
        """The mask of the columns, or that of an earlier state, with what changed since evaluated item by item."""
        mask = np.zeros(n_rows, dtype=bool)
        known: Changed = {}
        if before is not None and len(before.changed) <= len(changed):  # it grows: one with more is of a newer view
            known, start = before.changed, before.matching
        elif self._columns is not None:
            self._check(asked, changed)
            start = self._columns.mask(asked)
        else:
            start = mask
        mask[: len(start)] = start[:n_rows]
        for row, item in in_time(changed.items()):
            if known.get(row) is not item:
                mask[row] = predicate.matches(asked, item.facts)
        return mask

    def _check(self, asked: Predicate, changed: Changed) -> None:
        assert self._columns is not None
        try:
            check(asked, self._columns, {})
        except InputError:
            check(asked, self._columns, _kinds(asked, changed))


def _kinds(asked: Predicate, changed: Changed) -> dict[str, set[Kind]]:
    """The kinds of value that changed items have in the fields of a predicate."""
    fields = {test.field for test in predicate.tests(asked)}
    found: dict[str, set[Kind]] = {field: set() for field in fields}
    for item in in_time(changed.values()):
        for field in fields:
            found[field] |= kinds_of(item.facts.get(field))
    return found
