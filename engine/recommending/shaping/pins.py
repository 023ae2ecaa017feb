"""Pins: an item, or the best item that passes a filter, at a position of the shelf.

Positions start at 1 and go on over the pages. A pin shows only what the shelf may show: an item that is unavailable,
does not pass the filter, or is excluded, leaves its position to the next item, and a warning says so. Groups and caps
do not hold back a pinned item, but count it; of a filter, the best item that groups and caps admit is pinned. Minimum
scores do not apply. An item that is pinned to a later page is not shown before, unless the
shelf is too short without it.
"""

from __future__ import annotations

from dataclasses import replace

from engine.deadline import check_deadline, needs_more_work
from engine.errors import Problem
from engine.recommending.shaping.fixed_slots import FixedSlots, admitted, with_fixed
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context, Find
from engine.recommending.values.request import Pin

WIDEN = 4


def place_pins(context: Context, find: Find) -> FixedSlots:
    request = context.request
    places = [pin.position - 1 - len(request.shown) for pin in request.pins]
    items: dict[int, tuple[int, str]] = {}  # row -> place, id
    warnings: list[Problem] = []
    for at, (pin, place) in enumerate(zip(request.pins, places, strict=True)):
        if pin.item_id is None or place < 0:  # on an earlier page
            continue
        row = context.view.items.row(pin.item_id)
        why = "is not in the catalogue" if row is None else _why_not(context, row)
        if row is not None and why is None:
            items[row] = place, pin.item_id
        elif place < request.k:
            warnings.append(_unplaced(at, pin, f"item {pin.item_id!r} {why}"))
    hits = _item_hits(context, items, find)
    reserved = frozenset(items)
    for at, (pin, place) in enumerate(zip(request.pins, places, strict=True)):
        if pin.predicate is not None and 0 <= place < request.k:
            hit = _best(with_fixed(context, hits), pin, find, reserved)
            if hit is None:
                warnings.append(_unplaced(at, pin, "no item that may be shown passes the filter of the pin"))
            else:
                hits[place], reserved = hit._replace(reason="pinned"), reserved | {hit.row}
    return FixedSlots(hits, reserved, tuple(warnings))


def _why_not(context: Context, row: int) -> str | None:
    if context.view.allowed is not None and not context.view.allowed[row]:
        return "is not available, or does not pass the filter"
    return "is excluded, or on an earlier shelf or page" if row in context.excluded else None


def _unplaced(at: int, pin: Pin, why: str) -> Problem:
    loc = ("pins", at) if pin.rule is None else ("rules", pin.rule)
    return Problem(loc, f"nothing is pinned to position {pin.position}, the next item has it: {why}")


def _item_hits(context: Context, items: dict[int, tuple[int, str]], find: Find) -> dict[int, Hit]:
    """By place. An item that the shelf has no score for has score 0."""
    if not items:
        return {}
    scores = {hit.row: hit for hit in find(context.view.among(list(items)), len(items), frozenset())}
    unscored = Hit("", 0, 0.0, "pinned", context.request.source)
    return {
        place: scores.get(row, unscored)._replace(item_id=item_id, row=row, reason="pinned")
        for row, (place, item_id) in items.items()
    }


def _best(context: Context, pin: Pin, find: Find, reserved: frozenset[int]) -> Hit | None:
    """The best item that passes the filter of the pin and that groups and caps admit."""
    if pin.predicate is None:
        return None
    view, n = context.view.where(pin.predicate), context.request.k
    while True:
        found = find(view, n, reserved)
        best = admitted(replace(context, view=view), found)
        if best or len(found) < n:
            return best[0] if best else None
        check_deadline()
        needs_more_work()
        n *= WIDEN
