"""Catalogue check: what a changed document says about fields, compared with the items that there are now.

A field with values of another type than the document needs is an error. A field that no item has is a warning, because
the items that have it may be stored later.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from api.messages import warnings
from api.messages.merchandising.rule_schemas import ThenBody
from api.messages.shelf_schemas import ShelfBody
from api.shaping_parsing import parse_group_by
from engine.catalogue.predicate import PREFIX, Condition, canonical_field, parse
from engine.errors import InputError, Problem, short_repr
from engine.merchandising.kept_days import beyond_kept_days
from engine.recommending.scoring.objective import VALUE_FIELDS
from engine.segments.segments import Segments
from engine.templates.filter_templates import constant_part, resolved
from engine.templates.situation import PROBE
from engine.values.durations import parse_duration
from indexing.live.view import LiveView

Loc = tuple[str | int, ...]


def check_shelf(
    body: ShelfBody | ThenBody, segments: Segments, view: LiveView, keep_days: int, loc: Loc
) -> list[Problem]:
    """The warnings for the valid parameters of a placement, of a shelf of a page, or of a rule; InputError for a wrong
    type. `keep_days`: for how long the server knows what users were shown."""
    found = [each for place, filter_ in _filters(body, loc) for each in check_filter(filter_, segments, view, place)]
    for name in body.caps:
        found += _check_field(name, view, (*loc, "caps", name))
    for at, boost in enumerate(body.boost):
        if boost.field is not None:
            found += _check_numbers(boost.field, view, (*loc, "boost", at, "field"), (False,))
        if boost.age_of is not None:
            found += _check_numbers(boost.age_of, view, (*loc, "boost", at, "age_of"), (True,))
    return found + _of_shelf(body, view, keep_days, loc) if isinstance(body, ShelfBody) else found


def check_filter(filter_: object, segments: Segments, view: LiveView, loc: Loc) -> list[Problem]:
    """As `check_shelf`, for one filter as JSON. Conditions that take a value of the request are not checked."""
    predicate = parse(resolved(constant_part(segments.expand(filter_, loc)), loc, PROBE), loc)
    view.filters.check_types(predicate, view.changed)
    return warnings.of_filter(view, predicate)


def check_values(name: str, view: LiveView, loc: Loc) -> list[Problem]:
    """As `check_shelf`, for the field of `best`; see `check_shares_values`."""
    check_shares_values(canonical_field(name, loc), view, loc)
    return _check_field(name, view, loc)


def check_title(names: list[str], view: LiveView, loc: Loc) -> None:
    """InputError for a name in the title of a shelf that is neither a field of items nor an attribute of one."""
    if not len(view.items):
        return
    for name in names:
        if is_unknown(canonical_field(name, loc), view):
            known = sorted({"item_id", "title", "categories", *view.attributes})
            shown = ", ".join(f"{{{each}}}" for each in known[:MAX_NAMES]) + (", ..." if len(known) > MAX_NAMES else "")
            raise InputError(f"no item has {short_repr(name)}; the title can name {shown}", loc=loc)


MAX_NAMES = 30
MIN_NUMBERS = 20


def check_shares_values(field: str, view: LiveView, loc: Loc) -> None:
    """InputError for a field of which nearly every item has a value of its own, such as an id, a time or a price."""
    name = field.removeprefix(PREFIX)
    if field in ("item_id", "created_at", "updated_at"):
        raise InputError(_of_its_own(name), loc=loc)

    def is_own() -> bool:
        numbers = view.numbers(field)
        known = numbers[~np.isnan(numbers)]
        return len(known) >= MIN_NUMBERS and 2 * len(np.unique(known)) > len(known)

    if view.kept(("values of its own", field), (), is_own):
        raise InputError(_of_its_own(name), loc=loc)


def _of_its_own(name: str) -> str:
    expected = "expected a field whose values several items share, such as categories or a brand"
    return f"nearly every item has a {short_repr(name)} of its own; {expected}; for ranges, use segments of items"


def is_unknown(field: str, view: LiveView) -> bool:
    return bool(view.unknown_fields(Condition(field, "exists", True, "bool")))


def _filters(body: ShelfBody | ThenBody, loc: Loc) -> Iterator[tuple[Loc, object]]:
    own = {"filter": body.filter, "bury": body.bury if isinstance(body, ThenBody) else None}
    yield from (((*loc, name), filter_) for name, filter_ in own.items() if filter_ is not None)
    filters = {"boost": [boost.filter for boost in body.boost], "pins": [pin.filter for pin in body.pins]}
    for name, each in filters.items():
        yield from (((*loc, name, at, "filter"), filter_) for at, filter_ in enumerate(each) if filter_ is not None)


def _of_shelf(body: ShelfBody, view: LiveView, keep_days: int, loc: Loc) -> list[Problem]:
    found = []
    if body.group_by is not None:
        place = (*loc, "group_by")
        field, choose_by = parse_group_by(body.group_by, place)
        found += _check_field(field or "", view, place)
        if choose_by is not None:
            found += _check_numbers(choose_by.field, view, (*place, "choose", "field"), (False, True))
    if body.objective in VALUE_FIELDS:
        found += _check_numbers(PREFIX + VALUE_FIELDS[body.objective], view, (*loc, "objective"), (False,))
    relations, within = (
        (frozenset[str](), ()) if body.exclude is None else (body.exclude.relations, body.exclude.within)
    )
    rotation_us = None if body.rotation is None else parse_duration(body.rotation, (*loc, "rotation"))
    return found + beyond_kept_days(relations, within, rotation_us, keep_days, loc)


def _check_field(name: str, view: LiveView, loc: Loc) -> list[Problem]:
    return [] if "{" in name else warnings.of_field(view, canonical_field(name, loc), loc)


def _check_numbers(name: str, view: LiveView, loc: Loc, is_time: tuple[bool, ...]) -> list[Problem]:
    """`is_time`: whether numbers or times are needed, of which one is enough."""
    if "{" in name or not len(view.items):
        return []
    field = canonical_field(name, loc)
    if is_unknown(field, view):
        return _check_field(name, view, loc)
    if all(np.isnan(view.numbers(field, is_time=each)).all() for each in is_time):
        needed = " or a ".join("time" if each else "number" for each in is_time)
        raise InputError(f"no item has a {needed} in {short_repr(field.removeprefix(PREFIX))}", loc=loc)
    return []
