"""recommend/values: the brands, the categories or the values of any other field that suit a user best."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.auth import require
from api.coalescing.user_profile import read_profile
from api.deps import AppDatabase, AppSettings, View, check_k
from api.fresh_view import fresh_view
from api.limits.deadline import check_deadline
from api.limits.deadline_route import DeadlineRoute
from api.limits.work_limit import check_work
from api.merchandising.catalogue_check import check_shares_values
from api.merchandising.situations import references_from
from api.messages import warnings
from api.messages.merchandising.value_schemas import ValuesAnswer, ValuesQuery
from api.messages.query_parameters import documented, query_of
from api.messages.responses import generation_fields, json_response
from api.request_parsing import parse_filter
from engine.catalogue.item_values import Value
from engine.catalogue.predicate import canonical_field
from engine.recommending.best_values import BestValue, best_values
from engine.recommending.values.request import NO_HISTORY
from engine.recommending.values.request import Request as Shelf
from engine.values.ids import check_id

router = APIRouter(
    route_class=DeadlineRoute, prefix="/v1/{space}", tags=["recommend"], dependencies=[Depends(require("read"))]
)
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": ValuesAnswer}}


@router.get(
    "/recommend/values",
    responses=ANSWER,
    summary="The best brands or categories for a user",
    openapi_extra=documented(ValuesQuery),
)
def get_values(
    query: Annotated[ValuesQuery, Depends(query_of(ValuesQuery))],
    request: Request,
    view: View,
    settings: AppSettings,
    database: AppDatabase,
) -> Response:
    """The score of a value is the sum of the scores that its best three eligible items have for the user. After the
    values that the history supports come the values of popular items. If `k` values exist, `k` are returned."""
    check_k(query.k, settings, ("query", "k"))
    now_us = time.time_ns() // 1000
    view = fresh_view(request, view, query)
    field = canonical_field(query.field, ("query", "field"))
    check_shares_values(field, view, ("query", "field"))
    predicate = parse_filter(query.filter, ("query", "filter"), references_from((), view, now_us))
    user_id = None if query.user_id is None else check_id(query.user_id, ("query", "user_id"))
    profile = read_profile(user_id, NO_HISTORY, view, database, settings.history_limit)
    check_deadline(request)
    shelf = Shelf(
        k=query.k,
        user_id=user_id,
        history=profile.history,
        vector=profile.vector,
        predicate=predicate,
        exclude=query.exclude.relations,
        exclude_within=query.exclude.within,
    )
    check_work(view, settings, [shelf], ("query", "filter"))
    found = best_values(view, shelf, field, weighting=view.space.weighting, now_us=now_us)
    problems = warnings.of_filter(view, predicate) + warnings.of_field(view, field, ("query", "field"))
    why = {"requested": query.k, "returned": len(found), "reason": "the eligible items have no more values"}
    body = {
        "values": [_value(each) for each in found],
        "shortfall": why if len(found) < query.k else None,
        "warnings": warnings.to_json(problems),
    }
    return json_response({**body, **generation_fields(view, profile.degraded)})


def _value(best: BestValue) -> dict[str, object]:
    item_ids = [hit.item_id for hit in best.items]
    return {"value": _json(best.value), "score": best.score, "source": best.source, "item_ids": item_ids}


def _json(value: Value) -> object:
    return value[1] if isinstance(value, tuple) else value
