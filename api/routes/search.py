"""search and similar: by item, by vector, by items wanted and not wanted; users like a user."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import items_response, json_response
from api.auth import require
from api.deps import AppDatabase, AppMetrics, AppSettings, ItemId, UserId, View, check_k, check_space
from api.routes.latent import record_vector
from api.schemas import ItemsAnswer, SearchBody, SearchQuery, SimilarQuery
from engine.errors import NotFound
from engine.ids import check_id
from engine.recommend import nearest, similar, similar_users, user_vector
from engine.store import events, users
from engine.vectors import check_vector

router = APIRouter(prefix="/v1/{space}", tags=["search"], dependencies=[Depends(require("read"))])
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}


@router.get("/search", responses=ANSWER, summary="Items like an item")
def get_search(
    query: Annotated[SearchQuery, Query()], view: View, settings: AppSettings, metrics: AppMetrics
) -> Response:
    return post_search(SearchBody(**query.model_dump()), view, settings, metrics)


@router.post("/search", responses=ANSWER, summary="Items like an item, a vector, or some items but not others")
def post_search(body: SearchBody, view: View, settings: AppSettings, metrics: AppMetrics) -> Response:
    k = check_k(body.k, settings)
    positive = [body.item_id] if body.item_id is not None else body.positive
    named = {"item_id" if body.item_id is not None else "positive": positive, "negative": body.negative}
    for name, ids in (named | {"exclude_items": body.exclude_items}).items():
        for id_ in ids:
            check_id(id_, (name,))
    if body.record is not None:
        return items_response(
            view, nearest(view, record_vector(view, body.record), k=k, exclude=body.exclude_items), metrics
        )
    if body.vector is None:
        return items_response(view, similar(view, positive, body.negative, k=k, exclude=body.exclude_items), metrics)
    vector = check_vector(body.vector, check_space(view).dim)
    return items_response(view, nearest(view, vector, k=k, exclude=body.exclude_items), metrics)


@router.get("/items/{item_id:path}/similar", responses=ANSWER, summary="Items like this one")
def similar_items(
    item_id: ItemId, query: Annotated[SimilarQuery, Query()], view: View, settings: AppSettings, metrics: AppMetrics
) -> Response:
    answer = similar(view, [item_id], [], k=check_k(query.k, settings), exclude=())
    return items_response(view, answer, metrics)


@router.get("/users/{user_id:path}/similar", summary="Users with a taste like this one's")
def get_similar_users(
    user_id: UserId, query: Annotated[SimilarQuery, Query()], view: View, settings: AppSettings, database: AppDatabase
) -> Response:
    """Answers `{"users": [{"user_id", "score"}], "model", "generation", "degraded"}`, cosine between user vectors."""
    k = check_k(query.k, settings)
    check_space(view)
    with database.connect() as conn:
        users.get(conn, view.space.key, user_id)
        history = events.history(conn, view.space.key, user_id, settings.history_limit)
        vector = user_vector(view, history, view.space.weighting, time.time_ns() // 1000)
        if vector is None:
            raise NotFound(f"user {user_id!r} has no events with known items yet, so no taste to compare")
        found = similar_users(view, vector, k=k + 1)
        there = users.existing(conn, view.space.key, [id_ for id_, _ in found])  # one erased since is not shown
    body = [{"user_id": id_, "score": score} for id_, score in found if id_ in there and id_ != user_id][:k]
    assert view.generation is not None
    answer = {"model": view.generation.model, "generation": view.generation.generation, "degraded": view.degraded}
    return json_response({"users": body, **answer})
