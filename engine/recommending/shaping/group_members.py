"""Group members: which item of a group is shown, and which are named as the siblings of a shown item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from engine.catalogue.item_values import Values
from engine.catalogue.predicate import PREFIX
from engine.deadline import needs_more_work
from engine.errors import InputError, short_repr
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import ChooseBy
from engine.recommending.values.view import View

MAX_SIBLINGS = 100


def best_members(context: Context, hits: Sequence[Hit]) -> list[Hit]:
    """For each hit, the member of its group that `choose_by` prefers, of equal members the one with the best score.

    A member without a value comes last. A member that the shelf may not show is none.
    """
    request, view, find = context.request, context.view, context.find
    assert request.choose_by is not None
    assert request.group_by is not None
    assert find is not None
    values = _numbers(view, request.choose_by)
    groups = view.field_values(request.group_by, [hit.row for hit in hits])
    named = list(dict.fromkeys(group for group in groups if group))
    members = dict(zip(named, view.rows_of_groups(request.group_by, named), strict=True))
    rows = [row for each in members.values() for row in each]
    scored = {hit.row: hit for hit in find(view.among(rows), len(rows), frozenset())} if rows else {}
    scored |= {hit.row: hit for hit in hits}
    places = {row: at for at, row in enumerate(scored)}

    def rank(hit: Hit) -> tuple[float, float, int]:
        value = float(values[hit.row])
        preferred = value if request.choose_by is None or not request.choose_by.descending else -value
        return np.inf if np.isnan(value) else preferred, -hit.score, places[hit.row]

    return [
        min((scored[row] for row in members[group] if row in scored), key=rank, default=hit) if group else hit
        for hit, group in zip(hits, groups, strict=True)
    ]


def _numbers(view: View, choose_by: ChooseBy) -> npt.NDArray[np.float64]:
    """(len(items),) numbers, or times, of the field that chooses; NaN without one."""

    def read() -> npt.NDArray[np.float64]:
        needs_more_work()
        numbers = view.numbers(choose_by.field)
        return view.numbers(choose_by.field, is_time=True) if np.isnan(numbers).all() else numbers

    found = view.kept(("numbers or times", choose_by.field), (), read)
    if np.isnan(found).all() and len(found):
        name = short_repr(choose_by.field.removeprefix(PREFIX))
        message = f"no item has a number or a time in {name}, by which an item of each group is chosen"
        raise InputError(message, loc=("group_by", "choose", "field"))
    return found


def siblings_of(context: Context, hits: Sequence[Hit], excluded: AbstractSet[int]) -> Mapping[str, tuple[str, ...]]:
    """By item id, for items with a value of the field: the other items of the group that the shelf may show, up to
    MAX_SIBLINGS, in the order of the catalogue."""
    view, field = context.view, context.request.group_by
    assert field is not None
    shown = [hit for hit in hits if hit.row >= 0]
    groups: list[Values] = view.field_values(field, [hit.row for hit in shown])
    named = list(dict.fromkeys(group for group in groups if group))
    members = dict(zip(named, view.rows_of_groups(field, named), strict=True))
    found = {}
    for hit, group in zip(shown, groups, strict=True):
        others = [row for row in members.get(group, ()) if row != hit.row and row not in excluded]
        if view.allowed is not None:
            others = [row for row in others if view.allowed[row]]
        found[hit.item_id] = tuple(view.items.ids[row] for row in others[:MAX_SIBLINGS])
    return found
