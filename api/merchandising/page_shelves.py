"""Page shelves: the shelves of a page as requests, for one visitor and with one read of the history.

Seeds and best values are chosen by the first page and kept by cursors, so that the next page of "Because you viewed" is
of the same item, also when the visitor has viewed others in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from api.coalescing.user_profile import UserProfile, with_session
from api.merchandising.placed import placed, stores_seeds
from api.merchandising.shelf_batch import AskedShelf, asked_shelf
from api.messages.cursors import Series, after, opened, series
from api.messages.merchandising.page_schemas import PageBody
from api.messages.shelf_schemas import ShelfBody
from api.request_parsing import Loc, json_of_filter, parse_person, parse_session, with_profile
from api.strategies.strategy_parsing import check_seeds
from engine.catalogue.predicate import AllOf, Condition, parse
from engine.errors import InputError
from engine.merchandising.pages import Page, PageShelf, filled_title, seed_item
from engine.merchandising.placements import Placement, narrowed
from engine.merchandising.rules import Members
from engine.recommending.best_values import best_values
from engine.recommending.values.request import NO_HISTORY, Request
from engine.settings import Settings
from indexing.live.view import LiveView

LOC: Loc = ("body",)
OF_VISITOR = sorted(PageBody.model_fields.keys() & ShelfBody.model_fields.keys())  # these go to every shelf


@dataclass(frozen=True, eq=False)
class Continued:
    """What the cursor of a shelf says."""

    start: object = None  # the seed item or the best value; None: chosen now
    own: Sequence[str] = ()  # item ids of the pages before
    others: Sequence[str] = ()  # item ids of other shelves of the page


@dataclass(frozen=True, eq=False)
class OpenShelf:
    """A shelf of a page, ready to be answered; without `asked`, it has nothing to start from."""

    shelf: PageShelf
    pages: Series
    continued: Continued
    start: object
    title: str | None
    asked: AskedShelf | None
    request: Request | None
    k: int


@dataclass(frozen=True, eq=False)
class Visit:
    """One request for a page."""

    page: Page
    body: PageBody
    view: LiveView
    settings: Settings
    profile: Callable[[str | None, str | None], UserProfile]  # of a user, and of one session alone; read once
    now_us: int
    members: Callable[[str | None], Members]


def open_shelves(visit: Visit) -> list[OpenShelf]:
    """The shelves that the request asks for, in the order of the document. InputError names a wrong parameter."""
    page, body = visit.page, visit.body
    names = {shelf.name for shelf in page.shelves}
    wanted = body.shelves if body.shelves is not None else list(body.cursors) or list(names)
    for at, name in enumerate(wanted):
        _check_name(
            name, names, page, ("body", "shelves", at) if body.shelves is not None else ("body", "cursors", name)
        )
    for name in body.cursors:
        _check_name(name, names, page, ("body", "cursors", name))
    all_pages = {name: _series(visit, name) for name in names & {*wanted, *body.cursors}}
    continued = {name: _continued(body.cursors[name], all_pages[name], name) for name in body.cursors}
    shown = [id_ for each in continued.values() for id_ in (*each.own, *each.others)] if page.distinct else []
    opened_shelves = []
    for shelf in page.shelves:
        if shelf.name in wanted:
            of_shelf = continued.get(shelf.name, Continued())
            own = {*of_shelf.own}
            of_shelf = replace(of_shelf, others=[id_ for id_ in dict.fromkeys(shown) if id_ not in own])
            opened_shelves.append(_open(visit, shelf, all_pages[shelf.name], of_shelf))
    return opened_shelves


def _check_name(name: str, names: set[str], page: Page, loc: Loc) -> None:
    if name not in names:
        raise InputError(f"page {page.name!r} has no shelf {name!r}; its shelves: {', '.join(sorted(names))}", loc=loc)


def _series(visit: Visit, shelf: str) -> Series:
    secret = visit.view.space.cursor_secret
    return series(secret, visit.body, visit.now_us, scope=f"{visit.page.name}/{shelf}")


def _continued(cursor: str, pages: Series, name: str) -> Continued:
    note, ids = opened(cursor, pages, ("body", "cursors", name))
    start, n_others = orjson.loads(note)
    return Continued(start, ids[n_others:], ids[:n_others])


def note(start: object, n_others: int) -> str:
    return orjson.dumps([start, n_others]).decode()


def cursor_after(visit: Visit, name: str, shown: Sequence[str]) -> str | None:
    """The cursor of a shelf that the request only passes on, with the items that other shelves show now."""
    pages = _series(visit, name)
    continued = _continued(visit.body.cursors[name], pages, name)
    others = [id_ for id_ in dict.fromkeys((*continued.others, *shown)) if id_ not in {*continued.own}]
    return after([*others, *continued.own], replace(pages, note=note(continued.start, len(others))))


def _open(visit: Visit, shelf: PageShelf, pages: Series, continued: Continued) -> OpenShelf:
    start = continued.start
    values: Mapping[str, object] = {}
    if shelf.seed is not None:
        item_id = start if start is not None else _seed(visit, shelf)
        start, values = item_id, _fields(visit.view, item_id)
    body = _body(visit, shelf, start)
    if shelf.seed is not None and start is None:
        full, _ = placed(body, visit.view.presets, LOC)
        return OpenShelf(shelf, pages, continued, None, None, None, None, full.k)
    asked = _asked(visit, shelf, body, pages)
    is_of_visitor = shelf.seed is None and "item_ids" not in shelf.parameters and not stores_seeds(asked.placement)
    if is_of_visitor and asked.shelf.item_ids:
        check_seeds(visit.view, asked.shelf, LOC)
    request = replace(asked.shelf, shown=continued.own)
    if continued.others:
        request = replace(request, exclude_items=[*request.exclude_items, *continued.others])
    stored = visit.profile(request.user_id, request.session_id)
    vector = stored.vector if not len(request.history) else None
    profile = with_session(request.history, stored.history)
    request = with_profile(request, replace(profile, vector=vector, degraded=stored.degraded))
    if shelf.seed is not None and request.source == "for_you":
        request = replace(request, source="similar", item_ids=[str(start)], vector=None)
    if shelf.best is not None:
        start = start if start is not None else _best(visit, shelf, request)
        values = {"value": start}
        if start is not None:
            request = replace(request, predicate=_with_value(request, shelf.best.name, start))
    if start is None and shelf.best is not None:
        return OpenShelf(shelf, pages, continued, None, None, None, None, request.k)
    return OpenShelf(shelf, pages, continued, start, filled_title(shelf.title, values), asked, request, request.k)


def _asked(visit: Visit, shelf: PageShelf, body: ShelfBody, pages: Series) -> AskedShelf:
    """InputError names the shelf, where the stored parameters of one do not fit."""
    view, parameters = visit.view, shelf.parameters
    try:
        return asked_shelf(body, LOC, view, visit.settings, visit.body, visit.now_us, pages, visit.members, parameters)
    except InputError as error:
        if not error.problems or not set(error.problems[0].loc) & parameters.keys():
            raise
        message = f"shelf {shelf.name!r} of page {visit.page.name!r}: {error}"
        raise InputError(message, problems=error.problems) from None


def _body(visit: Visit, shelf: PageShelf, start: object) -> ShelfBody:
    """What the visitor asks, narrowed by the parameters of the shelf; the placement follows."""
    asked = {name: getattr(visit.body, name) for name in OF_VISITOR if name in visit.body.model_fields_set}
    if shelf.seed is not None:
        asked["item_ids"] = [] if start is None else [start]
    own = narrowed(Placement(shelf.name, 0, shelf.parameters), asked, LOC)
    return ShelfBody().model_copy(update=asked | own | ({"placement": shelf.placement} if shelf.placement else {}))


def kept(shelf: OpenShelf) -> ShelfBody:
    """The request of a shelf to keep: with what the page chose for it."""
    assert shelf.asked is not None
    asked = shelf.asked.asked
    if shelf.shelf.best is None:
        return asked
    chosen = {shelf.shelf.best.name: {"eq": shelf.start}}
    both = chosen if asked.filter is None else {"and": [json_of_filter(asked.filter, LOC), chosen]}
    return asked.model_copy(update={"filter": both})


def _seed(visit: Visit, shelf: PageShelf) -> str | None:
    assert shelf.seed is not None
    full, _ = placed(_body(visit, shelf, None), visit.view.presets, LOC)
    session = NO_HISTORY if full.personalization == "none" else parse_session(full.history, visit.now_us, LOC)
    history = with_session(session, visit.profile(*parse_person(full, LOC)).history).history
    return seed_item(shelf.seed, history, visit.view, visit.view.space.weighting.vocabulary)


def _best(visit: Visit, shelf: PageShelf, request: Request) -> object:
    assert shelf.best is not None
    view, weighting = visit.view, visit.view.space.weighting
    eligible = view if request.predicate is None else view.where(request.predicate)
    asked = replace(request, k=shelf.best.nth, predicate=None)
    found = best_values(eligible, asked, shelf.best.field, weighting=weighting, now_us=visit.now_us)
    if len(found) < shelf.best.nth:
        return None
    value = found[-1].value
    return value[1] if isinstance(value, tuple) else value


def _with_value(request: Request, field: str, value: object) -> AllOf | Condition:
    chosen = parse({field: {"eq": value}})
    assert isinstance(chosen, Condition)
    return chosen if request.predicate is None else AllOf((request.predicate, chosen))


def _fields(view: LiveView, item_id: object) -> Mapping[str, object]:
    row = None if item_id is None else view.items.row(str(item_id))
    fields = {} if row is None else orjson.loads(view.fields(str(item_id), row))
    return {**fields, "item_id": item_id}
