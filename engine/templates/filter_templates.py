"""Filter templates: filters, as JSON, whose values depend on the request.

    {"price": {"gte": {"seed": 0.85}}, "brand": {"eq": "seed"}, "category": {"in": "context.category"},
     "created_at": {"gte": "now-30d"}, "stock_{context.store}": {"gt": 0}}

Directly after an operator, the text `seed` is the value that the seed item has in the same field, `{"seed": 0.85}` is
this number times 0.85, and `context.NAME` is a value of the context. After lt, lte, gt and gte, `now-30d` is a time.
`{context.NAME}` in the name of a field is replaced by the value. Everything else is a plain value: `{"brand": "seed"}`
and `{"brand": {"in": ["seed"]}}` are the brand that is called seed.

With several seed items, `eq`, `in` and `contains` accept the values of any of them, `gt` and `gte` compare with the
lowest and `lt` and `lte` with the highest. If no seed item has a value, the condition matches no item.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.catalogue.comparable_values import Loc, Scalar
from engine.catalogue.predicate import CASE_OPERATORS, CORE, MATCH_CASE, OPERATORS, ORDERS, canonical_field
from engine.errors import InputError, short_repr
from engine.templates.situation import Situation
from engine.values.durations import parse_now

SEED, CONTEXT = "seed", "context."
IN_NAME = re.compile(r"\{context\.([^{}]*)\}")
MAX_DEPTH = 32  # the parser has a lower limit of its own
MAX_FACTOR = 1e6
ALWAYS: Mapping[str, object] = {"item_id": {"exists": True}}


@dataclass(frozen=True)
class Reference:
    """What a filter takes from the request."""

    kind: Literal["seed", "context", "now"]
    name: str = ""  # of a field, as `Condition.field` names it, or of a value of the context
    offset_us: int = 0


def references(filter_: object, loc: Loc = (), depth: int = 0) -> Iterator[Reference]:
    """Every reference of a filter. InputError for a wrong one, with its place after `loc`."""
    if depth > MAX_DEPTH or not isinstance(filter_, Mapping):
        return
    for name, each in filter_.items():
        at = (*loc, str(name))
        if name in ("and", "or", "not"):
            parts = (
                [((*at, place), part) for place, part in enumerate(each)] if isinstance(each, list) else [(at, each)]
            )
            for place, part in parts:
                yield from references(part, place, depth + 1)
            continue
        yield from (Reference("context", match[1]) for match in IN_NAME.finditer(str(name)))
        for operator, operand in each.items() if isinstance(each, Mapping) else ():
            reference = _reference(str(name), operator, operand, (*at, str(operator)))
            if reference is not None:
                yield reference


def is_template(filter_: object, loc: Loc = ()) -> bool:
    """InputError for a wrong reference."""
    return any(True for _ in references(filter_, loc))


def constant_part(filter_: object, depth: int = 0) -> object:
    """The filter with its conditions that are the same for every request, at their places. One that depends on the
    request is left out or, where the list of `and`, `or` or `not` needs one, replaced by one that is always true."""
    if depth > MAX_DEPTH or not isinstance(filter_, Mapping):
        return filter_
    made: dict[str, object] = {}
    for name, each in filter_.items():
        if name in ("and", "or") and isinstance(each, list):
            made[name] = [constant_part(part, depth + 1) for part in each]
        elif name in ("and", "or", "not"):
            made[name] = constant_part(each, depth + 1)
        elif all(reference.kind == "now" for reference in references({name: each})):
            made[name] = each
    return made or ALWAYS


def value_of(reference: Reference, situation: Situation) -> object:
    """What identifies the values of a reference; InputError when the request does not have them."""
    if reference.kind == "context":
        return situation.of_context(reference.name, ())
    if reference.kind == "now":
        return situation.time(reference.offset_us)
    found = situation.of_seeds(field_name(reference.name, (), situation), ())
    if not found:
        raise InputError(f"no seed item has a value of {reference.name!r}")
    return tuple(found)


def field_name(name: str, loc: Loc, situation: Situation) -> str:
    """The name of a field with the values of the context that it refers to."""
    if "{" not in name or situation.is_probe:
        return name
    return IN_NAME.sub(lambda match: _text(situation.of_context(match[1], loc)), name)


def resolved(filter_: object, loc: Loc, situation: Situation, depth: int = 0) -> object:
    """The filter with the values of its references. InputError for a wrong one or one without a value."""
    if depth > MAX_DEPTH or not isinstance(filter_, Mapping):
        return filter_
    made: dict[str, object] = {}
    more: list[object] = []  # conditions that do not fit beside the others
    for name, each in filter_.items():
        at = (*loc, str(name))
        if name in ("and", "or") and isinstance(each, list):
            own: object = [resolved(part, (*at, place), situation, depth + 1) for place, part in enumerate(each)]
        elif name in ("and", "or", "not"):
            own = resolved(each, at, situation, depth + 1)
        else:
            name = field_name(str(name), at, situation)
            own = _operators(name, each, at, situation, more) if isinstance(each, Mapping) else each
        if name in made:
            more.append({name: own})
        elif own != {} or not each:
            made[name] = own
    if not more:
        return made
    return {"and": [made, *more]} if made else more[0] if len(more) == 1 else {"and": more}


def _operators(
    name: str, operators: Mapping[str, object], loc: Loc, situation: Situation, more: list[object]
) -> dict[str, object]:
    made: dict[str, object] = {}
    for operator, operand in operators.items():
        at = (*loc, str(operator))
        reference = _reference(name, operator, operand, at)
        if reference is None:
            made[operator] = operand
        elif reference.kind == "now":
            made[operator] = situation.time(reference.offset_us)
        elif reference.kind == "context":
            value = situation.of_context(reference.name, at, name)
            made[operator] = [value] if operator == "in" else value
        else:
            values = situation.of_seeds(reference.name, at)
            if isinstance(operand, Mapping):
                values = _multiplied(name, values, float(operand[SEED]), at)
            option = {MATCH_CASE: operators[MATCH_CASE]} if MATCH_CASE in operators else {}
            more.append(_seed_condition(name, operator, values, option))
    if made.keys() == {MATCH_CASE}:  # its operators are in `more`
        return {}
    return made


def _multiplied(name: str, values: list[Scalar], factor: float, loc: Loc) -> list[Scalar]:
    """The numbers times the factor. InputError where the seed items have values, and none of them is a number."""
    numbers: list[Scalar] = [
        each * factor for each in values if isinstance(each, int | float) and not isinstance(each, bool)
    ]
    if values and not numbers:
        message = f"a factor multiplies a number, and {short_repr(name)} of the seed item is {short_repr(values[0])}"
        raise InputError(f'{message}; leave the factor away, as in {{"eq": "seed"}}', loc=loc)
    return numbers


def _seed_condition(name: str, operator: str, values: list[Scalar], option: Mapping[str, object]) -> object:
    if not values:  # true for no item, and names the field, so that an unknown one is noticed
        return {name: {"exists": False}, "item_id": {"exists": False}}
    if operator in ORDERS:
        comparable = [each for each in values if isinstance(each, str) == isinstance(values[0], str)]
        return {name: {operator: (max if operator in ("lt", "lte") else min)(comparable)}}
    option = option if operator in CASE_OPERATORS else {}
    if operator == "contains":
        parts: list[object] = [{name: {operator: each, **option}} for each in values]
    else:
        kinds: dict[type, list[Scalar]] = {}
        for each in values:
            kinds.setdefault(float if type(each) is int else type(each), []).append(each)
        parts = [{name: {"in": of_kind, **option}} for of_kind in kinds.values()]
    return parts[0] if len(parts) == 1 else {"or": parts}


def _reference(name: str, operator: object, operand: object, loc: Loc) -> Reference | None:
    if operator not in OPERATORS or operator == "exists":
        return None
    if isinstance(operand, Mapping):
        return _multiple(name, operand, loc) if SEED in operand else None
    if not isinstance(operand, str):
        return None
    if operand == SEED:
        return Reference("seed", canonical_field(name, loc))
    if operand.startswith(CONTEXT):
        return Reference("context", operand.removeprefix(CONTEXT))
    offset_us = parse_now(operand, loc) if operator in ORDERS else None
    return None if offset_us is None else Reference("now", offset_us=offset_us)


def _multiple(name: str, operand: Mapping[str, object], loc: Loc) -> Reference:
    factor = operand[SEED]
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool) and math.isfinite(factor)
    if len(operand) > 1 or not is_number or not 0 < float(str(factor)) <= MAX_FACTOR:
        expected = f'expected {{"seed": FACTOR}} with a factor above 0 and at most {MAX_FACTOR:g}'
        raise InputError(f"{expected}, got {short_repr(dict(operand))}", loc=loc)
    if name in CORE:
        raise InputError(f"{name} holds no numbers, which a factor could multiply", loc=loc)
    return Reference("seed", canonical_field(name, loc))


def _text(value: Scalar) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
