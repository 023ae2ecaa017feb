"""segments: named groups of items and of users."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import Request, Response

from api.deps import AppDatabase, View
from api.fresh_view import fresh_view
from api.limits.executors import long_running
from api.merchandising.catalogue_check import check_filter
from api.messages.merchandising.preset_schemas import DryRunBody
from api.messages.responses import json_response
from api.routes.merchandising.preset_routes import WRITE, Document, PresetKind, preset_router
from engine.errors import Conflict, Problem
from engine.merchandising.presets import check_body, check_name
from engine.segments.references import names_in
from engine.segments.segments import Segments, check_segment
from engine.store.shelves.presets import StoredPreset
from indexing.live.segment_changes import segment_change
from indexing.live.view import LiveView

EXAMPLE: Document = {"of": "users", "filter": {"n_purchases": {"gte": 3}, "last_event_at": {"gte": "now-30d"}}}


def check(name: str, body: Document, current: Sequence[StoredPreset]) -> None:
    others = {each.name: each.body for each in current if each.kind == "segment" and each.name != name}
    check_segment(name, body, {name: body for name, body in others.items() if body is not None})


def check_delete(name: str, current: Sequence[StoredPreset]) -> None:
    """Conflict while another preset refers to the segment."""
    users = [
        f"{each.kind} {each.name}"
        for each in current
        if (each.kind, each.name) != ("segment", name) and name in names_in(each.body)
    ]
    if users:
        raise Conflict(f"{', '.join(users[:5])} refers to segment {name!r}; change that first")


def check_fields(body: Document, segments: Segments, view: LiveView, keep_days: int) -> list[Problem]:
    """Fields of users have no columns to compare with."""
    return check_filter(body["filter"], segments, view, ("body", "filter")) if body["of"] == "items" else []


KIND = PresetKind("segment", "segments", "A segment", EXAMPLE, check, check_delete, check_fields)
router = preset_router(KIND)


@router.post("/{name}/dry-run", dependencies=WRITE, summary="Who and what would join and leave a changed segment")
@long_running
def post_dry_run(name: str, body: DryRunBody, request: Request, view: View, database: AppDatabase) -> Response:
    """Nothing is stored. `before` is null for a new segment. Up to ten ids that join and that leave are shown."""
    check_name(name, ("path", "name"))
    check_body(body.document, ("body", "document"))
    view = fresh_view(request, view, body)
    documents, loc = view.presets.segments.documents, ("body", "document")
    with database.connect() as conn:
        found = segment_change(view, conn, name, body.document, documents, now_us=time.time_ns() // 1000, loc=loc)
    return json_response({"name": name, **found.to_json()})
