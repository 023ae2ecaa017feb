"""Fixed slots: the places of a shelf that are taken before the others are chosen, by pins and by exploration.

The stages of shaping choose the other items around them: the fixed items count for groups and caps, and diversity
chooses items that are different from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.errors import Problem
from engine.recommending.shaping import caps, group_by
from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context


@dataclass(frozen=True, eq=False, slots=True)
class FixedSlots:
    hits: Mapping[int, Hit] = field(default_factory=dict)  # by place on the page, from 0; from k on: on later pages
    reserved: frozenset[int] = frozenset()  # the rows of `hits`
    warnings: tuple[Problem, ...] = ()  # pins that could not be placed

    def around(self, chosen: list[Hit], k: int) -> list[Hit]:
        """Up to `k` hits: the fixed ones of this page at their places, the chosen ones between them. Where a shelf is
        too short for a place, the fixed item comes last."""
        if not self.hits:
            return chosen[:k]
        shelf: list[Hit] = []
        left, others = {place: hit for place, hit in self.hits.items() if place < k}, iter(chosen)
        for place in range(k):
            hit = left.pop(place) if place in left else next(others, None)
            if hit is None:
                return [*shelf, *(left[each] for each in sorted(left))][:k]
            shelf.append(hit)
        return shelf

    def brought_forward(self, k: int, n: int) -> FixedSlots:
        """The first `n` items of later pages, which a shelf that is so much too short shows now, at its last free
        places; the same object if there are none."""
        later = sorted(place for place in self.hits if place >= k)[:n]
        if not later:
            return self
        free = [place for place in range(k) if place not in self.hits][-len(later) :]
        places = dict(zip(later, free, strict=True))
        return replace(self, hits={places.get(place, place): hit for place, hit in self.hits.items()})


NO_SLOTS = FixedSlots()


def admitted(context: Context, candidates: list[Hit]) -> list[Hit]:
    """The candidates that groups and caps admit beside the fixed items of the context."""
    return caps.admitted(context, group_by.one_per_group(context, candidates))


def with_fixed(context: Context, hits: Mapping[int, Hit]) -> Context:
    """The context of the stages, with the fixed items of this page."""
    return replace(context, fixed=tuple(hit for place, hit in hits.items() if place < context.request.k))
