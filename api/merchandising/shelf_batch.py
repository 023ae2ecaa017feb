"""Shelf batch: many shelves answered together over one view, with one read of histories and shared searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from fastapi import Request as HttpRequest

from api.coalescing.people import with_people
from api.coalescing.user_profile import UserProfile, read_profile, read_profiles
from api.deps import check_k
from api.limits.deadline import check_deadline
from api.limits.work_limit import check_work
from api.merchandising.placed import placed, stores_seeds
from api.merchandising.ruled import NOTHING, members_of, of_segments, with_rules
from api.merchandising.situations import references_of
from api.messages import warnings
from api.messages.cursors import Series, series
from api.messages.responses import Page
from api.messages.shelf_schemas import ExplainOptions, ShelfBody
from api.request_parsing import Loc, parse_recommend, with_profile, with_vector
from api.strategies.strategy_parsing import check_seeds
from engine.deadline import until_deadline
from engine.errors import InputError
from engine.merchandising.placements import Placement
from engine.merchandising.rules import NO_RULES, AppliedRules, Members
from engine.recommending.pipeline import recommend
from engine.recommending.values.answer import Answer
from engine.recommending.values.request import Request
from engine.settings import Settings
from engine.store.database.connections import Database
from indexing.live.view import LiveView

MAX_ITEMS = 100_000  # shelves times k
MAX_WITH_SUGGESTIONS = 10  # shelves of a batch whose warnings suggest names of attributes


@dataclass(frozen=True, eq=False)
class AskedShelf:
    asked: ShelfBody
    body: ShelfBody  # with the parameters of its placement
    placement: Placement | None
    pages: Series
    loc: Loc
    shelf: Request
    rules: AppliedRules = NO_RULES


def asked_shelves(
    bodies: Iterable[tuple[ShelfBody, Loc]],
    view: LiveView,
    settings: Settings,
    options: ExplainOptions,
    now_us: int,
    database: Database,
) -> list[AskedShelf]:
    """The shelves parsed, each with the place of its body. InputError names the place, or a batch of too many items."""
    asked, n_items = list[AskedShelf](), 0

    @cache
    def members(user_id: str | None) -> Members:
        return members_of(user_id, view, database, now_us)

    for body, loc in until_deadline(bodies, every=1):
        pages = series(view.space.cursor_secret, body, now_us, scope=body.placement or "")
        asked.append(asked_shelf(body, loc, view, settings, options, now_us, pages, members))
        if not stores_seeds(asked[-1].placement):
            check_seeds(view, asked[-1].shelf, loc)
        n_items += asked[-1].shelf.k
        if n_items > MAX_ITEMS:
            raise InputError(f"all shelves have at most {MAX_ITEMS} items together, asked for more", loc=loc[:2])
    return asked


def asked_shelf(
    body: ShelfBody,
    loc: Loc,
    view: LiveView,
    settings: Settings,
    options: ExplainOptions,
    now_us: int,
    pages: Series,
    members: Callable[[str | None], Members],
    of_page: Mapping[str, Any] = NOTHING,
) -> AskedShelf:
    """`of_page`: the parameters of the shelf of a page, which `body` has."""
    full, placement = placed(body, view.presets, loc)
    check_k(full.k, settings, (*loc, "k"))
    shelf = parse_recommend(
        full,
        now_us,
        pages=pages,
        filter_loc=(*loc, "filter"),
        loc=loc,
        explain=options.explain,
        segments=references_of(full, view, now_us),
    )
    shelf, rules = with_rules(shelf, full, placement, view, now_us, members(of_segments(shelf)), of_page)
    return AskedShelf(body, full, placement, pages, loc, shelf, rules)


def with_profiles(
    asked: Sequence[AskedShelf],
    view: LiveView,
    database: Database,
    settings: Settings,
    request: HttpRequest | None,
    loc: Loc = ("body", "shelves"),
) -> tuple[list[Request], list[UserProfile]]:
    """The shelves with the histories of their users, read by one statement, and one for each shelf that is of a
    session alone. InputError at `loc` for too much work."""
    work = [each.shelf for each in asked]
    check_work(view, settings, work, loc, sum(shelf.k for shelf in work))
    whole = [(shelf.user_id if shelf.session_id is None else None, shelf.history) for shelf in work]
    profiles = read_profiles(whole, view, database, settings.history_limit)
    for at, shelf in enumerate(work):
        if shelf.session_id is not None:
            person = (shelf.user_id, shelf.history, view, database, settings.history_limit, shelf.session_id)
            profiles[at] = read_profile(*person)
    for at, each in enumerate(asked):
        if each.body.user_ids:
            work[at], degraded = with_people(work[at], each.body.user_ids, view, database, settings.history_limit)
            profiles[at] = replace(profiles[at], degraded=profiles[at].degraded or degraded)
    if request is not None:
        check_deadline(request)
    shelves = [
        with_profile(with_vector(shelf, each.body.vector, view, each.loc), profile)
        for shelf, each, profile in zip(work, asked, profiles, strict=True)
    ]
    return shelves, profiles


def answer_shelves(
    asked: Sequence[AskedShelf],
    shelves: Sequence[Request],
    profiles: Sequence[UserProfile],
    view: LiveView,
    settings: Settings,
    options: ExplainOptions,
    now_us: int,
    *,
    distinct: bool,
) -> list[tuple[Answer, Page]]:
    """The answers in order. `distinct`: no item is on two shelves; earlier shelves choose first."""
    try:
        answers = recommend(view, shelves, weighting=view.space.weighting, now_us=now_us, distinct=distinct)
    except InputError as error:
        raise _of_shelf(error, asked, shelves, view, now_us) from None
    shown = []
    places = until_deadline(zip(asked, shelves, profiles, strict=True), every=1)
    for at, (each, shelf, profile) in enumerate(places):
        suggest, days = at < MAX_WITH_SUGGESTIONS, settings.keep_shelves_days
        found = warnings.of_request(view, shelf, each.body, each.loc, suggest=suggest, keep_days=days)
        page = Page(options.fields, shelf.shown, each.pages, profile.degraded, found, each.loc)
        shown.append(replace(page, placement=each.placement, rules=each.rules))
    return list(zip(answers, shown, strict=True))


def _of_shelf(
    error: InputError, asked: Sequence[AskedShelf], shelves: Sequence[Request], view: LiveView, now_us: int
) -> InputError:
    """The error of a batch with the place of its shelf, which is found by answering one shelf after the other."""
    for each, shelf in until_deadline(zip(asked, shelves, strict=True), every=1):
        try:
            recommend(view, [shelf], weighting=view.space.weighting, now_us=now_us)
        except InputError as of_shelf:
            return of_shelf.within(each.loc)
    return error
