"""search and similar: items like an item, a vector, a record, or some items but not others; users like a user."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth import require
from api.deps import AppDatabase, AppReadContext, AppSettings, ItemId, ReadContext, UserId, View, check_indexed, check_k
from api.fresh_view import fresh_view
from api.limits.deadline_route import DeadlineRoute
from api.limits.work_limit import check_work, is_quick
from api.merchandising.situations import references_from
from api.messages import warnings
from api.messages.cursors import Series, series
from api.messages.query_parameters import documented, query_of
from api.messages.request_schemas import SearchBody, SearchOptions, SearchQuery, SimilarQuery, SimilarUsersQuery
from api.messages.response_schemas import ItemsAnswer
from api.messages.responses import Page, items_response, json_response
from api.request_parsing import parse_search
from api.routes.latent import record_vector
from engine.errors import NotFound
from engine.recommending.pipeline import recommend
from engine.recommending.similar_users import similar_users
from engine.recommending.values.request import Request as Shelf
from engine.recommending.vectors.user_vectors import user_vector
from engine.store import events, users
from engine.values.ids import check_id
from engine.values.vectors import check_vector
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["search"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}


@router.get("/search", responses=ANSWER, summary="Items like an item", openapi_extra=documented(SearchQuery))
async def get_search(
    query: Annotated[SearchQuery, Depends(query_of(SearchQuery))], request: Request, view: View, context: AppReadContext
) -> Response:
    check_id(query.item_id, ("query", "item_id"))
    return await _like(query.item_id, query, request, view, context)


@router.post("/search", responses=ANSWER, summary="Items like an item, a vector, or some items but not others")
def post_search(body: SearchBody, request: Request, view: View, context: AppReadContext) -> Response:
    check_k(body.k, context.settings, ("body", "k"))
    item_ids = body.positive if body.item_id is None else [check_id(body.item_id, ("body", "item_id"))]
    view = fresh_view(request, view, body)
    now_us = time.time_ns() // 1000
    pages, references = (
        series(view.space.cursor_secret, body, now_us, scope="search"),
        references_from(item_ids, view, now_us),
    )
    shelf = parse_search(body, body.filter, ("body",), item_ids, body.negative, pages, references)
    if body.record is not None:
        shelf = replace(shelf, vector=record_vector(view, body.record))
    elif body.vector is not None:
        shelf = replace(shelf, vector=check_vector(body.vector, check_indexed(view).dim, ("body", "vector")))
    return _answered(view, shelf, body, pages, context, ("body",))


@router.get(
    "/items/{item_id:path}/similar",
    responses=ANSWER,
    summary="Items like this one",
    openapi_extra=documented(SimilarQuery),
)
async def similar_items(
    item_id: ItemId,
    query: Annotated[SimilarQuery, Depends(query_of(SimilarQuery))],
    request: Request,
    view: View,
    context: AppReadContext,
) -> Response:
    return await _like(item_id, query, request, view, context)


async def _like(item_id: str, query: SimilarQuery, request: Request, view: LiveView, context: ReadContext) -> Response:
    """Items like one item; in a thread where that may take a while."""
    check_k(query.k, context.settings, ("query", "k"))
    if query.min_seq is not None:
        view = await asyncio.to_thread(fresh_view, request, view, query)
    like, now_us = {"item_id": item_id}, time.time_ns() // 1000  # in the path or in the query
    pages = series(view.space.cursor_secret, query, now_us, scope="search", more=like)
    references = references_from([item_id], view, now_us)
    shelf = parse_search(query, query.filter, ("query",), [item_id], (), pages, references)
    if query.min_seq is None and query.deadline_ms is None and is_quick(view, shelf):
        return _answered(view, shelf, query, pages, context, ("query",))
    return await asyncio.to_thread(_answered, view, shelf, query, pages, context, ("query",))


def _answered(
    view: LiveView, shelf: Shelf, near: SearchOptions, pages: Series, context: ReadContext, loc: tuple[str, ...]
) -> Response:
    if shelf.predicate is not None:
        check_work(view, context.settings, [shelf], (*loc, "filter"))
    [answer] = recommend(view, [shelf], weighting=view.space.weighting, now_us=time.time_ns() // 1000)
    page = Page(near.fields, shelf.shown, pages, warnings=warnings.of_filter(view, shelf.predicate), loc=loc)
    return items_response(view, answer, context.metrics, page)


@router.get("/users/{user_id:path}/similar", summary="Users with a taste like this one's")
def get_similar_users(
    user_id: UserId,
    query: Annotated[SimilarUsersQuery, Query()],
    request: Request,
    view: View,
    settings: AppSettings,
    database: AppDatabase,
) -> Response:
    """Answers `{"users": [{"user_id", "score"}], "model", "generation", "degraded"}`, cosine between user vectors."""
    k = check_k(query.k, settings, ("query", "k"))
    view = check_indexed(fresh_view(request, view, query))
    with database.connect() as conn:
        users.get(conn, view.space.key, user_id)
        history = events.history(conn, view.space.key, user_id, settings.history_limit)
        vector = user_vector(view, history, view.space.weighting, time.time_ns() // 1000)
        if vector is None:
            raise NotFound(f"user {user_id!r} has no events with known items yet, so no taste to compare")
        found = similar_users(view.users, vector, k=k + 1)
        there = users.existing(conn, view.space.key, [id_ for id_, _ in found])  # one erased since is not shown
    body = [{"user_id": id_, "score": score} for id_, score in found if id_ in there and id_ != user_id][:k]
    assert view.generation is not None
    answer = {"model": view.generation.model, "generation": view.generation.generation, "degraded": view.degraded}
    return json_response({"users": body, **answer})
