"""users: attributes, and erasure with a receipt."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import json_response
from api.auth import require
from api.deps import AppDatabase, UserId, View
from api.reads import FreshView
from api.schemas import NoParameters, UserFields
from engine.items import check_attributes
from engine.store import changes, users
from engine.users import User

router = APIRouter(prefix="/v1/{space}/users", tags=["users"])
READ, WRITE = [Depends(require("read"))], [Depends(require("write"))]
Nothing = Annotated[NoParameters, Query()]


@router.put("/{user_id:path}", dependencies=WRITE, summary="Write a user")
def put_user(user_id: UserId, body: UserFields, none: Nothing, view: View, database: AppDatabase) -> Response:
    check_attributes(body.attributes, ("body", "attributes"))
    with database.begin() as conn:
        [status] = users.upsert(conn, view.space.key, [User(user_id, body.attributes)])
        seq = changes.sequence(conn)
    return json_response({"user_id": user_id, "status": status, "seq": seq})


@router.get("/{user_id:path}", dependencies=READ, summary="A user as stored")
def get_user(user_id: UserId, view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        user = users.get(conn, view.space.key, user_id)
    return json_response({"user_id": user.user_id, "attributes": dict(user.attributes)})


@router.delete("/{user_id:path}", dependencies=WRITE, summary="Erase a user, their events and stored vectors")
def delete_user(user_id: UserId, none: Nothing, view: View, database: AppDatabase) -> Response:
    """The receipt counts the rows that went. Vectors inside served index files go with the next reindex."""
    with database.begin() as conn:
        receipt = users.delete(conn, view.space.key, user_id)
        seq = changes.sequence(conn)
    return json_response({"user_id": user_id, "status": "erased", "erased": receipt, "seq": seq})
