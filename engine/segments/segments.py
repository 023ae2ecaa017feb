"""Segments: the named groups of a space, of items and of users, from their stored documents.

    {"of": "items", "filter": {"categories": {"contains": "swimwear"}}}
    {"of": "users", "filter": {"n_purchases": {"gte": 3}}, "title": "Regulars"}

A filter may refer to other segments of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from engine.catalogue import predicate as predicates
from engine.catalogue.close_names import close_names
from engine.catalogue.comparable_values import Loc
from engine.catalogue.predicate import MAX_CONDITIONS, MAX_DEPTH
from engine.errors import InputError, short_repr
from engine.segments.references import expand
from engine.segments.user_fields import UserFacts
from engine.segments.user_filter import UserFilter, parse_user_filter
from engine.templates.filter_templates import resolved
from engine.templates.situation import PROBE

Of = Literal["items", "users"]
Document = Mapping[str, Any]
FIELDS = ("of", "filter", "title")
MAX_TITLE = 200
MAX_CHAIN = 8  # segments that refer to each other in a row
MAX_ENTRIES = (
    4 * MAX_CONDITIONS
)  # a segment that refers to others doubles their filters, so their size is bounded early
MAX_NESTED = 4 * MAX_DEPTH


@dataclass(frozen=True, eq=False)
class Segments:
    """Filters by name of segment. An item filter is JSON without references, a user filter is parsed."""

    items: Mapping[str, object] = field(default_factory=dict)
    users: Mapping[str, UserFilter] = field(default_factory=dict)
    documents: Mapping[str, Document] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)  # name -> why the segment cannot be used

    def expand(self, filter_: object, loc: Loc) -> object:
        """A filter of items, as JSON, with references replaced. InputError for an unknown segment."""
        return expand(filter_, loc, self._item_filter)

    def field_name(self, name: str, loc: Loc) -> str:
        return name

    def user_filter(self, name: str, loc: Loc) -> UserFilter:
        """InputError for a segment that does not exist, or is of items."""
        found = self.users.get(name)
        if found is None:
            raise InputError(self._missing(name, "users"), loc=loc)
        return found

    def of_user(self, user: UserFacts, now_us: int) -> list[str]:
        """The names of the segments that a user is in. The facts have the lists of `user_lists`."""
        return sorted(name for name, filter_ in self.users.items() if filter_.matches(user, now_us))

    def _item_filter(self, name: str, loc: Loc) -> object:
        if name not in self.items:
            raise InputError(self._missing(name, "items"), loc=loc)
        return self.items[name]

    def _missing(self, name: str, of: Of) -> str:
        if name in self.broken:
            return f"segment {short_repr(name)} cannot be used: {self.broken[name]}"
        return _why_missing(name, of, self.documents)

    @cached_property
    def user_lists(self) -> frozenset[str]:
        """The lists of users' facts that the filters of users read."""
        return frozenset(each for filter_ in self.users.values() for each in filter_.lists)


NO_SEGMENTS = Segments()


def parse_segments(documents: Mapping[str, Document]) -> Segments:
    """The segments of stored documents. One that cannot be parsed is left out and named in `broken`."""
    items: dict[str, object] = {}
    users: dict[str, UserFilter] = {}
    broken: dict[str, str] = {}
    for name in documents:
        try:
            found = parse_segment(name, documents, ())
        except InputError as error:
            broken[name] = str(error)
        else:
            if isinstance(found, UserFilter):
                users[name] = found
            else:
                items[name] = found
    return Segments(items, users, documents, broken)


def parse_segment(name: str, documents: Mapping[str, Document], loc: Loc = ("body",)) -> object | UserFilter:
    """The filter of the segment `name`; InputError names the wrong part of its document, which is one of `documents`.

    A filter of items is returned as JSON without references, and is known to parse.
    """
    document = documents[name]
    of = _check_document(document, loc)
    filter_ = _resolved(name, of, documents, (*loc, "filter"), ())
    if of == "users":
        return parse_user_filter(filter_, (*loc, "filter"))
    predicates.parse(resolved(filter_, (*loc, "filter"), PROBE), (*loc, "filter"))
    return filter_


def _check_document(document: object, loc: Loc) -> Of:
    if not isinstance(document, Mapping):
        expected = 'expected an object such as {"of": "items", "filter": {"price": {"lt": 30}}}'
        raise InputError(f"{expected}, got {short_repr(document)}", loc=loc)
    for name in document:
        if name not in FIELDS:
            raise InputError(f"a segment has the fields {', '.join(FIELDS)}; got {short_repr(name)}", loc=(*loc, name))
    of, title = document.get("of"), document.get("title")
    if of not in ("items", "users"):
        raise InputError(f"expected a segment of items or of users, got {short_repr(of)}", loc=(*loc, "of"))
    if title is not None and (not isinstance(title, str) or len(title) > MAX_TITLE):
        raise InputError(f"expected text of at most {MAX_TITLE} characters", loc=(*loc, "title"))
    if "filter" not in document:
        raise InputError("a segment has a filter", loc=(*loc, "filter"))
    found: Of = of
    return found


def _resolved(name: str, of: Of, documents: Mapping[str, Document], loc: Loc, above: tuple[str, ...]) -> object:
    """The filter of a segment with references replaced; InputError for a circle."""
    path = (*above, name)
    if name in above:
        raise InputError(f"the segments refer to each other in a circle: {' -> '.join(path)}", loc=loc)
    if len(above) >= MAX_CHAIN:
        raise InputError(f"segments refer to each other more than {MAX_CHAIN} times in a row", loc=loc)

    def lookup(other: str, at: Loc) -> object:
        document = documents.get(other)
        if not isinstance(document, Mapping) or document.get("of") != of:
            raise InputError(_why_missing(other, of, documents), loc=at)
        return _resolved(other, of, documents, at, path)

    own = documents[name].get("filter")
    found = expand(own, loc, lookup)
    if found is not own and _n_entries(found, loc) > MAX_ENTRIES:
        raise InputError("the filter is too large with the segments that it refers to", loc=loc)
    return found


def _n_entries(filter_: object, loc: Loc, depth: int = 0) -> int:
    """The number of entries of a filter, operators included."""
    if depth > MAX_NESTED:
        raise InputError(f"a filter nests at most {MAX_DEPTH} deep", loc=loc)
    parts = filter_.values() if isinstance(filter_, Mapping) else filter_ if isinstance(filter_, list) else ()
    own = len(filter_) if isinstance(filter_, Mapping) else 0
    return own + sum(_n_entries(part, loc, depth + 1) for part in parts)


def _why_missing(name: str, of: Of, documents: Mapping[str, Document]) -> str:
    if name in documents:
        other = "users" if of == "items" else "items"
        return f"{short_repr(name)} is a segment of {other}, expected a segment of {of}"
    close = close_names(name, (each for each, document in documents.items() if document.get("of") == of))
    hint = f"; similar names: {', '.join(close)}" if close else ""
    return f"there is no segment of {of} {short_repr(name)}{hint}"


def check_segment(name: str, document: Document, others: Mapping[str, Document]) -> None:
    """InputError when a document is wrong, or makes one of the segments that refer to it unusable."""
    documents = {**others, name: document}
    parse_segment(name, documents)
    broken = parse_segments(documents).broken.items() - parse_segments(others).broken.items()
    for other, why in sorted(broken):
        raise InputError(f"segment {short_repr(other)}, which refers to it, could not be used: {why}", loc=("body",))
