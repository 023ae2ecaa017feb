"""Warnings: parts of a request that are valid but name something unknown, so that they may be mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.messages.shelf_schemas import PastEvent, RankBody, RecommendQuery, ShelfBody
from engine.catalogue import predicate as predicates
from engine.catalogue.close_names import close_names
from engine.catalogue.predicate import CORE, PREFIX, Condition, Predicate
from engine.errors import Problem, short_repr
from engine.merchandising.kept_days import beyond_kept_days
from engine.recommending.scoring.objective import VALUE_FIELDS, events_without
from engine.recommending.values.boosts import Boosts, CurveBoost
from engine.recommending.values.request import Objective, Request
from engine.values.events import Weighting
from indexing.live.view import LiveView

Loc = tuple[str | int, ...]
MAX_UNKNOWN, MAX_FIELDS = 10, 3  # warnings for one list, and for one filter; a last warning counts the others


def of_request(
    view: LiveView,
    request: Request,
    body: ShelfBody | RecommendQuery | RankBody,
    loc: Loc = (),
    *,
    suggest: bool = True,
    keep_days: int,
) -> list[Problem]:
    """The warnings for a request; they name places in the body that the request was parsed from. `keep_days`: for how
    long the server knows what users were shown."""
    found = of_filter(view, request.predicate, suggest=suggest)
    if request.rotation_us is not None or "impressed" in request.exclude:
        found += beyond_kept_days(request.exclude, request.exclude_within, request.rotation_us, keep_days, loc)
    for predicate in _with_unknown_fields(view, request.boosts) if request.boosts else ():
        found += at(loc, of_filter(view, predicate, suggest=suggest))
    if request.group_by is not None:
        found += of_field(view, request.group_by, (*loc, "group_by"), suggest=suggest)
    for pin in request.pins:
        found += of_filter(view, pin.predicate, suggest=suggest)
    for field, _ in request.caps:
        found += of_field(view, field, (*loc, "caps", field.removeprefix(PREFIX)), suggest=suggest)
    if isinstance(body, ShelfBody | RecommendQuery):
        found += _of_lost_fields(request, body, loc)
    if request.objective is not None:
        found += _of_rates(view, request.objective, (*loc, "objective"))
    if body.item_ids:
        found += of_items(view, body.item_ids, (*loc, "item_ids"))
    if isinstance(body, ShelfBody | RecommendQuery) and body.include_items:
        found += of_items(view, body.include_items, (*loc, "include_items"))
    return found + of_history(view, body.history, (*loc, "history")) if body.history else found


def _of_lost_fields(request: Request, body: ShelfBody | RecommendQuery, loc: Loc) -> list[Problem]:
    """What a stored shelf asks for and `without_lost_fields` left away."""
    found = [
        Problem((*loc, "boost", at), f"no item has a value in {short_repr(asked.field or asked.age_of)}: no effect")
        for at, (asked, boost) in enumerate(zip(body.boost, request.boosts, strict=False))
        if asked.curve is not None and not isinstance(boost, CurveBoost)
    ]
    if body.objective is not None and request.objective is None:
        field = VALUE_FIELDS[body.objective]
        found.append(Problem((*loc, "objective"), f"no item has a number in {short_repr(field)}: no effect"))
    choose = None if body.group_by is None else body.group_by.choose
    if choose is not None and request.choose_by is None:
        message = f"no item has a number or a time in {short_repr(choose.field)}: the score chooses"
        found.append(Problem((*loc, "group_by", "choose", "field"), message))
    return found


def _of_rates(view: LiveView, objective: Objective, loc: Loc) -> list[Problem]:
    missing = " and ".join(events_without(view, objective))
    return [Problem(loc, f"the shop has no {missing}: a rate of them is the same for all items")] if missing else []


def _with_unknown_fields(view: LiveView, boosts: Boosts) -> list[Predicate]:
    """The filters of boosts that name attributes that no item has; kept, because most requests send the same boosts."""
    return view.kept(
        ("unknown fields", boosts), (), lambda: [each for each in boosts.predicates if view.unknown_fields(each)]
    )


def of_filter(view: LiveView, predicate: Predicate | None, *, suggest: bool = True) -> list[Problem]:
    """Attributes that no item has: only `not` and `{"exists": false}` are true for them.

    `suggest` adds similar names, which takes milliseconds.
    """
    unknown = frozenset[str]() if predicate is None else view.unknown_fields(predicate)
    if predicate is None or not unknown:
        return []
    places: dict[str, Loc] = {}
    for condition in predicates.conditions(predicate):
        if condition.field in unknown:
            places.setdefault(condition.field, condition.loc)
    named = [*places.items()][:MAX_FIELDS]
    found = [Problem(place, _no_attribute(view, field, suggest)) for field, place in named]
    return found + _others(found[-1].loc, len(places) - MAX_FIELDS, "")


def of_field(view: LiveView, field: str, loc: Loc, *, suggest: bool = True) -> list[Problem]:
    """An attribute that no item has, of `group_by` or `caps`."""
    return of_filter(view, Condition(field, "exists", True, "bool", loc=loc), suggest=suggest)


def of_items(view: LiveView, item_ids: Sequence[str], loc: Loc) -> list[Problem]:
    """Items that are not in the catalogue."""
    return _unknown_items(view, [(id_, (*loc, at)) for at, id_ in enumerate(item_ids)], loc)


def of_history(view: LiveView, events: Sequence[PastEvent], loc: Loc) -> list[Problem]:
    """Items of a session that are not in the catalogue, and kinds of events without a known weight."""
    places = [(event.item_id, (*loc, at, "item_id")) for at, event in enumerate(events)]
    return _unknown_items(view, places, loc) + _unknown_kinds(view.space.weighting, events, loc)


def at(loc: Loc, warnings: Iterable[Problem]) -> list[Problem]:
    """Warnings about a request, at `loc` of a body; those about a rule keep their place."""
    return [each if each.loc[:1] == ("rules",) else Problem((*loc, *each.loc), each.msg) for each in warnings]


def to_json(warnings: Iterable[Problem]) -> list[dict[str, object]]:
    return [{"loc": list(each.loc), "msg": each.msg} for each in warnings]


def _no_attribute(view: LiveView, field: str, suggest: bool) -> str:
    name = field.removeprefix(PREFIX)
    found = close_names(name, (*CORE, *view.attributes)) if suggest else ()
    return f"no item has an attribute {short_repr(name)}" + (f"; similar names: {', '.join(found)}" if found else "")


def _unknown_kinds(weighting: Weighting, events: Sequence[PastEvent], loc: Loc) -> list[Problem]:
    """Each word once, at its first event."""
    first: dict[str, int] = {}
    for at, event in enumerate(events):
        first.setdefault(event.kind, at)
    unknown = [(word, at) for word, at in first.items() if not weighting.vocabulary.meaning(word).is_known]
    found = [
        Problem((*loc, at, "kind"), f"{short_repr(word)} is an unknown kind of event, with weight {weighting.other:g}")
        for word, at in unknown[:MAX_UNKNOWN]
    ]
    return found + _others(loc, len(unknown) - MAX_UNKNOWN, " kinds")


def _unknown_items(view: LiveView, items: Sequence[tuple[str, Loc]], loc: Loc) -> list[Problem]:
    unknown = [(id_, place) for id_, place in items if id_ not in view.items]
    found = [Problem(place, f"there is no item {short_repr(id_)}") for id_, place in unknown[:MAX_UNKNOWN]]
    return found + _others(loc, len(unknown) - MAX_UNKNOWN, "")


def _others(loc: Loc, n: int, what: str) -> list[Problem]:
    return [Problem(loc, f"and {n} more{what}")] if n > 0 else []
