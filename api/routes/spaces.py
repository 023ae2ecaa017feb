"""spaces: create, read and delete spaces, each with its event weighting and attribute types."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from api.auth import check_key_space, require
from api.deps import AppDatabase, AppLiveSpaces, AppSettings
from api.fresh_view import FreshView
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages.request_schemas import NoParameters, SpaceBody
from api.messages.responses import json_response
from engine.store import attribute_types, spaces
from engine.store.change_feeds import snapshots
from engine.store.spaces import Space
from engine.values.event_kinds import KIND_WEIGHTS
from engine.values.events import Weighting
from engine.values.items import check_text

router = APIRouter(route_class=DeadlineRoute, prefix="/v1", tags=["spaces"])
READ, ADMIN = [Depends(require("read"))], [Depends(require("admin"))]
Nothing = Annotated[NoParameters, Query()]


@router.get("", dependencies=ADMIN, summary="List every space")
def get_spaces(none: Nothing, database: AppDatabase) -> Response:
    with database.connect() as conn:
        return json_response({"spaces": [_json(space) for space in spaces.list_all(conn)]})


@router.put("/{space}", dependencies=ADMIN, summary="Create a space, or set its event weighting and attribute types")
@writes
def put_space(
    space: str,
    none: Nothing,
    request: Request,
    database: AppDatabase,
    live_spaces: AppLiveSpaces,
    body: Annotated[SpaceBody | None, Body()] = None,
) -> Response:
    with database.begin() as conn:
        made = spaces.ensure(conn, space)
        check_key_space(request, made.key)
        if body is not None and body.weighting is not None:
            values = body.weighting.model_dump()
            for kind in values["kinds"] or {}:
                check_text(kind, ("body", "weighting", "kinds"))
            kinds = KIND_WEIGHTS if values["kinds"] is None else values["kinds"]
            made = spaces.set_weighting(conn, made, Weighting(**values | {"kinds": dict(kinds)}))
        if body is not None and body.attribute_types is not None:
            for name in (*body.attribute_types.items, *body.attribute_types.users):
                check_text(name, ("body", "attribute_types"))
            attribute_types.set_types(conn, made.key, body.attribute_types.items, "item")
            attribute_types.set_types(conn, made.key, body.attribute_types.users, "user")
        shown = _json(made) | {"attribute_types": attribute_types.by_subject(conn, made.key)}
        seq = snapshots.transaction_seq(conn)
    live_spaces.notify_write(space, seq)
    return json_response({**shown, "seq": seq})


@router.get("/{space}", dependencies=READ, summary="A space")
def get_space(view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        types = {"attribute_types": attribute_types.by_subject(conn, view.space.key)}
        return json_response(_json(spaces.get(conn, view.space.name)) | types)


@router.delete("/{space}", dependencies=ADMIN, summary="Delete a space with everything in it")
@writes
def delete_space(
    space: str,
    none: Nothing,
    request: Request,
    database: AppDatabase,
    live_spaces: AppLiveSpaces,
    settings: AppSettings,
) -> Response:
    """The keys of the space are revoked."""
    with database.begin() as conn:
        check_key_space(request, spaces.get(conn, space).key)
        spaces.delete(conn, space)
        seq = snapshots.transaction_seq(conn)
    live_spaces.pop(space, None)
    shutil.rmtree(settings.generations / space, ignore_errors=True)
    return json_response({"space": space, "status": "deleted", "seq": seq})


def _json(space: Space) -> dict[str, Any]:
    weighting = asdict(space.weighting) | {"kinds": dict(space.weighting.kinds)}
    return {"space": space.name, "weighting": weighting}
