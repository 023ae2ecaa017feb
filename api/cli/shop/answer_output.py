"""Answers of `recommend` and `search`, as a table or as the JSON of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from api.cli.terminal.output import emit, out, table
from api.messages import warnings
from engine.errors import Problem
from engine.recommending.values.answer import Answer
from indexing.live.view import LiveView


def emit_answer(view: LiveView, answer: Answer, problems: Sequence[Problem], json: bool) -> None:
    """Prints an answer that was made in this process."""
    items: list[dict[str, Any]] = [
        {
            "item_id": hit.item_id,
            "score": hit.score,
            "source": hit.source,
            "reason": hit.reason,
            "fields": item_fields(view, hit.item_id, hit.row),
        }
        for hit in answer.hits
    ]
    short = answer.shortfall
    body: dict[str, Any] = {
        "items": items,
        "model": view.generation.model if view.generation else None,
        "generation": view.generation.generation if view.generation else None,
        "degraded": view.degraded,
        "shortfall": short and {"requested": short.requested, "returned": short.returned, "reason": short.reason},
        "warnings": warnings.to_json(problems),
    }
    emit_body(body, json)


def emit_body(body: dict[str, Any], json: bool) -> None:
    """Prints an answer with the fields of the HTTP API."""

    def show() -> None:
        items, short = body["items"], body["shortfall"]
        rows = [(each["item_id"], each["fields"].get("title"), each["score"], each["reason"]) for each in items]
        table(("item", "title", "score", "reason"), rows)
        if short is not None:
            out.print(f"{short['returned']} of {short['requested']}: {short['reason']}")
        print_warnings(body)

    emit(json, body, show)


def print_warnings(body: Mapping[str, Any]) -> None:
    for each in body.get("warnings", ()):
        out.print(f"{'.'.join(map(str, each['loc']))}: {each['msg']}", markup=False, soft_wrap=True)


def item_fields(view: LiveView, item_id: str, row: int) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(view.fields(item_id, row))
    return fields
