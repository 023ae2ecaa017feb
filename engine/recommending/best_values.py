"""Best values: the brands, the categories or the values of any other field that suit a user best.

The score of a value is the sum of the scores of its best three items among the eligible items, as `for_you` scores them
for this user; scores below 0 count as 0. So one item that fits does not outweigh a brand of which several fit, and a
brand does not win by having many items. The order is exact: the shelf of items behind it grows until no further item
can change the best `k` values. After the values that the history supports come the values of popular items, scored by
their popularity in the same way. If k values of eligible items exist, k come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from engine.catalogue.item_values import Value
from engine.deadline import check_deadline
from engine.recommending.pipeline import recommend
from engine.recommending.values.answer import Hit
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.events import Weighting

BEST_ITEMS = 3
FIRST_ITEMS, WIDEN = (
    16,
    4,
)  # items for each value that is asked for, at first; each further attempt has four times these


@dataclass
class BestValue:
    value: Value
    source: str  # for_you or popular
    score: float = 0.0
    items: list[Hit] = field(default_factory=list)  # the best, at most BEST_ITEMS


def best_values(view: View, request: Request, name: str, *, weighting: Weighting, now_us: int) -> list[BestValue]:
    """The `request.k` best values of the field `name`, as `Condition.field` names it, best first; fewer: eligible items
    have no more. The request is of the source `for_you`."""
    found: dict[Value, BestValue] = {}
    for source in ("for_you", "popular"):
        if len(found) < request.k:
            asked = replace(request, source=source, fallback=(), k=FIRST_ITEMS * request.k)
            more = _of_source(view, asked, name, request.k - len(found), found, weighting, now_us)
            found |= {each.value: each for each in more}
    return list(found.values())


def _of_source(
    view: View, asked: Request, name: str, k: int, known: Collection[Value], weighting: Weighting, now_us: int
) -> list[BestValue]:
    """The `k` best values of the items of one source, without the values of `known`."""
    while True:
        [answer] = recommend(view, [asked], weighting=weighting, now_us=now_us)
        hits = [hit for hit in answer.hits if asked.source == "popular" or hit.reason == "history"]
        values = [each for each in _summed(view, hits, name, asked.source) if each.value not in known]
        least = max(0.0, hits[-1].score) if hits else 0.0
        if asked.source == "for_you":  # a history says nothing for items with a score of 0
            values = [each for each in values if each.score > 0]
            is_all = len(hits) < asked.k or least == 0
        else:
            is_all = len(hits) < asked.k
        if is_all or _is_proven(values, k, least):
            return values[:k]
        check_deadline()
        asked = replace(asked, k=asked.k * WIDEN)


def _summed(view: View, hits: list[Hit], name: str, source: str) -> list[BestValue]:
    """The values of `hits`, best first; of equal scores first the value of the earlier item."""
    of_value: dict[Value, BestValue] = {}
    for hit, value in _pairs(view, hits, name):
        best = of_value.setdefault(value, BestValue(value, source))
        if len(best.items) < BEST_ITEMS:
            best.items.append(hit)
            best.score += max(0.0, hit.score)
    return sorted(of_value.values(), key=lambda each: -each.score)


def _pairs(view: View, hits: list[Hit], name: str) -> Iterator[tuple[Hit, Value]]:
    for hit, values in zip(hits, view.field_values(name, [hit.row for hit in hits]), strict=True):
        for value in sorted(values, key=str):
            yield hit, value


def _is_proven(values: list[BestValue], k: int, least: float) -> bool:
    """Whether items that score at most `least` can change neither the `k` best values nor their scores."""
    if len(values) < k:
        return False
    if least == 0:
        return True
    complete = all(len(each.items) == BEST_ITEMS for each in values[:k])
    others = (each.score + (BEST_ITEMS - len(each.items)) * least for each in values[k:])
    return complete and values[k - 1].score >= max([BEST_ITEMS * least, *others])
