"""Attribute types: each attribute of a space has one type, to which all its values are coerced.

The types of a space are stored (`engine.store.attribute_types`), separately for items and users. The first file with
an attribute sets its type by majority vote over the cells; `--type price=number` sets it explicitly at any time. Later
values are coerced to the type or rejected, in files (`engine.importing.attributes`) and over HTTP.

To add a type: add its name to `AttributeType`, its coercion to `COERCIONS` and its vote to `vote`; where the cells of a
file can be parsed faster than one by one, add a branch in `engine.importing.attributes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from engine.catalogue.number_text import Decimal, parse_number
from engine.errors import InputError, short_repr

AttributeType = Literal["number", "text", "boolean", "time", "list", "any"]
Subject = Literal["item", "user"]
Votes = Mapping[AttributeType, int]

NAMES: tuple[AttributeType, ...] = get_args(AttributeType)
DESCRIPTIONS: Mapping[AttributeType, str] = {
    "number": "a number",
    "text": "text",
    "boolean": "true or false",
    "time": "a time such as 2026-03-01T12:00:00Z",
    "list": "a list",
    "any": "any value",
}
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
NULL_WORDS = ("n/a", "na", "n.a.", "#n/a", "nan", "null", "none", "nil", "-", "--", "?")  # lower case; no vote
MAX_NAME_BYTES, MAX_TYPES = 256, 10_000  # limits per space; further attributes have the type "any"
TIME = re.compile(
    r"\s*[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::(?:[0-5][0-9]|60))?(?:[.,][0-9]{1,9})?)?"
    r"\s*(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?\s*"
)


def check_type(name: str, loc: tuple[str | int, ...] = ()) -> AttributeType:
    for known in NAMES:
        if name == known:
            return known
    raise InputError(f"expected a type of {', '.join(NAMES)}, got {short_repr(name)}", loc=loc)


def coerce(kind: AttributeType, value: object, decimal: Decimal | None = None) -> object:
    """A JSON value, not null, as a value of the type `kind`; None if it does not fit."""
    if kind == "number" and isinstance(value, str):
        return parse_number(value, decimal)
    return COERCIONS[kind](value)


def vote(value: object) -> AttributeType | None:
    """The type that a JSON value suggests; None for a value that means "missing"."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        if value.strip().lower() in ("", *NULL_WORDS):
            return None
        return "time" if TIME.fullmatch(value) else "text"
    return "list" if isinstance(value, list | tuple) else "any" if isinstance(value, Mapping) else None


def majority(votes: Votes, otherwise: AttributeType | None = "any") -> AttributeType | None:
    """The type with more than half of the votes, else `otherwise`; None without votes."""
    total = sum(votes.values())
    return next((kind for kind, n in votes.items() if 2 * n > total), otherwise) if total else None


def coerce_attributes(
    attributes: Mapping[str, object], types: Mapping[str, AttributeType], loc: tuple[str | int, ...]
) -> dict[str, object]:
    """The attributes coerced to their types; InputError at `loc` for the first value that does not fit."""
    coerced = dict(attributes)
    for name, kind in types.items():
        value = coerced.get(name)
        if value is not None:
            coerced[name] = coerce(kind, value)
            if coerced[name] is None:
                raise InputError(
                    f"{name} is {DESCRIPTIONS[kind]} in this space, got {short_repr(value)}; leave it out or null, or "
                    "change its type in attribute_types of the space",
                    loc=(*loc, name),
                )
    return coerced


def _text(value: object) -> str | None:
    """Whole floats become integers, as in ids: 38.0 becomes "38"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: object) -> bool | None:
    text = (_text(value) or "").strip().lower()
    return True if text in TRUE else False if text in FALSE else None


def _time(value: object) -> str | None:
    return value if isinstance(value, str) and TIME.fullmatch(value) else None


def _list(value: object) -> list[object] | None:
    if isinstance(value, str):
        return [part for each in value.split("|") if (part := each.strip())]
    if isinstance(value, list | tuple):
        return list(value)
    return [value] if isinstance(value, int | float) else None


COERCIONS: Mapping[AttributeType, Callable[[object], object]] = {
    "number": _number,
    "text": _text,
    "boolean": _boolean,
    "time": _time,
    "list": _list,
    "any": lambda value: value,
}
