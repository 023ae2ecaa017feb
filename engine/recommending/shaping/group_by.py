"""Group by: one item of each group, such as the variants of one product, at the place of its first candidate.

It is the first candidate, or with `choose_by` the item of the whole group that a field prefers, such as its stock.
The items of a group have the same value of a field, or the same values of a list. An item without a value is a group of
its own. Groups that are on earlier pages or in fixed slots are left out.
"""

from __future__ import annotations

from engine.catalogue.item_values import Values
from engine.recommending.shaping import diversity
from engine.recommending.shaping.group_members import best_members
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request

CANDIDATES_PER_ITEM = 4


def n_candidates(request: Request) -> int:
    return request.k if request.group_by is None else request.k * CANDIDATES_PER_ITEM


def shape(context: Context, candidates: list[Hit]) -> list[Hit]:
    """As many items as the stages after it choose from: all of them for caps, which leave some out."""
    request = context.request
    if request.group_by is None:
        return candidates
    return one_per_group(context, candidates, None if request.caps else diversity.n_candidates(request))


def one_per_group(context: Context, candidates: list[Hit], enough: int | None = None) -> list[Hit]:
    """All candidates without a field to group by. `enough`: no more than so many items."""
    view, request = context.view, context.request
    if request.group_by is None:
        return candidates
    shown: set[Values] = set()
    if request.shown or context.fixed:
        rows = [row for id_ in request.shown if (row := view.items.row(id_)) is not None]
        shown = set(view.field_values(request.group_by, [*rows, *(hit.row for hit in context.fixed)]))
    chosen: list[Hit] = []
    groups = view.field_values(request.group_by, [hit.row for hit in candidates])
    for hit, group in zip(candidates, groups, strict=True):
        if not group or group not in shown:
            shown.add(group)
            chosen.append(hit)
            if len(chosen) == enough:
                break
    return chosen if request.choose_by is None else best_members(context, chosen)
