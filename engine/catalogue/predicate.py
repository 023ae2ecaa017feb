"""The filter language: a predicate over catalogue fields, as JSON, that selects the items that a shelf may show.

    {"price": {"lt": 30}, "categories": {"contains": "shoes"}, "brand": ["Acme", "Best"], "available": true}
    {"or": [{"colour": "red"}, {"not": {"price": {"gte": 100}}}]}

All entries of an object must match. The value of a field is a scalar (equal), a list (in) or an object of operators:
`eq in lt lte gt gte contains exists`. `and` and `or` take lists of predicates, `not` takes one. Fields are `item_id`,
`title`, `categories`, `available`, `created_at`, `updated_at` (ISO 8601) and every attribute. `attributes.NAME` selects
an attribute that has the name of a field or an operator. `eq` and `in` match a list if they match one of its elements.
`contains` matches an element of a list, or a substring of text. Substrings are compared without case, all other text
with case; `match_case` changes this: `{"brand": {"eq": "acme", "match_case": false}}`. A missing or null value matches
only `{"exists": false}` and `not`. Integers of 64 bits are compared exactly. Two texts that are dates or times
(ISO 8601) are compared as times; without a time zone they are UTC.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from engine.catalogue.comparable_values import (
    KIND_NAMES,
    LIST_KINDS,
    Kind,
    Loc,
    Scalar,
    check_filter_text,
    comparables,
    fold_case,
    parse_moment,
    parse_time,
)
from engine.errors import InputError, short_repr
from engine.values.ids import normalise_id

CORE: Mapping[str, Kind] = {
    "item_id": "text",
    "title": "text",
    "categories": "texts",
    "available": "bool",
    "created_at": "time",
    "updated_at": "time",
}
ORDERS: Mapping[str, Callable[[Scalar, Scalar], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
OPERATORS = ("eq", "in", *ORDERS, "contains", "exists")
MATCH_CASE, CASE_OPERATORS = "match_case", ("eq", "in", "contains")  # the option, and the operators that accept it
PREFIX = "attributes."
MAX_DEPTH, MAX_CONDITIONS, MAX_VALUES = 8, 100, 1000


@dataclass(frozen=True)
class Condition:
    """One operator on one field. `value` is a scalar, or a tuple of scalars for `in`; `kind` is the kind of the value.

    If `match_case` is None, substrings are compared without case and all other text with case. If it is False, `value`
    is case-folded.
    """

    field: str  # a core field, or "attributes." and a name
    operator: str
    value: Scalar | tuple[Scalar, ...]
    kind: Kind
    match_case: bool | None = None
    loc: Loc = dataclasses.field(default=(), compare=False)  # not compared, so that equal conditions share a mask

    @cached_property
    def moments(self) -> tuple[float, ...]:
        """The times in the value of a text comparison; these are compared with stored times as times, not as text."""
        if self.kind != "text" or self.operator == "contains":
            return ()
        texts = self.value if isinstance(self.value, tuple) else (self.value,)
        return tuple(at for text in texts if (at := parse_moment(str(text))) is not None)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of stored values that the condition can match; empty for `exists`."""
        if self.operator == "exists":
            return ()
        if self.operator == "contains":
            return ("texts", "text") if self.kind == "text" else ("numbers",)
        elements = LIST_KINDS.get(self.kind)
        return (self.kind,) if elements is None or self.operator in ORDERS else (self.kind, elements)


@dataclass(frozen=True)
class AllOf:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class AnyOf:
    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Not:
    part: Predicate


Predicate = Condition | AllOf | AnyOf | Not


def parse(value: object, loc: Loc = ("filter",)) -> Predicate:
    """Parse a JSON value. InputError names the invalid part, or a depth above 8 or more than 100 conditions."""
    predicate = _parse(value, loc, 1)
    if sum(1 for _ in conditions(predicate)) > MAX_CONDITIONS:
        raise InputError(f"a filter has at most {MAX_CONDITIONS} conditions", loc=loc)
    return predicate


def conditions(predicate: Predicate) -> Iterator[Condition]:
    """All conditions of a predicate."""
    if isinstance(predicate, Condition):
        yield predicate
    elif isinstance(predicate, Not):
        yield from conditions(predicate.part)
    else:
        for part in predicate.parts:
            yield from conditions(part)


def _parse(value: object, loc: Loc, depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise InputError(f"a filter nests at most {MAX_DEPTH} deep", loc=loc)
    if not isinstance(value, Mapping) or not value:
        raise InputError(f'expected an object such as {{"price": {{"lt": 30}}}}, got {short_repr(value)}', loc=loc)
    if len(value) > MAX_CONDITIONS:
        raise InputError(f"a filter has at most {MAX_CONDITIONS} conditions", loc=loc)
    parts = [_entry(str(name), each, (*loc, str(name)), depth) for name, each in value.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _entry(name: str, value: object, loc: Loc, depth: int) -> Predicate:
    if name == "not":
        return Not(_parse(value, loc, depth + 1))
    if name in ("and", "or"):
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_CONDITIONS:
            raise InputError(
                f"`{name}` takes a list of 1 to {MAX_CONDITIONS} filters, got {short_repr(value)}", loc=loc
            )
        parts = tuple(_parse(each, (*loc, at), depth + 1) for at, each in enumerate(value))
        return AllOf(parts) if name == "and" else AnyOf(parts)
    if name in OPERATORS and name not in CORE:
        raise InputError(f'`{name}` follows a field, as in {{"price": {{"{name}": ...}}}}', loc=loc)
    return field_conditions(canonical_field(name, loc), value, loc)


def canonical_field(name: str, loc: Loc) -> str:
    check_filter_text(name, loc)
    return name if name in CORE or name.startswith(PREFIX) else PREFIX + name


def field_conditions(field: str, value: object, loc: Loc) -> Predicate:
    """The conditions on one field, from a scalar, a list or an object of operators."""
    if not isinstance(value, Mapping):
        return _test(field, "in" if isinstance(value, list) else "eq", value, loc)
    if not value:
        raise InputError(f"expected an operator of {', '.join(OPERATORS)}, got none", loc=loc)
    match_case = _match_case(value, loc)
    found = []
    for name, each in value.items():
        if name == MATCH_CASE:
            continue
        if name not in OPERATORS:
            raise InputError(
                f"expected an operator of {', '.join(OPERATORS)}, got {short_repr(name)}", loc=(*loc, name)
            )
        found.append(_test(field, name, each, (*loc, name), match_case))
    return found[0] if len(found) == 1 else AllOf(tuple(found))


def _match_case(value: Mapping[str, object], loc: Loc) -> bool | None:
    """The option `match_case` among the operators of a field; None if absent."""
    match_case = value.get(MATCH_CASE)
    if MATCH_CASE not in value:
        return None
    if not isinstance(match_case, bool) or not value.keys() & set(CASE_OPERATORS):
        raise InputError(
            f"`{MATCH_CASE}` is true or false beside {', '.join(CASE_OPERATORS)}, got {short_repr(match_case)}",
            loc=(*loc, MATCH_CASE),
        )
    return match_case


def _test(field: str, name: str, value: object, loc: Loc, match_case: bool | None = None) -> Condition:
    if name == "exists":
        if not isinstance(value, bool):
            raise InputError(f"`exists` takes true or false, got {short_repr(value)}", loc=loc)
        return Condition(field, name, value, "bool", loc=loc)
    if name == "in":
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
            raise InputError(f"expected a list of 1 to {MAX_VALUES} values, got {short_repr(value)}", loc=loc)
        pairs = [_scalar(field, each, (*loc, at)) for at, each in enumerate(value)]
        if len({kind for kind, _ in pairs}) > 1:
            raise InputError("expected values of one type: numbers, text or true and false", loc=loc)
    else:
        pairs = [_scalar(field, value, loc)]
    kind = pairs[0][0]
    if kind != "text" or name not in CASE_OPERATORS:
        match_case = None
    scalars = [fold_case(scalar, match_case) for _, scalar in pairs]
    condition = Condition(
        field, name, tuple(sorted(set(scalars))) if name == "in" else scalars[0], kind, match_case, loc
    )
    _check_operator(condition, loc)
    return condition


def _check_operator(condition: Condition, loc: Loc) -> None:
    """The checks that need no data: operator against kind, and against the kind of a core field."""
    if condition.operator in ORDERS and condition.kind == "bool":
        raise InputError(f"`{condition.operator}` compares numbers, text or times, got true or false", loc=loc)
    if condition.operator == "contains" and condition.kind in ("bool", "time"):
        raise InputError("`contains` asks for text or a number", loc=loc)
    stored = CORE.get(condition.field)
    if stored is not None and stored not in condition.kinds:
        hint = "; use `contains`" if stored == "texts" else ""
        asked = f"`{condition.operator}` asks for {KIND_NAMES[condition.kind]}"
        raise InputError(f"{condition.field} holds {KIND_NAMES[stored]}, {asked}{hint}", loc=loc)


def _scalar(field: str, value: object, loc: Loc) -> tuple[Kind, Scalar]:
    if CORE.get(field) == "time":
        return "time", parse_time(value, loc)
    pairs = comparables(value)
    if not pairs or isinstance(value, list):
        raise InputError(f"expected a number, text, true or false, got {short_repr(value)}", loc=loc)
    [(kind, scalar)] = pairs
    if isinstance(scalar, str):
        check_filter_text(scalar, loc)
        if field == "item_id":
            scalar = normalise_id(scalar)
    return kind, scalar


ItemFields = Mapping[str, object]  # field -> JSON value, as `Condition.field` names it; times in microseconds


def name_clash_note(name: str) -> str:
    """The note for an attribute that has the name of a core field."""
    return f"{name} is a field of every item; filters name this attribute {PREFIX}{name}"


def item_fields(item: Mapping[str, object], attributes: Mapping[str, object]) -> ItemFields:
    """The fields of a catalogue row and its attributes, by their names in filters."""
    return {name: item[name] for name in CORE} | {PREFIX + name: value for name, value in attributes.items()}


def matches(predicate: Predicate, item: ItemFields) -> bool:
    """Whether one item matches; a value of another kind does not. `Columns.mask` computes the same for all items."""
    if isinstance(predicate, Not):
        return not matches(predicate.part, item)
    if isinstance(predicate, AllOf):
        return all(matches(part, item) for part in predicate.parts)
    if isinstance(predicate, AnyOf):
        return any(matches(part, item) for part in predicate.parts)
    value = item.get(predicate.field)
    if predicate.operator == "exists":
        return (value is not None) == predicate.value
    return any(
        kind in predicate.kinds and holds(predicate, kind, each) for kind, each in field_values(predicate.field, value)
    )


def field_values(field: str, value: object) -> list[tuple[Kind, Scalar]]:
    """`comparables` of a field's value; the numbers of a time field have the kind `time`."""
    kind = CORE.get(field)
    return [(kind, each) for _, each in comparables(value)] if kind == "time" else comparables(value)


def holds(condition: Condition, kind: Kind, value: Scalar) -> bool:
    """Whether a stored scalar of the given kind satisfies the condition."""
    at = parse_moment(value) if condition.moments and isinstance(value, str) else None
    if at is not None:
        return (
            at in condition.moments
            if condition.operator in ("eq", "in")
            else ORDERS[condition.operator](at, condition.moments[0])
        )
    wanted, value = condition.value, fold_case(value, condition.match_case)
    if condition.operator == "in":
        assert isinstance(wanted, tuple)
        return value in wanted
    assert not isinstance(wanted, tuple)
    if condition.operator in ORDERS:
        return ORDERS[condition.operator](value, wanted)
    if condition.operator == "contains" and kind == "text":
        if condition.match_case:
            return str(wanted) in str(value)
        return str(wanted).casefold() in str(value).casefold()
    return value == wanted
