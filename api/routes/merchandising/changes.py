"""Dry run of changes of several kinds together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from api.deps import AppDatabase, AppSettings, View
from api.fresh_view import fresh_view
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import long_running
from api.merchandising.dry_run import Changed, Trial, dry_run
from api.messages import warnings
from api.messages.merchandising.preset_schemas import ChangesDryRunBody
from api.messages.responses import json_response
from api.routes.merchandising import placements, rules, segments
from api.routes.merchandising.dry_runs import check_placement, exposure_by, moment
from api.routes.merchandising.preset_changes import Change, checked
from api.routes.merchandising.preset_routes import WRITE
from engine.errors import InputError
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.shelves import presets
from indexing.live.view import LiveView

TRIED = (placements.KIND, rules.KIND, segments.KIND)
router = APIRouter(route_class=DeadlineRoute, prefix="/v1/{space}", tags=["merchandising"])


@router.post("/dry-run", dependencies=WRITE, summary="What changed placements, rules and segments would do together")
@long_running
def post_dry_run(
    body: ChangesDryRunBody, request: Request, view: View, settings: AppSettings, database: AppDatabase
) -> Response:
    """Answers the newest requests twice: with everything as it is stored, and with all changes. Nothing is stored.
    `acted` has an entry for each changed rule."""
    changes = [Change(kind, name, each) for kind in TRIED for name, each in getattr(body, kind.plural).items()]
    if not changes:
        raise InputError("expected at least one document in placements, rules or segments", loc=("body",))
    return json_response(tried_together(changes, body, fresh_view(request, view, body), settings, database, request))


def tried_together(
    changes: Sequence[Change],
    body: ChangesDryRunBody,
    view: LiveView,
    settings: Settings,
    database: Database,
    request: Request | None = None,
) -> dict[str, Any]:
    """The result as JSON; the errors of `checked`. One new placement alone is tried as `tried` does."""
    now_us = moment(body.at)
    with database.connect() as conn:
        current = presets.list_current(conn, view.space.key)
    after, found = checked(changes, current, (view, settings.keep_shelves_days))
    if body.placement is not None:
        check_placement(body.placement, current)
    versions = {(each.kind, each.name): each.version for each in after}
    changed = [
        Changed(each.kind.kind, each.name, versions.get((each.kind.kind, each.name), 0), each.document)
        for each in changes
    ]
    trial = Trial(view, database, settings, now_us, current, request)
    result = dry_run(trial, changed, body.n, exposure_by(body, view), body.placement)
    names = {kind.plural: [each.name for each in changes if each.kind is kind] for kind in TRIED}
    return {"changed": names, **result, "warnings": warnings.to_json(found)}
