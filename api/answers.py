"""Answers as JSON bytes: items with their fields, and rows with their status."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import orjson
from fastapi import Response

from api.metrics import Metrics
from engine.recommend import Answer, Hit
from indexing.view import LiveView


def json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


def items_response(view: LiveView, answer: Answer, metrics: Metrics, *, degraded: bool = False) -> Response:
    short = answer.shortfall
    name = view.space.name
    for reason in {hit.reason for hit in answer.hits}:
        metrics.recommended.labels(name, reason).inc(sum(hit.reason == reason for hit in answer.hits))
    if short is not None:
        metrics.shortfalls.labels(name).inc()
    return json_response(
        {
            "items": [_item(view, hit) for hit in answer.hits],
            "recommendation_id": secrets.token_hex(12),
            "model": view.generation.model if view.generation else None,
            "generation": view.generation.generation if view.generation else None,
            "degraded": degraded or view.degraded or view.stale,
            "shortfall": short and {"requested": short.requested, "returned": short.returned, "reason": short.reason},
        }
    )


def _item(view: LiveView, hit: Hit) -> dict[str, object]:
    fields = orjson.Fragment(view.fields(hit.item_id, hit.row))
    return {"item_id": hit.item_id, "score": hit.score, "reason": hit.reason, "fields": fields}


def rows_response(results: Sequence[tuple[str, str | None]], accepted: int) -> Response:
    rows = [{"status": status, "detail": detail} for status, detail in results]
    return json_response({"accepted": accepted, "results": rows})
