"""Caps: at most n items of a shelf have the same value of a field. Each element of a list is a value.

Candidates are taken in their order. A candidate is left out if one of its values is already on n chosen items, fixed
items included. Items without a value have no cap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain

from engine.catalogue.item_values import Value, Values
from engine.recommending.shaping import diversity
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request

CANDIDATES_PER_ITEM = 4


def n_candidates(request: Request) -> int:
    return request.k * CANDIDATES_PER_ITEM if request.caps else request.k


def shape(context: Context, candidates: list[Hit]) -> list[Hit]:
    if not context.request.caps:
        return candidates
    return _chosen(context, candidates, diversity.n_candidates(context.request))  # diversity chooses from so many


def admitted(context: Context, candidates: list[Hit]) -> list[Hit]:
    """The candidates that have no value which is on as many fixed items as may have it."""
    if not context.request.caps:
        return candidates
    return [hit for hit in candidates if _chosen(context, [hit], 1)]


def _chosen(context: Context, candidates: list[Hit], enough: int) -> list[Hit]:
    caps, view = context.request.caps, context.view
    limits = [n for _, n in caps]
    counts: list[dict[Value, int]] = [defaultdict(int) for _ in caps]
    if context.fixed:
        for count, (field, _) in zip(counts, caps, strict=True):
            for value in chain.from_iterable(view.field_values(field, [hit.row for hit in context.fixed])):
                count[value] += 1
    chosen: list[Hit] = []
    for start in range(0, len(candidates), 2 * enough):  # the first piece is mostly enough
        piece = candidates[start : start + 2 * enough]
        rows = [hit.row for hit in piece]
        for hit, *values in zip(piece, *(view.field_values(field, rows) for field, _ in caps), strict=True):
            if any(_is_full(*each) for each in zip(values, counts, limits, strict=True)):
                continue
            chosen.append(hit)
            if len(chosen) == enough:
                return chosen
            for count, of_field in zip(counts, values, strict=True):
                for value in of_field:
                    count[value] += 1
    return chosen


def _is_full(values: Values, count: Mapping[Value, int], limit: int) -> bool:
    """Whether one of the values is on as many chosen items as may have it."""
    for value in values:  # noqa: SIM110 any() takes twice as long
        if count[value] >= limit:
            return True
    return False
