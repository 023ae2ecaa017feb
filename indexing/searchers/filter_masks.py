"""FilterMasks: the masks of catalogue filters over one generation and the changes since, cached and updated."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from engine.catalogue import predicate as predicates
from engine.catalogue.columns import Columns
from engine.catalogue.comparable_values import Kind
from engine.catalogue.filter_type_check import check_types, kinds_of
from engine.catalogue.predicate import CORE, PREFIX, ItemFields, Predicate
from engine.deadline import until_deadline
from engine.errors import InputError
from engine.recommending.values.searcher import Mask

MAX_CHANGED_ITEMS = 1000  # whose attribute names are listed as suggestions
MAX_MASKS = 32  # a byte per item each


@dataclass(frozen=True, eq=False)
class LiveItem:
    """The current state of an item that is new or has changed since the build."""

    item_id: str
    key: int
    fields: bytes  # JSON
    facts: ItemFields
    shown: bool  # available and not deleted


Changed = Mapping[int, LiveItem]  # row -> item


@dataclass(frozen=True, eq=False)
class _CachedMask:
    """Masks and the state they were computed from. The state is immutable, so the same objects mean a valid mask."""

    changed: Changed
    allowed: Mask | None
    matching: Mask
    shown: Mask  # matching and allowed
    unknown: frozenset[str]  # attributes that no item has

    @cached_property
    def n_shown(self) -> int:
        return int(np.count_nonzero(self.shown))


class FilterMasks:
    """The masks of one generation; an LRU cache by predicate."""

    def __init__(self, built: Columns | None):
        self._columns = built
        self._cached: OrderedDict[Predicate, _CachedMask] = OrderedDict()
        self._lock = threading.Lock()

    def shown(self, predicate: Predicate, changed: Changed, n_rows: int, allowed: Mask | None) -> Mask:
        """(n_rows,) read-only bool: the rows of a view that match and may be shown.

        InputError where the predicate compares an attribute with a type that no item has.
        """
        with self._lock:
            cached = self._cached.get(predicate)
            if cached is not None:
                self._cached.move_to_end(predicate)
        if cached is None or cached.changed is not changed or cached.allowed is not allowed:
            if cached is not None and cached.changed is changed:
                matching, unknown = cached.matching, cached.unknown
            else:
                matching = self._matching(predicate, changed, n_rows, cached)
                unknown = self._unknown(predicate, changed)
            shown = matching if allowed is None else matching & allowed
            cached = _CachedMask(changed, allowed, matching, shown, unknown)
            cached.shown.flags.writeable = False  # searchers cache by read-only mask
            self._store(predicate, cached)
        return cached.shown

    def n_shown(self, predicate: Predicate, changed: Changed, allowed: Mask | None) -> int | None:
        """The number of rows of `shown`, where that mask is cached."""
        cached = self._cached.get(predicate)
        valid = cached is not None and cached.changed is changed and cached.allowed is allowed
        return cached.n_shown if cached is not None and valid else None

    def unknown_fields(self, predicate: Predicate, changed: Changed) -> frozenset[str]:
        """Attributes in a predicate that no item has."""
        cached = self._cached.get(predicate)
        valid = cached is not None and cached.changed is changed
        return cached.unknown if cached is not None and valid else self._unknown(predicate, changed)

    def _unknown(self, predicate: Predicate, changed: Changed) -> frozenset[str]:
        built = self._columns
        fields = {test.field for test in predicates.conditions(predicate)} - CORE.keys()
        fields = {field for field in fields if built is None or not built.has(field)}
        for item in changed.values() if fields else ():
            fields = {field for field in fields if item.facts.get(field) is None}
            if not fields:
                break
        return frozenset(fields)

    def accepts(self, predicate: Predicate, changed: Changed) -> bool:
        """Whether `shown` takes the predicate: False where it compares an attribute with a type that no item has."""
        try:
            if self._columns is not None:
                self.check_types(predicate, changed)
        except InputError:
            return False
        return True

    def check_types(self, predicate: Predicate, changed: Changed) -> None:
        """InputError where a predicate compares an attribute with a type that no item has."""
        try:
            check_types(predicate, self._columns, {})
        except InputError:
            check_types(predicate, self._columns, _kinds(predicate, changed))
        if self._columns is None:
            check_types(predicate, None, _kinds(predicate, changed))

    def attributes(self, changed: Changed) -> list[str]:
        """Names of attributes that items have; looks at no more than MAX_CHANGED_ITEMS changed items."""
        names = {} if self._columns is None else dict.fromkeys(self._columns.attributes["field"].to_pylist())
        for item in islice(changed.values(), MAX_CHANGED_ITEMS):
            names |= dict.fromkeys(field for field, value in item.facts.items() if value is not None)
        return [name.removeprefix(PREFIX) for name in names if name not in CORE]

    def _store(self, predicate: Predicate, cached: _CachedMask) -> None:
        with self._lock:
            self._cached[predicate] = cached
            self._cached.move_to_end(predicate)
            while len(self._cached) > MAX_MASKS:
                self._cached.popitem(last=False)

    def _matching(self, predicate: Predicate, changed: Changed, n_rows: int, previous: _CachedMask | None) -> Mask:
        """The mask of the columns, or of an earlier state, with the items that changed since evaluated one by one."""
        mask = np.zeros(n_rows, dtype=bool)
        evaluated: Changed = {}
        # `changed` only grows, so a mask with more changed items belongs to a newer view
        if previous is not None and len(previous.changed) <= len(changed):
            evaluated, start = previous.changed, previous.matching
        elif self._columns is not None:
            self.check_types(predicate, changed)
            start = self._columns.mask(predicate)
        else:
            start = mask
        mask[: len(start)] = start[:n_rows]
        for row, item in until_deadline(changed.items()):
            if evaluated.get(row) is not item:
                mask[row] = predicates.matches(predicate, item.facts)
        return mask


def _kinds(predicate: Predicate, changed: Changed) -> dict[str, set[Kind]]:
    """The kinds of value that changed items have in the fields of a predicate."""
    fields = {test.field for test in predicates.conditions(predicate)}
    kinds: dict[str, set[Kind]] = {field: set() for field in fields}
    for item in until_deadline(changed.values()):
        for field in fields:
            kinds[field] |= kinds_of(item.facts.get(field))
    return kinds
