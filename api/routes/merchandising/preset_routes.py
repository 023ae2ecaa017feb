"""The routes that all kinds of presets share: put, get, list, delete, versions and rollback.

A change is checked against the other current presets, in the transaction that writes it. A body equal to the stored one
adds no version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from api.auth import key_of, require
from api.deps import AppDatabase, AppLiveSpaces, AppSettings, View
from api.fresh_view import FreshView
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages import warnings
from api.messages.merchandising.preset_schemas import RollbackBody
from api.messages.request_schemas import NoParameters
from api.messages.responses import json_response
from engine.errors import Conflict, NotFound, Problem
from engine.merchandising.presets import check_body, check_name, parse_presets
from engine.segments.segments import Segments
from engine.store import spaces
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Connection
from engine.store.shelves import presets
from engine.store.shelves.presets import Kind, StoredPreset
from indexing.live.view import LiveView

READ, WRITE = ([Depends(require(scope))] for scope in ("read", "write"))
MAX_PRESETS = 1000  # of one kind in a space: every server keeps them in memory and parses them
Nothing = Annotated[NoParameters, Query()]
Document = dict[str, Any]


CheckFields = Callable[[Document, Segments, LiveView, int], list[Problem]]  # warnings; see `catalogue_check`


@dataclass(frozen=True)
class PresetKind:
    """What the routes of one kind need to know of it. Both checks raise InputError or Conflict."""

    kind: Kind
    plural: str  # in paths
    noun: str  # in summaries, with its article
    example: Document
    check: Callable[[str, Document, Sequence[StoredPreset]], None]  # name, body, the current presets of all kinds
    check_delete: Callable[[str, Sequence[StoredPreset]], None] = lambda name, current: None
    check_fields: CheckFields = lambda body, segments, view, keep_days: []


def preset_router(kind: PresetKind) -> APIRouter:
    router = APIRouter(route_class=DeadlineRoute, prefix=f"/v1/{{space}}/{kind.plural}", tags=["merchandising"])
    _add_reads(router, kind)
    _add_writes(router, kind)
    return router


def _add_reads(router: APIRouter, kind: PresetKind) -> None:
    @router.get("", dependencies=READ, summary=f"List the {kind.plural}")
    def list_presets(view: FreshView, database: AppDatabase) -> Response:
        with database.connect() as conn:
            found = presets.list_current(conn, view.space.key, kind.kind)
        return json_response({kind.plural: [_json(each) for each in found]})

    @router.get("/{name}", dependencies=READ, summary=f"{kind.noun} as stored")
    def get_preset(name: str, view: FreshView, database: AppDatabase) -> Response:
        with database.connect() as conn:
            return json_response(_json(presets.get(conn, view.space.key, kind.kind, _checked(name))))

    @router.get("/{name}/versions", dependencies=READ, summary=f"Every version of {kind.noun.lower()}, newest first")
    def get_versions(name: str, view: FreshView, database: AppDatabase) -> Response:
        """`body` is null for a version that deleted it. `changed_by` is the id of a key, or `local`."""
        with database.connect() as conn:
            found = presets.history(conn, view.space.key, kind.kind, _checked(name))
        if not found:
            raise NotFound(f"there never was a {kind.kind} {name!r}")
        return json_response({"versions": [_json(each) for each in found]})


def _add_writes(router: APIRouter, kind: PresetKind) -> None:
    a_body = Body(examples=[kind.example])

    @router.put("/{name}", dependencies=WRITE, summary=f"Create or replace {kind.noun.lower()}")
    @writes
    def put_preset(
        name: str,
        none: Nothing,
        request: Request,
        view: View,
        database: AppDatabase,
        settings: AppSettings,
        live_spaces: AppLiveSpaces,
        body: Document = a_body,
    ) -> Response:
        """`warnings` name fields that no item has yet."""
        check_body(body, ("body",))
        fields = view, settings.keep_shelves_days
        with database.begin() as conn:
            done = put(conn, view.space.key, kind, _checked(name), body, _changed_by(request), fields)
        live_spaces.notify_write(view.space.name, done["seq"])
        return json_response(done)

    @router.delete("/{name}", dependencies=WRITE, summary=f"Delete {kind.noun.lower()}; its versions stay")
    @writes
    def delete_preset(
        name: str, none: Nothing, request: Request, view: View, database: AppDatabase, live_spaces: AppLiveSpaces
    ) -> Response:
        with database.begin() as conn:
            spaces.lock(conn, view.space.key)
            kind.check_delete(_checked(name), presets.list_current(conn, view.space.key))
            version = presets.delete(conn, view.space.key, kind.kind, name, _changed_by(request))
            seq = snapshots.transaction_seq(conn)
        live_spaces.notify_write(view.space.name, seq)
        return json_response({"name": name, "version": version, "status": "deleted", "seq": seq})

    @router.post("/{name}/rollback", dependencies=WRITE, summary=f"Put an earlier version of {kind.noun.lower()} back")
    @writes
    def post_rollback(
        name: str,
        body: RollbackBody,
        none: Nothing,
        request: Request,
        view: View,
        database: AppDatabase,
        settings: AppSettings,
        live_spaces: AppLiveSpaces,
    ) -> Response:
        """The body of that version becomes a new version, if it is still valid beside the other presets."""
        fields = view, settings.keep_shelves_days
        with database.begin() as conn:
            stored = presets.get(conn, view.space.key, kind.kind, _checked(name), body.version)
            done = put(conn, view.space.key, kind, name, dict(stored.body or {}), _changed_by(request), fields)
        live_spaces.notify_write(view.space.name, done["seq"])
        return json_response(done)


def put(
    conn: Connection,
    space_key: int,
    kind: PresetKind,
    name: str,
    body: Document,
    changed_by: str,
    fields: tuple[LiveView, int],
) -> dict[str, Any]:
    """Check a document and store it as a new version, unless it is the stored one. InputError names a wrong part.
    `fields`: the catalogue, and for how many days served shelves are kept."""
    spaces.lock(conn, space_key)
    current = presets.list_current(conn, space_key)
    kind.check(name, body, current)
    found = kind.check_fields(body, segments_of(current), *fields)
    stored = next((each for each in current if (each.kind, each.name) == (kind.kind, name)), None)
    if stored is None and sum(each.kind == kind.kind for each in current) >= MAX_PRESETS:
        raise Conflict(f"a space has at most {MAX_PRESETS:,} {kind.plural}; delete some first")
    if stored is not None and stored.body == body:
        version, status = stored.version, "unchanged"
    else:
        version = presets.put(conn, space_key, kind.kind, name, body, changed_by)
        status = "created" if stored is None else "updated"
    seq = snapshots.transaction_seq(conn)
    return {"name": name, "version": version, "status": status, "seq": seq, "warnings": warnings.to_json(found)}


def segments_of(current: Sequence[StoredPreset]) -> Segments:
    return parse_presets(0, [each for each in current if each.kind == "segment"]).segments


def _checked(name: str) -> str:
    return check_name(name, ("path", "name"))


def _changed_by(request: Request) -> str:
    record = key_of(request)
    return "local" if record is None else record.key_id


def _json(preset: StoredPreset) -> dict[str, object]:
    return {
        "name": preset.name,
        "version": preset.version,
        "changed_at": preset.changed_at,
        "changed_by": preset.changed_by,
        "body": preset.body,
    }
