"""keys: made, listed, revoked. The text of a key is shown once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import json_response
from api.auth import require
from api.deps import AppDatabase
from api.schemas import KeyBody, NoParameters
from api.threads import writes
from api.timely import Timely
from engine.items import check_text
from engine.store import keys, spaces
from engine.store.keys import KeyRecord

router = APIRouter(route_class=Timely, prefix="/v1/keys", tags=["keys"], dependencies=[Depends(require("admin"))])
Nothing = Annotated[NoParameters, Query()]


@router.post("", summary="Make a key; its text is in this answer and nowhere else")
@writes
def post_key(body: KeyBody, none: Nothing, database: AppDatabase) -> Response:
    check_text(body.label, ("body", "label"))
    with database.begin() as conn:
        if body.space is not None:
            spaces.get(conn, body.space)
        text, record = keys.create(conn, scope=body.scope, space=body.space, label=body.label)
    return json_response({"key": text, **key_json(record)})


@router.get("", summary="Every key, without its text")
def get_keys(none: Nothing, database: AppDatabase) -> Response:
    with database.connect() as conn:
        return json_response({"keys": [key_json(record) for record in keys.list_all(conn)]})


@router.delete("/{key_id}", summary="Revoke a key; it stops working within two seconds")
@writes
def delete_key(key_id: str, none: Nothing, database: AppDatabase) -> Response:
    with database.begin() as conn:
        keys.revoke(conn, key_id)
    return json_response({"key_id": key_id, "status": "revoked"})


def key_json(record: KeyRecord) -> dict[str, Any]:
    return {
        "key_id": record.key_id,
        "scope": record.scope,
        "space": record.space,
        "label": record.label,
        "created_at": record.created_at.isoformat(),
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
    }
