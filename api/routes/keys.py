"""keys: made, listed, revoked. The text of a key is shown once.

Who has the admin key of one space does so with the keys of that space.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from api.auth import check_key_space, key_of, require
from api.deps import AppDatabase
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages.request_schemas import KeyBody, NoParameters
from api.messages.responses import json_response
from engine.store import api_keys
from engine.store.api_keys import KeyRecord
from engine.values.items import check_text

ADMIN = [Depends(require("admin", of_any_space=True))]
router = APIRouter(route_class=DeadlineRoute, prefix="/v1/keys", tags=["keys"], dependencies=ADMIN)
Nothing = Annotated[NoParameters, Query()]


@router.post("", summary="Make a key; its text is in this answer and nowhere else")
@writes
def post_key(body: KeyBody, none: Nothing, request: Request, database: AppDatabase) -> Response:
    """The admin of one space makes keys of that space, for which it is to be named."""
    check_text(body.label, ("body", "label"))
    mine = key_of(request)
    if mine is not None and not (mine.includes(body.scope) and mine.space in (None, body.space)):
        raise HTTPException(403, f"this key makes keys of space {mine.space!r}, up to its own scope; name that space")
    with database.begin() as conn:
        text, record = api_keys.create(conn, scope=body.scope, space=body.space, label=body.label)
        if record.space_key is not None:
            check_key_space(request, record.space_key)
    return json_response({"key": text, **key_json(record)})


@router.get("", summary="Every key, or those of the space, without their text")
def get_keys(none: Nothing, request: Request, database: AppDatabase) -> Response:
    with database.connect() as conn:
        return json_response({"keys": [key_json(record) for record in api_keys.list_all(conn, _mine(request))]})


@router.delete("/{key_id}", summary="Revoke a key; it stops working within two seconds")
@writes
def delete_key(key_id: str, none: Nothing, request: Request, database: AppDatabase) -> Response:
    with database.begin() as conn:
        api_keys.revoke(conn, key_id, _mine(request))
    return json_response({"key_id": key_id, "status": "revoked"})


def _mine(request: Request) -> int | None:
    """The space whose keys these are to who asks; None: every one."""
    key = key_of(request)
    return None if key is None else key.space_key


def key_json(record: KeyRecord) -> dict[str, Any]:
    return {
        "key_id": record.key_id,
        "scope": record.scope,
        "space": record.space,
        "label": record.label,
        "created_at": record.created_at.isoformat(),
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
    }
