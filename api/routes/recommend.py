"""recommend and rank: items for a user, a session, a list of items or a vector; given items in the order of a user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.auth import require
from api.coalescing.history_reader import MAX_WAIT_S
from api.coalescing.people import with_people
from api.coalescing.user_profile import (
    UserProfile,
    profile_without_database,
    read_profile,
    with_session,
)
from api.deps import AppDatabase, AppMetrics, AppReadContext, AppSettings, ReadContext, View, check_k
from api.fresh_view import fresh_view
from api.limits.deadline import check_deadline, remaining_s
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.limits.work_limit import check_work, is_quick
from api.merchandising.placed import placed, stores_seeds
from api.merchandising.ruled import NeedsMembers, ask_later, members_of, of_segments, with_rules
from api.merchandising.shelf_batch import answer_shelves, asked_shelves, with_profiles
from api.merchandising.situations import references_from, references_of
from api.messages import warnings
from api.messages.cursors import series
from api.messages.query_parameters import documented, query_of
from api.messages.response_schemas import BatchAnswer, ItemsAnswer
from api.messages.responses import Page, items_response, new_recommendation_id, shelves_response
from api.messages.shelf_schemas import BatchBody, RankBody, RecommendBody, RecommendQuery
from api.request_parsing import Loc, parse_rank, parse_recommend, with_profile, with_vector
from api.served.impressions import needs_impressions, with_impressions
from api.strategies.strategy_parsing import check_seeds
from engine.deadline import MoreWork
from engine.deadline import quick as run_quick
from engine.errors import InputError, StoreUnavailable
from engine.merchandising.placements import Placement
from engine.merchandising.rules import AppliedRules
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request as Shelf
from engine.store import items
from engine.store.database.connections import Database
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["recommend"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}
BATCH: dict[int | str, dict[str, Any]] = {200: {"model": BatchAnswer}}


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
    return await _recommend(query, ("query",), request, view, context)


@router.post("/recommend", responses=ANSWER, summary="The same, also for a session history or a user vector")
async def post_recommend(body: RecommendBody, request: Request, view: View, context: AppReadContext) -> Response:
    return await _recommend(body, ("body",), request, view, context)


@router.post("/recommend/batch", responses=BATCH, summary="Many users, or the shelves of one page, in one call")
@long_running
def post_batch(body: BatchBody, request: Request, view: View, context: AppReadContext) -> Response:
    """Each shelf is a request as of POST recommend; they are answered in order. `fields` and `explain` apply to all."""
    settings, database = context.settings, context.database
    bodies = [(shelf, ("body", "shelves", at)) for at, shelf in enumerate(body.shelves)]
    view, now_us = fresh_view(request, view, body), time.time_ns() // 1000
    asked = asked_shelves(bodies, view, settings, body, now_us, database)
    shelves, profiles = with_profiles(asked, view, database, settings, request)
    shelves, is_away = with_impressions(shelves, view, database, context.shelf_writer, now_us)
    if is_away:
        profiles = [replace(profile, degraded=True) for profile in profiles]
    answered = answer_shelves(asked, shelves, profiles, view, settings, body, now_us, distinct=body.distinct)
    id_ = new_recommendation_id()
    for shelf, (answer, page) in zip(body.shelves, answered, strict=True):
        context.shelf_writer.keep(view.space.key, now_us, id_, shelf, answer.hits, page.shown)
    return shelves_response(view, answered, context.metrics, id_)


@router.post("/rank", responses=ANSWER, summary="Given items in the order of a user")
def post_rank(
    body: RankBody, request: Request, view: View, settings: AppSettings, database: AppDatabase, metrics: AppMetrics
) -> Response:
    """Leaves out items that may not be shown or do not pass the filter; `shortfall` says how many."""
    loc: Loc = ("body",)
    view, now_us = fresh_view(request, view, body), time.time_ns() // 1000
    shelf = parse_rank(body, now_us, references_from((), view, now_us), loc)
    check_work(view, settings, [shelf], ("body", "filter"))
    profile = read_profile(shelf.user_id, shelf.history, view, database, settings.history_limit)
    check_deadline(request)
    item_ids = shelf.item_ids
    with suppress(StoreUnavailable):  # without PostgreSQL, items deleted before the build are ranked as unknown items
        item_ids = without_deleted(item_ids, view, database)
    shelf = replace(shelf, history=profile.history, item_ids=item_ids)
    try:
        [answer] = recommend(view, [shelf], weighting=view.space.weighting, now_us=now_us)
    except InputError as error:
        raise error.within(loc) from None
    found = warnings.of_request(view, shelf, body, loc, keep_days=settings.keep_shelves_days)
    return items_response(view, answer, metrics, Page(body.fields, degraded=profile.degraded, warnings=found, loc=loc))


def without_deleted(item_ids: Sequence[str], view: LiveView, database: Database) -> Sequence[str]:
    """Item ids without those deleted before the generation was built, which the view knows nothing of."""
    unknown = [id_ for id_ in item_ids if id_ not in view.items]
    if not unknown:
        return item_ids
    with database.connect() as conn:
        deleted = items.deleted(conn, view.space.key, unknown)
    return [id_ for id_ in item_ids if id_ not in deleted]


async def _recommend(
    body: RecommendBody | RecommendQuery, loc: Loc, request: Request, view: LiveView, context: ReadContext
) -> Response:
    """Reads the history first, together with the histories of concurrent requests; then answers a quick request on the
    event loop, and a request that needs more work in a thread."""
    if body.min_seq is not None:
        view = await asyncio.to_thread(fresh_view, request, view, body)
    now_us = time.time_ns() // 1000
    pages = series(view.space.cursor_secret, body, now_us, scope=body.placement or "")
    asked = body
    body, placement = placed(body, view.presets, loc)
    check_k(body.k, context.settings, (*loc, "k"))
    references = references_of(body, view, now_us)
    shelf = parse_recommend(
        body,
        now_us,
        pages=pages,
        filter_loc=(*loc, "filter"),
        loc=loc,
        explain=body.explain,
        segments=references,
    )
    shelf, rules = await _ruled(shelf, body, placement, view, now_us, context)
    quick = body.min_seq is None and body.deadline_ms is None and is_quick(view, shelf)
    if not quick:
        _check_work(view, shelf, context, loc)
    if not stores_seeds(placement):
        check_seeds(view, shelf, loc)
    shelf = with_vector(shelf, body.vector, view, loc)
    degraded = False
    if shelf.user_id is not None:
        profile = await _profile(shelf.user_id, shelf, request, view, context)
        shelf, degraded = with_profile(shelf, profile), profile.degraded
    if body.user_ids:
        people = partial(with_people, shelf, body.user_ids, view, context.database, context.settings.history_limit)
        shelf, is_degraded = await asyncio.to_thread(people)
        degraded = degraded or is_degraded
    if needs_impressions(shelf, now_us):
        read = partial(with_impressions, [shelf], view, context.database, context.shelf_writer, now_us)
        shelves, is_away = await asyncio.to_thread(read)
        shelf, degraded = shelves[0], degraded or is_away
    check_deadline(request)  # reading a history may take long
    page = Page(body.fields, shelf.shown, pages, degraded, loc=loc, placement=placement, rules=rules)
    answer = partial(_answered, view, shelf, body, asked, page, now_us, context)
    if quick:
        with suppress(MoreWork):
            return run_quick(answer)
        _check_work(view, shelf, context, loc)
    return await asyncio.to_thread(answer)


async def _ruled(
    shelf: Shelf,
    body: RecommendBody | RecommendQuery,
    placement: Placement | None,
    view: LiveView,
    now_us: int,
    context: ReadContext,
) -> tuple[Shelf, AppliedRules]:
    """PostgreSQL is asked for the segments of the user only where a rule needs them, in a thread."""
    with suppress(NeedsMembers):
        return with_rules(shelf, body, placement, view, now_us, ask_later)
    members = members_of(of_segments(shelf), view, context.database, now_us)
    return await asyncio.to_thread(with_rules, shelf, body, placement, view, now_us, members)


def _check_work(view: LiveView, shelf: Shelf, context: ReadContext, loc: Loc) -> None:
    if shelf.predicate or shelf.boosts or shelf.pins:
        check_work(view, context.settings, [shelf], (*loc, "filter"))


async def _profile(user_id: str, shelf: Shelf, request: Request, view: LiveView, context: ReadContext) -> UserProfile:
    try:
        wait_s = remaining_s(request, MAX_WAIT_S)
        stored = await context.history_reader.read(view.space.key, user_id, wait_s, shelf.session_id)
        return with_session(shelf.history, stored)
    except StoreUnavailable:
        return profile_without_database(user_id, shelf.history, view, shelf.session_id)


def _answered(
    view: LiveView,
    shelf: Shelf,
    body: RecommendBody | RecommendQuery,
    asked: RecommendBody | RecommendQuery,
    page: Page,
    now_us: int,
    context: ReadContext,
) -> Response:
    """`page` is without its warnings; `asked` is the body without the parameters of its placement."""
    try:
        [answer] = recommend(view, [shelf], weighting=view.space.weighting, now_us=now_us)
    except InputError as error:
        raise error.within(page.loc) from None
    days = context.settings.keep_shelves_days
    page, id_ = (
        replace(page, warnings=warnings.of_request(view, shelf, body, page.loc, keep_days=days)),
        new_recommendation_id(),
    )
    context.shelf_writer.keep(view.space.key, now_us, id_, asked, answer.hits, shelf.shown)
    return items_response(view, answer, context.metrics, page, id_)
