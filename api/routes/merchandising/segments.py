"""segments: named groups of items and of users."""

from __future__ import annotations

from collections.abc import Sequence

from api.routes.merchandising.preset_routes import Document, PresetKind, preset_router
from engine.errors import Conflict
from engine.segments.references import names_in
from engine.segments.segments import check_segment
from engine.store.shelves.presets import StoredPreset

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


router = preset_router(PresetKind("segment", "segments", "A segment", EXAMPLE, check, check_delete))
