"""Warnings: what an answer tells of a request that was done as asked, and perhaps not as meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from api.messages.request_schemas import PastEvent, RankBody, RecommendQuery, ShelfBody
from engine.catalogue import predicate
from engine.catalogue.close_names import close_names
from engine.catalogue.predicate import CORE, PREFIX, Predicate
from engine.errors import Problem, short_repr
from engine.recommending.values.request import Request
from engine.values.events import Weighting
from indexing.live.view import LiveView

Loc = tuple[str | int, ...]
MOST, FIELDS = 10, 3  # of unknown items in one list, and attributes in one filter; the rest is counted


def of_request(
    view: LiveView,
    request: Request,
    body: ShelfBody | RecommendQuery | RankBody,
    loc: Loc = (),
    *,
    near: bool = True,
) -> list[Problem]:
    """The warnings of a request and of the body it was parsed from, whose places they name."""
    found = of_filter(view, request.predicate, near=near)
    for predicate_, _ in request.boosts:
        found += of_filter(view, predicate_, near=near)
    if body.item_ids:
        found += of_items(view, body.item_ids, (*loc, "item_ids"))
    return found + of_history(view, body.history, (*loc, "history")) if body.history else found


def of_filter(view: LiveView, passed: Predicate | None, *, near: bool = True) -> list[Problem]:
    """Attributes that no item has: nothing but `not` and `{"exists": false}` holds for them.

    `near` adds what may have been meant, which takes milliseconds.
    """
    unknown = frozenset[str]() if passed is None else view.unknown_fields(passed)
    if passed is None or not unknown:
        return []
    tests = {test.field: test for test in reversed(list(predicate.conditions(passed))) if test.field in unknown}
    told = [
        Problem(test.loc, _no_attribute(view, field, near)) for field, test in islice(reversed(tests.items()), FIELDS)
    ]
    return told + ([Problem(told[-1].loc, f"nor {len(tests) - FIELDS} more")] if len(tests) > FIELDS else [])


def of_items(view: LiveView, item_ids: Sequence[str], loc: Loc) -> list[Problem]:
    """Items that are not in the catalogue: they say nothing of a taste."""
    return _unknown(view, [(id_, (*loc, at)) for at, id_ in enumerate(item_ids)], loc)


def of_history(view: LiveView, past: Sequence[PastEvent], loc: Loc) -> list[Problem]:
    """The same of the events of a session, and words for kinds that nobody has said the worth of."""
    items = _unknown(view, [(event.item_id, (*loc, at, "item_id")) for at, event in enumerate(past)], loc)
    return items + _unknown_kinds(view.space.weighting, past, loc)


def to_json(warnings: Iterable[Problem]) -> list[dict[str, object]]:
    return [{"loc": list(each.loc), "msg": each.msg} for each in warnings]


def _no_attribute(view: LiveView, field: str, near: bool) -> str:
    name = field.removeprefix(PREFIX)
    found = close_names(name, (*CORE, *view.attributes)) if near else ()
    return f"no item has an attribute {short_repr(name)}" + (f"; near names: {', '.join(found)}" if found else "")


def _unknown_kinds(weighting: Weighting, past: Sequence[PastEvent], loc: Loc) -> list[Problem]:
    """Each word once, where it first stands."""
    first = {event.kind: at for at, event in reversed([*enumerate(past)])}
    unknown = [(word, at) for word, at in reversed(first.items()) if not weighting.vocabulary.meaning(word).is_known]
    told = [
        Problem((*loc, at, "kind"), f"{short_repr(word)} is of no known kind, and weighs {weighting.other:g}")
        for word, at in unknown[:MOST]
    ]
    return told + ([Problem(loc, f"nor {len(unknown) - MOST} more kinds")] if len(unknown) > MOST else [])


def _unknown(view: LiveView, named: Sequence[tuple[str, Loc]], loc: Loc) -> list[Problem]:
    unknown = [(id_, place) for id_, place in named if id_ not in view.items]
    told = [Problem(place, f"there is no item {short_repr(id_)}") for id_, place in unknown[:MOST]]
    return told + ([Problem(loc, f"nor {len(unknown) - MOST} more")] if len(unknown) > MOST else [])
