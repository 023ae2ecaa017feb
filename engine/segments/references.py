"""References to segments in filters: `{"segment": "summer"}`, or several names, of which one is enough.

A reference is replaced by the filter of the segment before the filter is parsed, so segments work wherever filters do.
`segment` is a word of the filter language, like `and`; an attribute of that name is `attributes.segment`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from engine.catalogue.comparable_values import Loc
from engine.catalogue.predicate import MAX_CONDITIONS
from engine.errors import InputError, short_repr

WORD = "segment"
MAX_NAMES = 100  # in one reference
MAX_DEPTH = 32  # of the filter that is searched for references; the parser has a lower limit of its own

Lookup = Callable[[str, Loc], object]  # the filter of a segment, without references


class Expander(Protocol):
    """Makes a filter, as JSON, ready to be parsed."""

    def expand(self, filter_: object, loc: Loc) -> object:
        """The filter without references. InputError names a wrong one."""
        ...

    def field_name(self, name: str, loc: Loc) -> str:
        """The name of a field without references."""
        ...


def has_reference(value: object, depth: int = 0) -> bool:
    """Whether a filter, as JSON, refers to a segment."""
    if depth > MAX_DEPTH or not isinstance(value, Mapping):
        return False
    if WORD in value:
        return True
    lists = [part for word in ("and", "or") if isinstance(value.get(word), list) for part in value[word]]
    return any(has_reference(part, depth + 1) for part in (*lists, value.get("not")))


def expand(value: object, loc: Loc, lookup: Lookup) -> object:
    """A filter, as JSON, with every reference replaced; the filter itself if it has none. InputError for more than
    MAX_CONDITIONS references."""
    if not has_reference(value):
        return value
    n_left = MAX_CONDITIONS

    def counted(name: str, at: Loc) -> object:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise InputError(f"a filter has at most {MAX_CONDITIONS} references to segments", loc=loc)
        return lookup(name, at)

    return _expanded(value, loc, counted)


def _expanded(value: object, loc: Loc, lookup: Lookup, depth: int = 0) -> object:
    if not isinstance(value, Mapping) or depth > MAX_DEPTH:
        return value
    made: dict[str, object] = {}
    for name, each in value.items():
        if name in ("and", "or") and isinstance(each, list):
            made[name] = [_expanded(part, (*loc, name, at), lookup, depth + 1) for at, part in enumerate(each)]
        elif name == "not":
            made[name] = _expanded(each, (*loc, name), lookup, depth + 1)
        elif name != WORD:
            made[name] = each
    if WORD not in value:
        return made
    found = _filter_of(value[WORD], (*loc, WORD), lookup)
    if not made:
        return found
    parts = made.get("and", [])
    return made | {"and": [*parts, found]} if isinstance(parts, list) else made


def _filter_of(names: object, loc: Loc, lookup: Lookup) -> object:
    """The filter of a segment, or of any of several."""
    if isinstance(names, str):
        return lookup(names, loc)
    if (
        not isinstance(names, list)
        or not 1 <= len(names) <= MAX_NAMES
        or not all(isinstance(each, str) for each in names)
    ):
        expected = f"expected the name of a segment, or a list of 1 to {MAX_NAMES} names"
        hint = "; an attribute of this name is `attributes.segment`"
        raise InputError(f"{expected}, got {short_repr(names)}{hint}", loc=loc)
    return {"or": [lookup(each, (*loc, at)) for at, each in enumerate(names)]}


def names_in(value: object, words: tuple[str, ...] = (WORD, "segments"), depth: int = 0) -> set[str]:
    """The names of segments that a document mentions, in its filters or in the conditions of a rule."""
    if depth > MAX_DEPTH or not isinstance(value, Mapping | list):
        return set()
    found: set[str] = set()
    for key, each in value.items() if isinstance(value, Mapping) else enumerate(value):
        if key in words and isinstance(each, str | list):
            found |= {name for name in ([each] if isinstance(each, str) else each) if isinstance(name, str)}
        found |= names_in(each, words, depth + 1)
    return found
