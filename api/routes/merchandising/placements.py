"""placements: stored parameters of `recommend`."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request, Response

from api.deps import AppDatabase, AppSettings, View
from api.limits.executors import long_running
from api.merchandising.catalogue_check import check_shelf
from api.merchandising.placed import parse_placement
from api.messages.merchandising.placement_schemas import PlacementDocument
from api.messages.merchandising.preset_schemas import ShelfDryRunBody
from api.messages.responses import json_response
from api.routes.merchandising.dry_runs import tried
from api.routes.merchandising.preset_routes import WRITE, Document, PresetKind, preset_router
from engine.errors import Conflict, InputError, Problem
from engine.merchandising.pages import placements_in
from engine.merchandising.presets import parse_presets
from engine.merchandising.rules import placements_of
from engine.merchandising.stored_document import StoredDocument
from engine.segments.segments import Segments
from engine.store.shelves.presets import StoredPreset
from indexing.live.view import LiveView

EXAMPLE: Document = {"k": 12, "filter": {"available": True}, "caps": {"brand": 3}, "exclude": {"purchased": "90d"}}


def check(name: str, body: Document, current: Sequence[StoredPreset]) -> None:
    """InputError for a wrong document, and for a rule that does not exist."""
    presets = parse_presets(0, current)
    placement = parse_placement(StoredDocument(name, 0, body), presets.segments, ("body",))
    for rule in sorted((placement.rules or frozenset()) - presets.rules.keys()):
        raise InputError(f"there is no rule {rule!r}; store it first", loc=("body", "rules"))


def check_delete(name: str, current: Sequence[StoredPreset]) -> None:
    """Conflict while a page shows the placement, or a rule acts on it."""
    users = [each.name for each in current if each.kind == "page" and name in placements_in(each.body)]
    if users:
        raise Conflict(f"page {', '.join(users[:5])} shows placement {name!r}; change that first")
    rules = [each.name for each in current if each.kind == "rule" and name in placements_of(each.body)]
    if rules:
        raise Conflict(f"rule {', '.join(rules[:5])} acts on placement {name!r}; change that first")


def check_fields(body: Document, segments: Segments, view: LiveView, keep_days: int) -> list[Problem]:
    return check_shelf(PlacementDocument.model_validate(body), segments, view, keep_days, ("body",))


KIND = PresetKind("placement", "placements", "A placement", EXAMPLE, check, check_delete, check_fields)
router = preset_router(KIND)


@router.post("/{name}/dry-run", dependencies=WRITE, summary="What a changed placement would show to real requests")
@long_running
def post_dry_run(
    name: str, body: ShelfDryRunBody, request: Request, view: View, settings: AppSettings, database: AppDatabase
) -> Response:
    """Answers the newest requests of the placement twice: with the stored placements and with the changed one. A new
    placement takes requests without a placement, as if they named it. Nothing is stored."""
    return json_response(tried(KIND, name, body, view, settings, database, request))
