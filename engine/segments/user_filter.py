"""UserFilter: a predicate over the fields of a user, in the language of item filters.

    {"attributes.country": "DE", "n_purchases": {"gte": 3}, "last_event_at": {"gte": "now-30d"}}
    {"or": [{"categories_bought": {"contains": "shoes"}}, {"not": {"n_events": {"gt": 0}}}]}

A time is ISO 8601 text, or relative to the moment of the evaluation. `attributes.NAME` accepts a relative time beside
lt, lte, gt and gte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from engine.catalogue import predicate as predicates
from engine.catalogue.close_names import close_names
from engine.catalogue.comparable_values import KIND_NAMES, Loc, Scalar, parse_moment
from engine.catalogue.predicate import MAX_CONDITIONS, MAX_DEPTH, ORDERS, AllOf, AnyOf, Condition, Not, Predicate
from engine.errors import InputError, short_repr
from engine.segments.user_fields import KINDS, LISTS, PREFIX, UserFacts, UserKind
from engine.values.durations import parse_now

EXPECTED = f"expected `attributes.NAME` or a field of {', '.join(KINDS)}"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class UserFilter:
    predicate: Predicate  # times are text

    @cached_property
    def lists(self) -> frozenset[str]:
        """The lists of LISTS that the filter reads."""
        fields = {condition.field.removeprefix(PREFIX) for condition in predicates.conditions(self.predicate)}
        return frozenset(LISTS) & fields

    def at(self, now_us: int) -> Predicate:
        """The predicate at a moment; times of computed fields are numbers, in microseconds."""
        return _map(self.predicate, lambda condition: _resolved(condition, now_us))

    def matches(self, user: UserFacts, now_us: int) -> bool:
        return predicates.matches(self.at(now_us), user.by_field())


def parse_user_filter(value: object, loc: Loc = ("filter",)) -> UserFilter:
    """Parse a JSON value. InputError names the part that is wrong."""
    predicate = _parse(value, loc, 1)
    if sum(1 for _ in predicates.conditions(predicate)) > MAX_CONDITIONS:
        raise InputError(f"a filter has at most {MAX_CONDITIONS} conditions", loc=loc)
    return UserFilter(predicate)


def _parse(value: object, loc: Loc, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise InputError(f"a filter nests at most {MAX_DEPTH} deep", loc=loc)
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MAX_CONDITIONS:
        expected = 'expected an object such as {"n_purchases": {"gte": 3}}'
        raise InputError(f"{expected}, got {short_repr(value)}", loc=loc)
    parts = [_entry(str(name), each, (*loc, str(name)), depth) for name, each in value.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _entry(name: str, value: object, loc: Loc, depth: int) -> Predicate:
    if name == "not":
        return Not(_parse(value, loc, depth + 1))
    if name in ("and", "or"):
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_CONDITIONS:
            expected = f"`{name}` takes a list of 1 to {MAX_CONDITIONS} filters"
            raise InputError(f"{expected}, got {short_repr(value)}", loc=loc)
        parts = tuple(_parse(each, (*loc, at), depth + 1) for at, each in enumerate(value))
        return AllOf(parts) if name == "and" else AnyOf(parts)
    if name.startswith(predicates.PREFIX):
        field = predicates.canonical_field(name, loc)
        return _checked(predicates.field_conditions(field, value, loc), _check_relative)
    if name not in KINDS:
        close = close_names(name, [*KINDS, predicates.PREFIX + name])
        hint = f"; did you mean {' or '.join(close)}" if close else ""
        raise InputError(f"{EXPECTED}, got {short_repr(name)}{hint}", loc=loc)
    kind = KINDS[name]
    return _checked(predicates.field_conditions(PREFIX + name, value, loc), lambda each: _check_kind(each, name, kind))


def _checked(predicate: Predicate, check: Callable[[Condition], None]) -> Predicate:
    for condition in predicates.conditions(predicate):
        check(condition)
    return predicate


def _check_kind(condition: Condition, name: str, kind: UserKind) -> None:
    """Whether a condition compares a computed field with values of its kind, by an operator that the kind has."""
    if condition.operator == "exists":
        return
    asked = "number" if kind == "number" else "text"
    is_list = kind == "texts"
    if condition.kind != asked or (is_list and condition.operator in ORDERS):
        hint = (
            "; use `contains`" if is_list else "; a time is written as 2026-03-01 or now-30d" if kind == "time" else ""
        )
        asks = f"`{condition.operator}` asks for {KIND_NAMES[condition.kind]}"
        raise InputError(f"{name} holds {KIND_NAMES[kind]}, {asks}{hint}", loc=condition.loc)
    if condition.operator == "contains" and kind in ("number", "time"):
        raise InputError(f"{name} holds {KIND_NAMES[kind]}, `contains` asks for text", loc=condition.loc)
    if kind == "time":
        for text in _values(condition):
            if parse_now(text, condition.loc) is None and parse_moment(str(text)) is None:
                expected = "expected a time such as 2026-03-01T12:00:00Z or now-30d"
                raise InputError(f"{expected}, got {short_repr(text)}", loc=condition.loc)


def _check_relative(condition: Condition) -> None:
    if condition.operator in ORDERS:
        parse_now(condition.value, condition.loc)


def _values(condition: Condition) -> tuple[Scalar, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _map(predicate: Predicate, change: Callable[[Condition], Condition]) -> Predicate:
    if isinstance(predicate, Condition):
        return change(predicate)
    if isinstance(predicate, Not):
        return Not(_map(predicate.part, change))
    parts = tuple(_map(part, change) for part in predicate.parts)
    return AllOf(parts) if isinstance(predicate, AllOf) else AnyOf(parts)


def _resolved(condition: Condition, now_us: int) -> Condition:
    if condition.operator == "exists":
        return condition
    if KINDS.get(condition.field.removeprefix(PREFIX)) == "time" and condition.field.startswith(PREFIX):
        moments = tuple(sorted(set(_moments(condition, now_us))))
        value = moments if condition.operator == "in" else moments[0]
        return replace(condition, value=value, kind="number", match_case=None)
    if condition.operator in ORDERS and condition.kind == "text":
        offset_us = parse_now(condition.value, condition.loc)
        if offset_us is not None:
            at = EPOCH + timedelta(microseconds=now_us + offset_us)
            return replace(condition, value=at.isoformat())
    return condition


def _moments(condition: Condition, now_us: int) -> Iterator[float]:
    for text in _values(condition):
        offset_us = parse_now(text, condition.loc)
        moment = parse_moment(str(text)) if offset_us is None else float(now_us + offset_us)
        assert moment is not None
        yield moment
