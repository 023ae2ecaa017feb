"""Dry runs of placements and rules, for the routes and for the commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
from fastapi import Request

from api.fresh_view import fresh_view
from api.merchandising.catalogue_check import is_unknown
from api.merchandising.dry_run import Changed, Trial, dry_run
from api.messages.merchandising.preset_schemas import ExposureOptions, ShelfDryRunBody
from api.routes.merchandising.preset_routes import Document, PresetKind, segments_of
from engine.catalogue.predicate import canonical_field
from engine.errors import InputError, NotFound, Problem, short_repr
from engine.merchandising.exposure import ExposureBy
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
    now_us = moment(body.at)
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
    if placement is not None:
        check_placement(placement, current)
    changed = Changed(kind.kind, name, 1 if stored is None else stored.version + 1, body.document)
    trial = Trial(view, database, settings, now_us, current, request)
    result = dry_run(trial, [changed], body.n, exposure_by(body, view), placement)
    return {"name": name, **result, "acted": result["acted"].get(name)}


def check_placement(name: str, current: list[presets.StoredPreset]) -> None:
    if not any((each.kind, each.name) == ("placement", name) for each in current):
        raise InputError(f"there is no placement {name!r}", loc=("body", "placement"))


def exposure_by(body: ExposureOptions, view: LiveView) -> ExposureBy:
    """InputError for a field that the request names and no item has, or without numbers for bands. A shop without
    prices has no bands by default."""
    fields = {}
    for part in ("category_field", "band_field"):
        loc = ("body", part)
        fields[part] = canonical_field(getattr(body, part), loc)
        if part in body.model_fields_set and is_unknown(fields[part], view):
            raise InputError(f"no item has a field {short_repr(getattr(body, part))}", loc=loc)
    if "band_field" in body.model_fields_set and np.isnan(view.numbers(fields["band_field"])).all():
        raise InputError(f"no item has a number in {short_repr(body.band_field)}", loc=("body", "band_field"))
    return ExposureBy(fields["category_field"], fields["band_field"], body.n_bands)


def moment(at: datetime | None) -> int:
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
