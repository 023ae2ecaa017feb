"""Responses as JSON bytes: items with their fields, and rows with their status."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
from fastapi import Response

from api.messages import cursors, warnings
from api.messages.cursors import Series
from api.monitoring.metrics import Metrics
from engine.errors import Problem
from engine.merchandising.placements import Placement
from engine.merchandising.rules import NO_RULES, AppliedRules
from engine.recommending.values.answer import Answer, Explanation, Hit, Part
from indexing.live.view import LiveView


def json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


@dataclass(frozen=True)
class Page:
    """The parts of a response beside the answer."""

    fields: Collection[str] | None = None  # None: all
    shown: Sequence[str] = ()  # item ids of the pages before
    pages: Series | None = None  # None: there is no next page
    degraded: bool = False
    warnings: Sequence[Problem] = ()
    loc: tuple[str | int, ...] = ()  # of the request in a body of several
    placement: Placement | None = None
    rules: AppliedRules = NO_RULES


def new_recommendation_id() -> str:
    return secrets.token_hex(12)


def items_response(
    view: LiveView, answer: Answer, metrics: Metrics, page: Page, recommendation_id: str | None = None
) -> Response:
    shared = generation_fields(view, page.degraded, recommendation_id)
    return json_response({**shelf_fields(view, answer, metrics, page), **shared})


def shelves_response(
    view: LiveView, shelves: Sequence[tuple[Answer, Page]], metrics: Metrics, recommendation_id: str
) -> Response:
    body = [shelf_fields(view, answer, metrics, page) for answer, page in shelves]
    shared = generation_fields(view, any(page.degraded for _, page in shelves), recommendation_id)
    return json_response({"shelves": body, **shared})


def generation_fields(view: LiveView, degraded: bool, recommendation_id: str | None = None) -> dict[str, object]:
    return {
        "recommendation_id": recommendation_id or new_recommendation_id(),
        "model": view.generation.model if view.generation else None,
        "generation": view.generation.generation if view.generation else None,
        "degraded": degraded or view.degraded or view.stale,
        "stale": view.stale,
    }


def shelf_fields(view: LiveView, answer: Answer, metrics: Metrics, page: Page) -> dict[str, object]:
    short, name = answer.shortfall, view.space.name
    for reason, n in Counter([hit.reason for hit in answer.hits]).items():
        metrics.recommended.labels(name, reason).inc(n)
    if short is not None:
        metrics.shortfalls.labels(name).inc()
    return {
        "items": [_item(view, hit, answer, page, place) for place, hit in enumerate(answer.hits, 1)],
        "shortfall": short and {"requested": short.requested, "returned": short.returned, "reason": short.reason},
        "cursor": _cursor(answer, page),
        "placement": _placement(page.placement),
        "rules": page.rules.names,
        "warnings": warnings.to_json([*page.warnings, *warnings.at(page.loc, answer.warnings)]),
    }


def _placement(placement: Placement | None) -> dict[str, object] | None:
    return None if placement is None else {"name": placement.name, "version": placement.version}


def _cursor(answer: Answer, page: Page) -> str | None:
    if page.pages is None or answer.shortfall is not None:
        return None
    return cursors.after([*page.shown, *(hit.item_id for hit in answer.hits)], page.pages)


def _item(view: LiveView, hit: Hit, answer: Answer, page: Page, place: int) -> dict[str, object]:
    text = view.fields(hit.item_id, hit.row)
    fields: object = orjson.Fragment(text)
    if page.fields is not None:
        fields = {name: value for name, value in orjson.loads(text).items() if name in page.fields}
    item: dict[str, object] = {"item_id": hit.item_id, "score": hit.score, "source": hit.source, "reason": hit.reason}
    item["fields"] = fields
    if answer.siblings is not None:
        item["siblings"] = answer.siblings.get(hit.item_id, ())
    if answer.because is not None:
        item["because"] = _explanation(answer.because.get(hit.item_id))
    if answer.parts is not None:
        parts = answer.parts[hit.item_id]
        item["parts"] = [_part(part, page.rules) for part in parts]
        item["rules"] = page.rules.of_slot(hit, len(page.shown) + place, parts)
    return item


def _part(part: Part, rules: AppliedRules) -> dict[str, object]:
    """A boost of a rule has no place in the request."""
    rule = rules.of_part(part)
    return {"name": part.name, "at": part.at if rule is None else None, "rule": rule, "adds": part.adds}


def _explanation(found: Explanation | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {"history": [{"item_id": id_, "adds": adds} for id_, adds in found.by], "exact": found.exact}


def rows_response(results: Sequence[tuple[str, str | None]], accepted: int, seq: int, **more: object) -> Response:
    rows = [{"status": status, "detail": detail} for status, detail in results]
    return json_response({"accepted": accepted, "seq": seq, **more, "results": rows})
