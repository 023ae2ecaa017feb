"""keys: create, list and revoke API keys. The text of a key is shown once.

The admin key of one space manages the keys of that space only.
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


@router.post("", summary="Create a key; only this response has its text")
@writes
def post_key(body: KeyBody, none: Nothing, request: Request, database: AppDatabase) -> Response:
    """With the admin key of one space, `space` has to be that space."""
    check_text(body.label, ("body", "label"))
    own = key_of(request)
    if own is not None and not (own.includes(body.scope) and own.space in (None, body.space)):
        detail = f"this key creates keys of space {own.space!r} only, up to its own scope; set `space` to {own.space!r}"
        raise HTTPException(403, detail)
    with database.begin() as conn:
        text, record = api_keys.create(conn, scope=body.scope, space=body.space, label=body.label)
        if record.space_key is not None:
            check_key_space(request, record.space_key)
    return json_response({"key": text, **key_json(record)})


@router.get("", summary="List the keys, without their text")
def get_keys(none: Nothing, request: Request, database: AppDatabase) -> Response:
    with database.connect() as conn:
        records = api_keys.list_all(conn, _managed_space(request))
    return json_response({"keys": [key_json(record) for record in records]})


@router.delete("/{key_id}", summary="Revoke a key; it stops working within two seconds")
@writes
def delete_key(key_id: str, none: Nothing, request: Request, database: AppDatabase) -> Response:
    with database.begin() as conn:
        api_keys.revoke(conn, key_id, _managed_space(request))
    return json_response({"key_id": key_id, "status": "revoked"})


def _managed_space(request: Request) -> int | None:
    """The space whose keys the caller may manage; None: every space."""
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
