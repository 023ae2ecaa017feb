"""Caps: at most n items of a shelf have the same value of a field. Each element of a list is a value.

Candidates are taken in their order. A candidate is left out if one of its values is already on n chosen items. Items
without a value have no cap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from engine.catalogue.item_values import Value, Values
from engine.recommending.shaping import diversity
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request

CANDIDATES_PER_ITEM = 4


def n_candidates(request: Request) -> int:
    return request.k * CANDIDATES_PER_ITEM if request.caps else request.k


def shape(context: Context, candidates: list[Hit]) -> list[Hit]:
    caps = context.request.caps
    if not caps:
        return candidates
    rows = [hit.row for hit in candidates]
    columns = [context.view.field_values(field, rows) for field, _ in caps]
    limits = [n for _, n in caps]
    counts: list[dict[Value, int]] = [defaultdict(int) for _ in caps]
    enough, chosen = diversity.n_candidates(context.request), []  # diversity chooses from so many
    for hit, *values in zip(candidates, *columns, strict=True):
        if not any(_is_full(*each) for each in zip(values, counts, limits, strict=True)):
            chosen.append(hit)
            if len(chosen) == enough:
                break
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
