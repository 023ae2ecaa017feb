"""recommend and rank: what to show to whom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Response

from api.answers import items_response
from api.auth import require
from api.deps import AppDatabase, AppMetrics, AppSettings, View, check_k
from api.schemas import Exclude, ItemsAnswer, PastEvent, RankBody, RecommendBody, RecommendQuery
from engine.errors import InputError, StoreUnavailable
from engine.events import History, looked_at
from engine.ids import check_id
from engine.recommend import Answer, rank, recommend
from engine.settings import Settings
from engine.store import events
from engine.store.database import Database
from engine.vectors import Matrix, check_vector
from indexing.view import LiveView

router = APIRouter(prefix="/v1/{space}", tags=["recommend"], dependencies=[Depends(require("read"))])
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ItemsAnswer}}


@dataclass(frozen=True)
class Known:
    """What is known of the user: live history, or the stored vector while PostgreSQL is away."""

    history: History
    vector: Matrix | None = None
    degraded: bool = False


@router.get("/recommend", responses=ANSWER, summary="Items for a user, or for a list of items")
def get_recommend(
    query: Annotated[RecommendQuery, Query()],
    view: View,
    settings: AppSettings,
    database: AppDatabase,
    metrics: AppMetrics,
) -> Response:
    return _recommend(RecommendBody(**query.model_dump()), view, settings, database, metrics)


@router.post("/recommend", responses=ANSWER, summary="The same, also for a session history or a user vector")
def post_recommend(
    body: RecommendBody, view: View, settings: AppSettings, database: AppDatabase, metrics: AppMetrics
) -> Response:
    return _recommend(body, view, settings, database, metrics)


@router.post("/rank", responses=ANSWER, summary="Given items in the order of a user")
def post_rank(
    body: RankBody, view: View, settings: AppSettings, database: AppDatabase, metrics: AppMetrics
) -> Response:
    for at, item_id in enumerate(body.item_ids):
        check_id(item_id, ("item_ids", at))
    if len(set(body.item_ids)) != len(body.item_ids):
        raise InputError("item_ids names an item twice", loc=("item_ids",))
    now_us = time.time_ns() // 1000
    known = _known(body.user_id, _session(body.history, now_us), view, settings, database)
    hits = rank(view, body.item_ids, weighting=view.space.weighting, now_us=now_us, history=known.history)
    return items_response(view, Answer(hits), metrics, degraded=known.degraded)


def _recommend(
    body: RecommendBody, view: LiveView, settings: Settings, database: Database, metrics: AppMetrics
) -> Response:
    k = check_k(body.k, settings)
    for name in ("item_ids", "exclude_items"):
        for at, item_id in enumerate(getattr(body, name)):
            check_id(item_id, (name, at))
    if body.vector is not None and (body.history or body.item_ids):
        raise InputError("a vector already says who it is for; leave history and item_ids away", loc=("vector",))
    now_us = time.time_ns() // 1000
    session = _session(body.history, now_us).followed_by(looked_at(body.item_ids, now_us))
    known = _known(body.user_id, session, view, settings, database)
    vector = known.vector
    if body.vector is not None:
        if view.generation is None:
            raise InputError("there is no model yet that this vector could belong to", loc=("vector",))
        vector = check_vector(body.vector, view.dim)
    answer = recommend(
        view,
        k=k,
        weighting=view.space.weighting,
        now_us=now_us,
        history=known.history,
        vector=vector,
        exclude=[*_excluded(known.history, body.exclude), *body.exclude_items],
    )
    return items_response(view, answer, metrics, degraded=known.degraded)


def _known(user_id: str | None, session: History, view: LiveView, settings: Settings, database: Database) -> Known:
    if user_id is None:
        return Known(session)
    check_id(user_id, ("user_id",))
    try:
        with database.connect() as conn:
            stored = events.history(conn, view.space.key, user_id, settings.history_limit)
    except StoreUnavailable:
        row = view.users.ids.row(user_id) if view.users is not None and not len(session) else None
        vector = None if row is None or view.users is None else np.asarray(view.users.matrix[row])
        return Known(session, vector, degraded=True)
    return Known(session.followed_by(stored) if len(session) else stored)


def _session(past: Sequence[PastEvent], now_us: int) -> History:
    for at, event in enumerate(past):
        check_id(event.item_id, ("history", at, "item_id"))
    return History(
        tuple(event.item_id for event in past),
        tuple(event.kind for event in past),
        np.array([event.value for event in past], np.float32),
        np.array([now_us if event.occurred_at is None else _us(event.occurred_at) for event in past], np.int64),
    )


def _us(at: datetime) -> int:
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)


def _excluded(history: History, exclude: Exclude) -> set[str]:
    if exclude == "seen":
        return set(history.item_ids)
    if exclude == "purchased":
        return {id_ for id_, kind in zip(history.item_ids, history.kinds, strict=True) if kind == "purchase"}
    return set()
