"""search and similar: by item, by vector, by items wanted and not wanted; users like a user."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth import require
from api.deps import AppDatabase, AppReadContext, AppSettings, ItemId, ReadContext, UserId, View, check_indexed, check_k
from api.limits.deadline_route import DeadlineRoute
from api.messages import cursors, warnings
from api.messages.query_parameters import documented, query_of
from api.messages.request_schemas import Near, SearchBody, SearchQuery, SimilarQuery, SimilarUsersQuery
from api.messages.response_schemas import ItemsAnswer
from api.messages.responses import Page, items_response, json_response
from api.reads import at_once, check_ids, check_work, fresh, predicate_of
from api.routes.latent import record_vector
from engine.catalogue.predicate import Predicate
from engine.errors import NotFound
from engine.recommending.recommend import user_vector
from engine.recommending.similar import nearest, similar, similar_users
from engine.store import events, users
from engine.values.ids import check_id
from engine.values.vectors import Matrix, check_vector
from indexing.live.view import LiveView

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["search"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}


@router.get("/search", responses=ANSWER, summary="Items like an item", openapi_extra=documented(SearchQuery))
async def get_search(
    query: Annotated[SearchQuery, Depends(query_of(SearchQuery))], request: Request, view: View, context: AppReadContext
) -> Response:
    check_id(query.item_id, ("item_id",))
    return await _like(query.item_id, query, request, view, context)


@router.post("/search", responses=ANSWER, summary="Items like an item, a vector, or some items but not others")
def post_search(body: SearchBody, request: Request, view: View, context: AppReadContext) -> Response:
    passed = predicate_of(body.filter, ("body", "filter"))
    check_ids("positive", body.positive)
    check_ids("negative", body.negative)
    view = fresh(request, view, body)
    if body.record is not None:
        return _near(body, record_vector(view, body.record), passed, view, context)
    if body.vector is not None:
        return _near(body, check_vector(body.vector, check_indexed(view).dim), passed, view, context)
    positive = body.positive if body.item_id is None else [check_id(body.item_id, ("item_id",))]
    return _near(body, positive, passed, view, context, body.negative)


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
    """Items like one; in a thread where that may take a while."""

    passed = predicate_of(query.filter, ("query", "filter"))

    def answer() -> Response:
        return _near(query, [item_id], passed, fresh(request, view, query), context)

    return answer() if at_once(view, query, passed) else await asyncio.to_thread(answer)


def _near(
    asked: Near,
    target: list[str] | Matrix,
    passed: Predicate | None,
    view: LiveView,
    context: ReadContext,
    unlike: list[str] | None = None,
) -> Response:
    """What is near to items, away from those of `unlike`, or near to a vector."""
    k = check_k(asked.k, context.settings)
    if passed is not None:
        check_work(view, context.settings, [(passed, ())], ("filter",))
    check_ids("exclude_items", asked.exclude_items)
    shown = cursors.shown(asked.cursor, ("cursor",))
    exclude, view = [*asked.exclude_items, *shown], view.where(passed)
    if isinstance(target, list):
        answer = similar(view, target, unlike or [], k=k, exclude=exclude)
    else:
        answer = nearest(view, target, k=k, exclude=exclude)
    page = Page(asked.fields, shown, warnings=warnings.of_filter(view, passed))
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
    k = check_k(query.k, settings)
    view = check_indexed(fresh(request, view, query))
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
