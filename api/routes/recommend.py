"""recommend and rank: what to show to whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response

from api.auth import require
from api.coalescing.history_reader import MAX_WAIT_S
from api.coalescing.user_profile import (
    UserProfile,
    profile_without_database,
    read_profile,
    read_profiles,
    session_history,
    with_session,
)
from api.deps import AppDatabase, AppMetrics, AppReadContext, AppSettings, ReadContext, View, check_k
from api.limits.deadline import check_deadline, remaining_s
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.messages import cursors, warnings
from api.messages.query_parameters import documented, query_of
from api.messages.request_schemas import BatchBody, RankBody, RecommendBody, RecommendQuery, ShelfBody
from api.messages.response_schemas import BatchAnswer, ItemsAnswer
from api.messages.responses import Page, items_response, shelves_response
from api.reads import Boosts, at_once, boosts_of, check_ids, check_work, fresh, predicate_of, without_deleted
from engine.catalogue.predicate import Predicate
from engine.deadline import until_deadline
from engine.errors import InputError, Problem, StoreUnavailable
from engine.recommending import exclusions
from engine.recommending.boost import Boosted, Factors
from engine.recommending.explanation import Explanation, explain
from engine.recommending.rank import rank
from engine.recommending.recommend import BY_SCORE, Answer, Shortfall, Taking, recommend
from engine.recommending.shelves import Shelf, recommend_shelves
from engine.values.events import History, view_history
from engine.values.ids import check_id
from engine.values.vectors import MAX_QUERY_LENGTH, Matrix, check_length, check_vector
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["recommend"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}
BATCH: dict[int | str, dict[str, Any]] = {200: {"model": BatchAnswer}}
MAX_BATCH_ITEMS = 100_000  # shelves times k
HINTED = 10  # shelves of a batch that are told what may have been meant by an attribute that no item has
Loc = tuple[str | int, ...]


@router.get(
    "/recommend",
    responses=ANSWER,
    summary="Items for a user, or for a list of items",
    openapi_extra=documented(RecommendQuery),
)
async def get_recommend(
    query: Annotated[RecommendQuery, Depends(query_of(RecommendQuery))],
    request: Request,
    view: View,
    context: AppReadContext,
) -> Response:
    return await _recommend(query, ("query", "filter"), request, view, context)


@router.post("/recommend", responses=ANSWER, summary="The same, also for a session history or a user vector")
async def post_recommend(body: RecommendBody, request: Request, view: View, context: AppReadContext) -> Response:
    return await _recommend(body, ("body", "filter"), request, view, context)


@router.post("/recommend/batch", responses=BATCH, summary="Many users, or the shelves of one page, in one call")
@long_running
def post_batch(
    body: BatchBody, request: Request, view: View, settings: AppSettings, database: AppDatabase, metrics: AppMetrics
) -> Response:
    """The shelves are answered in order; each asks as POST recommend does. `fields` and `explain` are for all."""
    n_items = sum(check_k(shelf.k, settings, ("body", "shelves", at, "k")) for at, shelf in enumerate(body.shelves))
    if n_items > MAX_BATCH_ITEMS:
        message = f"all shelves have at most {MAX_BATCH_ITEMS} items together, asked for {n_items}"
        raise InputError(message, loc=("body", "shelves"))
    now_us = time.time_ns() // 1000
    locs: list[Loc] = [("body", "shelves", at) for at in range(len(body.shelves))]
    places = [*zip(body.shelves, locs, strict=True)]
    filters = [predicate_of(shelf.filter, (*loc, "filter")) for shelf, loc in until_deadline(places, every=1)]
    boosts = [boosts_of(shelf.boost, loc) for shelf, loc in until_deadline(places, every=1)]
    sessions = [(shelf.user_id, _asked(shelf, now_us, loc)) for shelf, loc in places]
    view = fresh(request, view, body)
    check_work(view, settings, [*zip(filters, boosts, strict=True)], ("body", "shelves"), n_items)
    parts = {passed: view.where(passed) for passed in filters}
    found = read_profiles(sessions, view, database, settings.history_limit)
    check_deadline(request)
    ways = _Ways()  # shelves that ask for the same share it
    asked = [
        _shelf(shelf, each, parts[passed], ways.by(parts[passed], boosted), loc)
        for (shelf, loc), each, passed, boosted in until_deadline(
            zip(places, found, filters, boosts, strict=True), every=1
        )
    ]
    answers = recommend_shelves(asked, weighting=view.space.weighting, now_us=now_us, distinct=body.distinct)
    pages = [
        Page(
            body.fields,
            cursors.shown(shelf.cursor, (*loc, "cursor")),
            each.degraded,
            _because(view, answer, each, now_us, body.explain),
            _warnings(view, shelf, passed, boosted, loc, near=at < HINTED),
        )
        for at, ((shelf, loc), each, passed, boosted, answer) in enumerate(
            until_deadline(zip(places, found, filters, boosts, answers, strict=True), every=1)
        )
    ]
    return shelves_response(view, list(zip(answers, pages, strict=True)), metrics)


@router.post("/rank", responses=ANSWER, summary="Given items in the order of a user")
def post_rank(
    body: RankBody, request: Request, view: View, settings: AppSettings, database: AppDatabase, metrics: AppMetrics
) -> Response:
    """Items that may not be shown, or do not pass the filter, are left out; `shortfall` says how many."""
    check_ids("item_ids", body.item_ids)
    if len(set(body.item_ids)) != len(body.item_ids):
        raise InputError("item_ids names an item twice", loc=("item_ids",))
    if body.user_id is not None:
        check_id(body.user_id, ("user_id",))
    passed, boosts = predicate_of(body.filter, ("body", "filter")), boosts_of(body.boost)
    now_us = time.time_ns() // 1000
    view = fresh(request, view, body)
    check_work(view, settings, [(passed, boosts)], ("body", "filter"))
    view = view.where(passed)
    user = read_profile(body.user_id, session_history(body.history, now_us), view, database, settings.history_limit)
    check_deadline(request)
    hits = rank(
        view,
        body.item_ids,
        weighting=view.space.weighting,
        now_us=now_us,
        history=user.history,
        factors=_factors(view, boosts),
    )
    with suppress(StoreUnavailable):  # while PostgreSQL is away, as far as is known
        hits = without_deleted(hits, view.space.key, database)
    why = "the other items may not be shown" + (" or do not pass the filter" if passed else "")
    short = Shortfall(len(body.item_ids), len(hits), why) if len(hits) < len(body.item_ids) else None
    answer = Answer(hits, short)
    because = _because(view, answer, user, now_us, body.explain)
    told = _warnings(view, body, passed, boosts)
    return items_response(view, answer, metrics, Page(body.fields, (), user.degraded, because, told))


async def _recommend(
    body: RecommendBody | RecommendQuery, filter_loc: Loc, request: Request, view: LiveView, context: ReadContext
) -> Response:
    """The history first, read together with those of others; then, in a thread where it may take a while, the rest."""
    check_k(body.k, context.settings)
    passed, now_us = predicate_of(body.filter, filter_loc), time.time_ns() // 1000
    past, quick = _asked(body, now_us), at_once(view, body, passed, "metric")
    boosts = boosts_of(body.boost)
    if not quick and (passed or boosts):
        check_work(view, context.settings, [(passed, boosts)], filter_loc)
    view = view if quick else await asyncio.to_thread(fresh, request, view, body)
    user = UserProfile(past)
    if body.user_id is not None:
        try:
            within_s = remaining_s(request, MAX_WAIT_S)
            user = with_session(past, await context.history_reader.read(view.space.key, body.user_id, within_s))
        except StoreUnavailable:
            user = profile_without_database(body.user_id, past, view)
    check_deadline(request)  # a history may have taken its time
    answer = partial(_answered, body, passed, boosts, user, now_us, view, context)
    return answer() if quick else await asyncio.to_thread(answer)


def _answered(
    body: RecommendBody | RecommendQuery,
    passed: Predicate | None,
    boosts: Boosts,
    user: UserProfile,
    now_us: int,
    view: LiveView,
    context: ReadContext,
) -> Response:
    view = view.where(passed)
    shown = cursors.shown(body.cursor, ("cursor",))
    answer = recommend(
        view,
        k=body.k,
        weighting=view.space.weighting,
        now_us=now_us,
        history=user.history,
        vector=_vector(body, user, view),
        exclude=[*exclusions.of_history(user.history, view.space.weighting, body.exclude), *body.exclude_items, *shown],
        way=body.fill,
        by=_by(view, boosts),
    )
    because = _because(view, answer, user, now_us, body.explain)
    page = Page(body.fields, shown, user.degraded, because, _warnings(view, body, passed, boosts))
    return items_response(view, answer, context.metrics, page)


class _Ways:
    """The way of taking by view and boosts: what a boost is worth to each item is made once for many shelves."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Boosts], Taking] = {}

    def by(self, view: LiveView, boosts: Boosts) -> Taking:
        key = (id(view), boosts)
        if key not in self._made:
            self._made[key] = _by(view, boosts)
        return self._made[key]


def _by(view: LiveView, boosts: Boosts) -> Taking:
    factors = _factors(view, boosts)
    return BY_SCORE if factors is None else Boosted(factors)


def _factors(view: LiveView, boosts: Boosts) -> Factors | None:
    """By row of the view; None where nothing is boosted."""
    if not boosts:
        return None
    factors = np.ones(len(view.items), np.float32)
    for boosted, factor in boosts:
        passed = view.where(boosted).allowed
        factors[slice(None) if passed is None else passed] *= np.float32(factor)
    return factors


def _because(
    view: LiveView, answer: Answer, user: UserProfile, now_us: int, most: int | None
) -> Mapping[str, Explanation] | None:
    """None where nobody asked."""
    if most is None or view.generation is None:
        return None if most is None else {}
    weighting, metric = view.space.weighting, view.generation.metric
    return explain(view, answer, user.history, weighting=weighting, now_us=now_us, metric=metric, most=most)


def _warnings(
    view: LiveView,
    body: ShelfBody | RecommendQuery | RankBody,
    passed: Predicate | None,
    boosts: Boosts,
    loc: Loc = (),
    *,
    near: bool = True,
) -> list[Problem]:
    told = warnings.of_filter(view, passed, near=near)
    for boosted, _ in boosts:
        told += warnings.of_filter(view, boosted, near=near)
    told += warnings.of_items(view, body.item_ids, (*loc, "item_ids"))
    return told + warnings.of_history(view, body.history, (*loc, "history"))


def _shelf(body: ShelfBody, user: UserProfile, view: LiveView, by: Taking, loc: Loc) -> Shelf:
    exclude = [
        *exclusions.of_history(user.history, view.space.weighting, body.exclude),
        *body.exclude_items,
        *cursors.shown(body.cursor, (*loc, "cursor")),
    ]
    return Shelf(view, body.k, user.history, _vector(body, user, view, loc), exclude, body.fill, by)


def _asked(body: ShelfBody | RecommendQuery, now_us: int, loc: Loc = ()) -> History:
    """The session of a request, once its ids are checked."""
    if body.user_id is not None:
        check_id(body.user_id, (*loc, "user_id"))
    check_ids("item_ids", body.item_ids, loc)
    check_ids("exclude_items", body.exclude_items, loc)
    if body.vector is not None and (body.history or body.item_ids):
        message = "a vector already says who it is for; leave history and item_ids away"
        raise InputError(message, loc=(*loc, "vector"))
    return session_history(body.history, now_us, loc).followed_by(view_history(body.item_ids, now_us))


def _vector(body: ShelfBody | RecommendQuery, user: UserProfile, view: LiveView, loc: Loc = ()) -> Matrix | None:
    """The user vector of the request, or that of the user, where there is one instead of a history."""
    if body.vector is None:
        return user.vector
    if view.generation is None:
        raise InputError("there is no model yet that this vector could belong to", loc=(*loc, "vector"))
    loc = (*loc, "vector")
    vector = check_vector(body.vector, view.dim, loc)
    return vector if view.generation.metric == "cosine" else check_length(vector, MAX_QUERY_LENGTH, loc)
