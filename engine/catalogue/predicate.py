"""Predicate: which items a shelf may show, as JSON over catalogue fields.

    {"price": {"lt": 30}, "categories": {"contains": "shoes"}, "brand": ["Acme", "Best"], "available": true}
    {"or": [{"colour": "red"}, {"not": {"price": {"gte": 100}}}]}

Every entry of an object must hold. A field stands beside a value (equal), a list (in) or an object of operators:
`eq in lt lte gt gte contains exists`. `and` and `or` take lists of predicates, `not` takes one. Fields are `item_id`,
`title`, `categories`, `available`, `created_at`, `updated_at` (ISO 8601) and every attribute; `attributes.NAME` reaches
one that is called like these or like an operator. A list holds for `eq` and `in` where one of its elements does, and
`contains` asks for an element of a list, or for text within text. Text within text is looked for whatever the case,
all else as it is written; `match_case` beside them says otherwise: `{"brand": {"eq": "acme", "match_case": false}}`. A
value that is missing or null holds for nothing but `{"exists": false}` and `not`. Integers of 64 bits are compared
exactly. Text that is a day or a time (ISO 8601) is compared with another such as a moment; without a zone it is UTC.
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
MATCH_CASE, CASE_OPERATORS = "match_case", ("eq", "in", "contains")  # the option, and the operators that it is of
PREFIX = "attributes."
MAX_DEPTH, MAX_TESTS, MAX_VALUES = 8, 100, 1000


@dataclass(frozen=True)
class Condition:
    """One operator on one field; `value` is a scalar, a tuple of scalars for `in`. `kind` is that of the value.

    `match_case` None: text within text is looked for whatever the case, all other text as it is written. Where it is
    false `value` is casefolded.
    """

    field: str  # a core field, or "attributes." and a name
    operator: str
    value: Scalar | tuple[Scalar, ...]
    kind: Kind
    match_case: bool | None = None
    loc: Loc = dataclasses.field(
        default=(), compare=False
    )  # where it was written, so that one mask serves all who mean the same

    @cached_property
    def moments(self) -> tuple[float, ...]:
        """Those of the value that is compared as text, where it has any: with other moments it is compared as such."""
        if self.kind != "text" or self.operator == "contains":
            return ()
        texts = self.value if isinstance(self.value, tuple) else (self.value,)
        return tuple(at for text in texts if (at := parse_moment(str(text))) is not None)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of stored values that it can hold for; none for `exists`, which asks for no kind."""
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
    """The predicate of a JSON value. InputError names the part that is wrong, too deep (8) or too many (100 tests)."""
    made = _parse(value, loc, 1)
    if sum(1 for _ in conditions(made)) > MAX_TESTS:
        raise InputError(f"a filter has at most {MAX_TESTS} conditions", loc=loc)
    return made


def conditions(predicate: Predicate) -> Iterator[Condition]:
    """Every condition of a predicate."""
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
    if len(value) > MAX_TESTS:
        raise InputError(f"a filter has at most {MAX_TESTS} conditions", loc=loc)
    parts = [_entry(str(name), each, (*loc, str(name)), depth) for name, each in value.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _entry(name: str, value: object, loc: Loc, depth: int) -> Predicate:
    if name == "not":
        return Not(_parse(value, loc, depth + 1))
    if name in ("and", "or"):
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_TESTS:
            raise InputError(f"`{name}` takes a list of 1 to {MAX_TESTS} filters, got {short_repr(value)}", loc=loc)
        parts = tuple(_parse(each, (*loc, at), depth + 1) for at, each in enumerate(value))
        return AllOf(parts) if name == "and" else AnyOf(parts)
    if name in OPERATORS and name not in CORE:
        raise InputError(f'`{name}` follows a field, as in {{"price": {{"{name}": ...}}}}', loc=loc)
    return _conditions(_canonical(name, loc), value, loc)


def _canonical(name: str, loc: Loc) -> str:
    check_filter_text(name, loc)
    return name if name in CORE or name.startswith(PREFIX) else PREFIX + name


def _conditions(field: str, value: object, loc: Loc) -> Predicate:
    """The tests of one field."""
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
    """What it says beside the operators of a field."""
    given = value.get(MATCH_CASE)
    if MATCH_CASE not in value:
        return None
    if not isinstance(given, bool) or not value.keys() & set(CASE_OPERATORS):
        raise InputError(
            f"`{MATCH_CASE}` is true or false beside {', '.join(CASE_OPERATORS)}, got {short_repr(given)}",
            loc=(*loc, MATCH_CASE),
        )
    return given


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
    test = Condition(field, name, tuple(sorted(set(scalars))) if name == "in" else scalars[0], kind, match_case, loc)
    _check_operator(test, loc)
    return test


def _check_operator(test: Condition, loc: Loc) -> None:
    """What can be said before any data is seen."""
    if test.operator in ORDERS and test.kind == "bool":
        raise InputError(f"`{test.operator}` compares numbers, text or times, got true or false", loc=loc)
    if test.operator == "contains" and test.kind in ("bool", "time"):
        raise InputError("`contains` asks for text or a number", loc=loc)
    held = CORE.get(test.field)
    if held is not None and held not in test.kinds:
        hint = "; use `contains`" if held == "texts" else ""
        raise InputError(
            f"{test.field} holds {KIND_NAMES[held]}, `{test.operator}` {KIND_NAMES[test.kind]} cannot{hint}", loc=loc
        )


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
    """What is told of an attribute that has the name of a field, which is asked for by that name alone."""
    return f"{name} is a field of every item; this attribute is asked for as {PREFIX}{name}"


def item_fields(item: Mapping[str, object], attributes: Mapping[str, object]) -> ItemFields:
    """The facts of a catalogue row and its attributes."""
    return {name: item[name] for name in CORE} | {PREFIX + name: value for name, value in attributes.items()}


def matches(predicate: Predicate, item: ItemFields) -> bool:
    """Whether one item passes; a value of another kind does not. `engine.catalogue.columns` says the same for many."""
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
    """`typed`, knowing that the numbers of a time are a time."""
    kind = CORE.get(field)
    return [(kind, each) for _, each in comparables(value)] if kind == "time" else comparables(value)


def holds(test: Condition, kind: Kind, value: Scalar) -> bool:
    """Whether a stored value of a kind that the test is about satisfies it."""
    at = parse_moment(value) if test.moments and isinstance(value, str) else None
    if at is not None:
        return at in test.moments if test.operator in ("eq", "in") else ORDERS[test.operator](at, test.moments[0])
    wanted, value = test.value, fold_case(value, test.match_case)
    if test.operator == "in":
        assert isinstance(wanted, tuple)
        return value in wanted
    assert not isinstance(wanted, tuple)
    if test.operator in ORDERS:
        return ORDERS[test.operator](value, wanted)
    if test.operator == "contains" and kind == "text":
        if test.match_case:
            return str(wanted) in str(value)
        return str(wanted).casefold() in str(value).casefold()
    return value == wanted
