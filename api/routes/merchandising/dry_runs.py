"""Dry runs of placements and rules, for the routes and for the commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

from api.fresh_view import fresh_view
from api.merchandising.dry_run import Changed, Trial, dry_run
from api.messages.merchandising.preset_schemas import ShelfDryRunBody
from api.routes.merchandising.preset_routes import Document, PresetKind, segments_of
from engine.errors import InputError, NotFound, Problem
from engine.merchandising.presets import check_body, check_name
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.shelves import presets
from indexing.live.view import LiveView


def tried(
    kind: PresetKind,
    name: str,
    body: ShelfDryRunBody,
    view: LiveView,
    settings: Settings,
    database: Database,
    request: Request | None = None,
    placement: str | None = None,
) -> dict[str, Any]:
    """The result of a dry run as JSON. InputError, NotFound and Conflict as for the change itself."""
    check_name(name, ("path", "name"))
    now_us = _moment(body.at)
    if body.document is not None:
        check_body(body.document, ("body", "document"))
    if request is not None:
        view = fresh_view(request, view, body)
    with database.connect() as conn:
        current = presets.list_current(conn, view.space.key)
    stored = next((each for each in current if (each.kind, each.name) == (kind.kind, name)), None)
    if body.document is not None:
        _check(kind, name, body.document, current, (view, settings.keep_shelves_days))
    elif stored is None:
        raise NotFound(f"there is no {kind.kind} {name!r} to delete")
    else:
        kind.check_delete(name, current)
    if placement is not None and not any((each.kind, each.name) == ("placement", placement) for each in current):
        raise InputError(f"there is no placement {placement!r}", loc=("body", "placement"))
    changed = Changed(kind.kind, name, 1 if stored is None else stored.version + 1, body.document)
    trial = Trial(view, database, settings, now_us, current, request)
    return dry_run(trial, changed, body.n, placement)


def _moment(at: datetime | None) -> int:
    """Microseconds since 1970 UTC; now without a moment."""
    now_us = time.time_ns() // 1000
    if at is None:
        return now_us
    at_us = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
    if at_us < now_us:
        message = f"expected a later moment, because requests are answered with the history of today; got {at}"
        raise InputError(message, loc=("body", "at"))
    return at_us


def _check(
    kind: PresetKind, name: str, document: Document, current: list[presets.StoredPreset], fields: tuple[LiveView, int]
) -> None:
    """As the `PUT`, with the places in `document`."""
    try:
        kind.check(name, document, current)
        kind.check_fields(document, segments_of(current), *fields)
    except InputError as error:
        problems = tuple(Problem(("body", "document", *each.loc[1:]), each.msg) for each in error.problems)
        raise InputError(str(error), problems=problems) from None
