"""page: all shelves of a stored page for one visitor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from api.auth import require
from api.coalescing.people import with_people
from api.coalescing.user_profile import UserProfile, read_profile
from api.deps import AppDatabase, AppReadContext, AppSettings, View
from api.fresh_view import fresh_view
from api.limits.deadline import check_deadline
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.limits.work_limit import check_work
from api.merchandising.lost_fields import is_objective_lost
from api.merchandising.page_documents import page_of
from api.merchandising.page_shelves import LOC, OpenShelf, Visit, cursor_after, kept, note, open_shelves
from api.merchandising.ruled import members_of
from api.messages import warnings
from api.messages.merchandising.page_schemas import PageAnswer, PageBody
from api.messages.responses import Page as Part
from api.messages.responses import generation_fields, json_response, new_recommendation_id, shelf_fields
from api.served.impressions import with_impressions
from engine.errors import InputError
from engine.merchandising.pages import by_expected_value
from engine.merchandising.rules import Members
from engine.recommending.pipeline import recommend
from engine.recommending.values.answer import Answer, Shortfall
from engine.recommending.values.request import NO_HISTORY

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["recommend"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": PageAnswer}}


@router.post("/page", responses=ANSWER, summary="All shelves of a stored page in one call")
@long_running
def post_page(body: PageBody, request: Request, view: View, context: AppReadContext) -> Response:
    """The history is read once, and the shelves share their searches. Each shelf has a `cursor`: sent back under its
    name in `cursors`, it brings the next page of that shelf. On a `distinct` page, no item is shown twice, next pages
    included, if the last `cursors` of the page are sent."""
    now_us, settings, database = time.time_ns() // 1000, context.settings, context.database
    view = fresh_view(request, view, body)
    page = page_of(view.presets, body.page, ("body", "page"))
    degraded = set[bool]()

    @cache
    def profile(user_id: str | None, session_id: str | None) -> UserProfile:
        found = read_profile(user_id, NO_HISTORY, view, database, settings.history_limit, session_id)
        check_deadline(request)
        degraded.add(found.degraded)
        return found

    @cache
    def members(user_id: str | None) -> Members:
        return members_of(user_id, view, database, now_us)

    visit = Visit(page, body, view, settings, profile, now_us, members)
    shelves = [_with_people(each, view, database, settings) for each in open_shelves(visit)]
    ready = [each.request for each in shelves if each.request is not None]
    ready, is_away = with_impressions(ready, view, database, context.shelf_writer, now_us)
    degraded.add(is_away)
    check_work(view, settings, ready, LOC, sum(each.k for each in ready))
    try:
        found = iter(recommend(view, ready, weighting=view.space.weighting, now_us=now_us, distinct=page.distinct))
    except InputError as error:
        raise error.within(LOC) from None
    answers = [_nothing(each) if each.request is None else next(found) for each in shelves]
    order: Sequence[int] = range(len(shelves))
    if page.order is not None and not is_objective_lost(view, page.order):
        order = by_expected_value(view, answers, page.order, now_us)
    everything = [*(hit.item_id for answer in answers for hit in answer.hits)] if page.distinct else []
    parts = [
        _part(each, answer, everything, body, view, settings.keep_shelves_days, any(degraded))
        for each, answer in zip(shelves, answers, strict=True)
    ]
    answered = [
        {
            "name": shelves[at].shelf.name,
            "title": shelves[at].title,
            "seed": shelves[at].start if shelves[at].shelf.seed else None,
            **shelf_fields(view, answers[at], context.metrics, parts[at]),
        }
        for at in order
    ]
    next_pages = {each["name"]: each["cursor"] for each in answered}
    passed_on = {name: cursor_after(visit, name, everything) for name in body.cursors if name not in next_pages}
    next_pages = {name: cursor for name, cursor in (passed_on | next_pages).items() if cursor is not None}
    of_page = {"page": {"name": page.name, "version": page.version}, "shelves": answered, "cursors": next_pages}
    id_ = new_recommendation_id()
    for each, answer in zip(shelves, answers, strict=True):
        if each.asked is not None:
            context.shelf_writer.keep(view.space.key, now_us, id_, kept(each), answer.hits, each.continued.own)
    return json_response({**of_page, **generation_fields(view, any(degraded), id_)})


def _with_people(shelf: OpenShelf, view: View, database: AppDatabase, settings: AppSettings) -> OpenShelf:
    if shelf.asked is None or shelf.request is None or not shelf.asked.body.user_ids:
        return shelf
    request, _ = with_people(shelf.request, shelf.asked.body.user_ids, view, database, settings.history_limit)
    return replace(shelf, request=request)


def _nothing(shelf: OpenShelf) -> Answer:
    seed = shelf.shelf.seed
    if seed is not None:
        n = "no items" if seed.nth == 1 else f"fewer than {seed.nth} items"
        what = f"{n} with an event {seed.kind}" if seed.kind else n
        reason = f"the history of the visitor has {what} to start from"
    else:
        reason = f"eligible items have no value of {shelf.shelf.best.name!r} to start from" if shelf.shelf.best else ""
    return Answer((), Shortfall(shelf.k, 0, reason), None)


def _part(
    shelf: OpenShelf,
    answer: Answer,
    everything: Sequence[str],
    body: PageBody,
    view: View,
    keep_days: int,
    degraded: bool,
) -> Part:
    """`everything`: the items of all shelves of this answer, to which the next pages add none."""
    if shelf.asked is None or shelf.request is None:
        return Part(body.fields, degraded=degraded)
    own = {*shelf.continued.own, *(hit.item_id for hit in answer.hits)}
    others = [id_ for id_ in dict.fromkeys((*shelf.continued.others, *everything)) if id_ not in own]
    pages = replace(shelf.pages, note=note(shelf.start, len(others)))
    found = warnings.of_request(view, shelf.request, shelf.asked.body, LOC, suggest=False, keep_days=keep_days)
    shown = [*others, *shelf.continued.own]
    return Part(body.fields, shown, pages, degraded, found, placement=shelf.asked.placement, rules=shelf.asked.rules)
