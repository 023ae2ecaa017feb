"""Type check of filters: whether a filter compares an attribute with a type that the attribute has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.catalogue.columns import Columns
from engine.catalogue.comparable_values import KIND_NAMES, LIST_KINDS, Kind, comparables, parse_moment
from engine.catalogue.predicate import CORE, PREFIX, Condition, Predicate, conditions
from engine.errors import InputError

MONTH = re.compile(r"[0-9]{4}(-[0-9]{2})?")  # a year or a month, compared with times as text


def check_types(predicate: Predicate, columns: Columns | None, live: Mapping[str, set[Kind]]) -> None:
    """Raise InputError for a comparison with a kind that the attribute has neither in `columns` nor in `live`."""
    for condition in conditions(predicate):
        if condition.field in CORE or condition.operator == "exists":
            continue
        built = set[Kind]() if columns is None else columns.kinds(condition.field)
        stored = built | live.get(condition.field, set())
        if not stored or stored & set(condition.kinds) or ("time" in stored and _fits_times(condition)):
            continue
        name = condition.field.removeprefix(PREFIX)
        kinds = " or ".join(sorted(KIND_NAMES[kind] for kind in stored))
        hint = "; use `contains`" if LIST_KINDS.get(condition.kind) in stored else ""
        hint = "; a time is written as 2026-03-01T12:00:00Z" if "time" in stored else hint
        raise InputError(
            f"{name} holds {kinds}, `{condition.operator}` asks for {KIND_NAMES[condition.kind]}{hint}",
            loc=condition.loc,
        )


def kinds_of(value: object) -> set[Kind]:
    """The kinds of the value of an attribute; text that is a time has the kind `time`."""
    return {
        "time" if kind == "text" and parse_moment(str(each)) is not None else kind for kind, each in comparables(value)
    }


def _fits_times(condition: Condition) -> bool:
    if condition.kind != "text" or condition.operator == "contains":
        return condition.kind == "text"
    texts = map(str, condition.value if isinstance(condition.value, tuple) else (condition.value,))
    return all(parse_moment(text) is not None or MONTH.fullmatch(text) for text in texts)
