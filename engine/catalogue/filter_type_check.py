"""Filter types: whether a filter compares attributes with what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.catalogue import predicate as predicates
from engine.catalogue.columns import Columns
from engine.catalogue.comparable_values import KIND_NAMES, LIST_KINDS, Kind, comparables, parse_moment
from engine.catalogue.predicate import CORE, PREFIX, Condition, Predicate
from engine.errors import InputError

MONTH = re.compile(r"[0-9]{4}(-[0-9]{2})?")  # a year or a month, which is compared with times as text


def check_types(predicate: Predicate, columns: Columns, live: Mapping[str, set[Kind]]) -> None:
    """InputError for a comparison of an attribute with a type that it has nowhere: not in `columns`, not in `live`."""
    for test in predicates.conditions(predicate):
        if test.field in CORE or test.operator == "exists":
            continue
        held = columns.kinds(test.field) | live.get(test.field, set())
        if not held or held & set(test.kinds) or ("time" in held and _fits_times(test)):
            continue
        name, kinds = test.field.removeprefix(PREFIX), " or ".join(sorted(KIND_NAMES[kind] for kind in held))
        hint = "; use `contains`" if LIST_KINDS.get(test.kind) in held else ""
        hint = "; a time is written as 2026-03-01T12:00:00Z" if "time" in held else hint
        raise InputError(
            f"{name} holds {kinds}, `{test.operator}` asks for {KIND_NAMES[test.kind]}{hint}", loc=test.loc
        )


def kinds_of(value: object) -> set[Kind]:
    """The kinds of an attribute's value, text that is a time as such."""
    return {
        "time" if kind == "text" and parse_moment(str(each)) is not None else kind for kind, each in comparables(value)
    }


def _fits_times(test: Condition) -> bool:
    if test.kind != "text" or test.operator == "contains":
        return test.kind == "text"
    texts = map(str, test.value if isinstance(test.value, tuple) else (test.value,))
    return all(parse_moment(text) is not None or MONTH.fullmatch(text) for text in texts)
