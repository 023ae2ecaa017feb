"""Parsing of the parameters that shape a shelf; contradictions between them are errors that name the field."""

from __future__ import annotations

from collections.abc import Sequence

from api.messages import shelf_schemas
from api.messages.shelf_schemas import GroupedBy, RecommendQuery, ShelfBody
from engine.catalogue import predicate
from engine.errors import InputError
from engine.recommending.values.request import ChooseBy, Pin
from engine.segments.references import Expander
from engine.segments.segments import NO_SEGMENTS
from engine.values.ids import check_id

Loc = tuple[str | int, ...]


def parse_group_by(group_by: GroupedBy | None, loc: Loc) -> tuple[str | None, ChooseBy | None]:
    """The field, and by which field the shown item of a group is chosen; None: by score."""
    if group_by is None:
        return None, None
    field, choose = predicate.canonical_field(group_by.field, loc), group_by.choose
    if choose is None:
        return field, None
    by = predicate.canonical_field(choose.field, (*loc, "choose", "field"))
    return field, ChooseBy(by, choose.order == "desc")


def parse_pins(body: ShelfBody | RecommendQuery, loc: Loc, segments: Expander = NO_SEGMENTS) -> Sequence[Pin]:
    """InputError for two pins that contradict each other, and for an item that the request may not show."""
    pins = parse_stored_pins(body.pins, loc, segments)
    for at, pin in enumerate(pins):
        if pin.item_id is not None:
            _check_shown(pin.item_id, body, (*loc, "pins", at, "item_id"))
    return pins


def parse_stored_pins(asked: Sequence[shelf_schemas.Pin], loc: Loc, segments: Expander = NO_SEGMENTS) -> list[Pin]:
    """InputError for two pins that contradict each other."""
    pins = [_pin(pin, (*loc, "pins", at), segments) for at, pin in enumerate(asked)]
    first: dict[object, int] = {}
    for at, pin in enumerate(pins):
        for name, value in (("position", pin.position), ("item_id", pin.item_id)):
            earlier = first.setdefault((name, value), at)
            if value is not None and earlier != at:
                message = f"expected another {name} for each pin, got {value!r} in pins {earlier} and {at}"
                raise InputError(message, loc=(*loc, "pins", at, name))
    return pins


def _pin(pin: shelf_schemas.Pin, loc: Loc, segments: Expander) -> Pin:
    if (pin.item_id is None) == (pin.filter is None):
        raise InputError("expected exactly one of item_id and filter in a pin", loc=loc)
    if pin.item_id is not None:
        return Pin(pin.position, check_id(pin.item_id, (*loc, "item_id")))
    place = (*loc, "filter")
    return Pin(pin.position, predicate=predicate.parse(segments.expand(pin.filter, place), place))


def _check_shown(item_id: str, body: ShelfBody | RecommendQuery, loc: Loc) -> None:
    if item_id in body.exclude_items:
        raise InputError(f"{item_id!r} is pinned and in exclude_items; leave it out of one of them", loc=loc)
    if body.include_items is not None and item_id not in body.include_items:
        raise InputError(
            f"{item_id!r} is pinned, but not in include_items; add it there, or leave out the pin", loc=loc
        )
