"""Situation: what filters and rules may refer to of a request: seed items, context and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from engine.catalogue.comparable_values import Kind, Loc, Scalar
from engine.catalogue.predicate import CORE, ItemFields
from engine.errors import InputError, short_repr

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000


def _no_item(item_id: str) -> ItemFields | None:
    return None


@dataclass(frozen=True, eq=False)
class Situation:
    """`fields_of` has the fields of an item by their names in conditions, None for an unknown item. With `is_probe`,
    every reference has a value of a type that its field accepts, so that a stored filter can be checked.
    """

    context: Mapping[str, Scalar] = field(default_factory=dict)
    now_us: int = 0
    seed_ids: Sequence[str] = ()
    fields_of: Callable[[str], ItemFields | None] = _no_item
    is_probe: bool = False

    @cached_property
    def seeds(self) -> list[ItemFields]:
        """The fields of the seed items that are in the catalogue."""
        found = (self.fields_of(item_id) for item_id in self.seed_ids)
        return [fields for fields in found if fields is not None]

    def of_context(self, name: str, loc: Loc, field: str = "") -> Scalar:
        """`field`: which the value is compared with."""
        if self.is_probe:
            return _probe_value(field)
        if name not in self.context:
            names = ", ".join(sorted(self.context)) or "none"
            message = f"the context of the request has no {short_repr(name)}, it has: {names}; send it in `context`"
            raise InputError(message, loc=loc)
        return self.context[name]

    def of_seeds(self, name: str, loc: Loc) -> list[Scalar]:
        """The different values of a field, as `Condition.field` names it, over all seed items and over the elements of
        lists; empty when no seed has one. A time is ISO 8601 text."""
        if self.is_probe:
            return [_probe_value(name)]
        if not self.seed_ids:
            message = "this condition takes a value of the seed item, and the request has none; name it in `item_ids`"
            raise InputError(message, loc=loc)
        if not self.seeds:
            message = (
                f"this condition takes a value of the seed item, and there is no item {short_repr(self.seed_ids[0])}"
            )
            raise InputError(message, loc=loc)
        values: dict[tuple[bool, Scalar], Scalar] = {}  # True == 1, but is another value
        for fields in self.seeds:
            value = fields.get(name)
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, str | int | float):
                    values[isinstance(each, bool), each] = each
        return [_time_text(each) for each in values.values()] if CORE.get(name) == "time" else list(values.values())

    def time(self, offset_us: int) -> str:
        """A time relative to the begin of the current minute, so that the requests of a minute share their masks."""
        return _time_text(self.now_us // MINUTE_US * MINUTE_US + offset_us)


def _time_text(moment_us: Scalar) -> str:
    return (EPOCH + timedelta(microseconds=float(moment_us))).isoformat()


def _probe_value(field: str) -> Scalar:
    return PROBE_VALUES.get(CORE.get(field, "number"), 1.0)


PROBE_VALUES: Mapping[Kind, Scalar] = {"text": "text", "texts": "text", "bool": True, "time": "2026-01-01T00:00:00Z"}
NOWHERE = Situation()
PROBE = Situation(is_probe=True)
