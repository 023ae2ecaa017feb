"""users: attributes, segments, merge of a visitor into a user, export of all stored data, erasure with a receipt."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.auth import require
from api.deps import AppDatabase, AppShelfWriter, UserId, View
from api.fresh_view import FreshView
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages.request_schemas import MergeBody, NoParameters, UserFields
from api.messages.responses import json_response
from engine.catalogue.attribute_types import coerce_attributes
from engine.errors import InputError, NotFound
from engine.store import attribute_types, erasures, user_facts, users
from engine.store.change_feeds import snapshots
from engine.store.users import User
from engine.values.ids import check_id
from engine.values.items import check_attributes

router = APIRouter(route_class=DeadlineRoute, prefix="/v1/{space}/users", tags=["users"])
READ, WRITE, ADMIN = ([Depends(require(scope))] for scope in ("read", "write", "admin"))
Nothing = Annotated[NoParameters, Query()]


@router.put("/{user_id:path}", dependencies=WRITE, summary="Create or replace a user")
@writes
def put_user(user_id: UserId, body: UserFields, none: Nothing, view: View, database: AppDatabase) -> Response:
    check_attributes(body.attributes, ("body", "attributes"))
    with database.begin() as conn:
        types = attribute_types.read(conn, view.space.key, "user")
        attributes = coerce_attributes(body.attributes, types, ("body", "attributes"))
        [status] = users.upsert(conn, view.space.key, [User(user_id, attributes)])
        seq = snapshots.transaction_seq(conn)
    return json_response({"user_id": user_id, "status": status, "seq": seq})


@router.post("/{user_id:path}/merge", dependencies=WRITE, summary="Merge a visitor into this user")
@writes
def merge_user(user_id: UserId, body: MergeBody, none: Nothing, view: View, database: AppDatabase) -> Response:
    """The events of the visitor become events of this user at once, and attributes that the user lacks are copied.

    The visitor is deleted, so a second merge changes nothing: `status` is `merged` or `unchanged`.
    """
    source = check_id(body.from_user_id, ("body", "from_user_id"))
    if source == user_id:
        raise InputError("expected another user than the one in the path", loc=("body", "from_user_id"))
    with database.begin() as conn:
        moved = users.merge(conn, view.space.key, source, user_id)
        seq = snapshots.transaction_seq(conn)
    status = "unchanged" if moved is None else "merged"
    return json_response({"user_id": user_id, "status": status, "events": moved or 0, "seq": seq})


@router.get("/{user_id:path}/export", dependencies=WRITE, summary="Export everything that is stored about a user")
def export_user(user_id: UserId, view: FreshView, database: AppDatabase) -> Response:
    """Attributes, every event, the vectors of each model version, the visitors merged into the user, and the shelves
    served to the user. For an erased
    user, the 404 says when the erasure was."""
    with database.begin() as conn:
        found = users.export(conn, view.space.key, user_id)
    return json_response(found)


@router.get("/{user_id:path}/erasure", dependencies=WRITE, summary="When a user was erased")
def get_erasure(user_id: UserId, view: FreshView, database: AppDatabase) -> Response:
    """404 for an id that was not erased, or that was allowed again."""
    with database.connect() as conn:
        at = erasures.erased_at(conn, view.space.key, user_id)
    if at is None:
        raise NotFound(f"no erasure of {user_id!r} is on record")
    return json_response({"user_id": user_id, "erased_at": at})


@router.delete("/{user_id:path}/erasure", dependencies=ADMIN, summary="Allow the id of an erased user again")
@writes
def allow_user(user_id: UserId, none: Nothing, view: View, database: AppDatabase) -> Response:
    """Erased data stays erased; new events and imports of this id are accepted again."""
    with database.begin() as conn:
        erasures.allow(conn, view.space.key, user_id)
        seq = snapshots.transaction_seq(conn)
    return json_response({"user_id": user_id, "status": "allowed", "seq": seq})


@router.get("/{user_id:path}/segments", dependencies=READ, summary="The segments that a user is in now")
def get_segments(user_id: UserId, view: FreshView, database: AppDatabase) -> Response:
    """Computed from the attributes and events of the user as stored now. A user without events and attributes is in the
    segments whose filters accept that."""
    segments, vocabulary = view.presets.segments, view.space.weighting.vocabulary
    with database.connect() as conn:
        facts = user_facts.of_user(conn, view.space.key, user_id, vocabulary, segments.user_lists)
    return json_response({"user_id": user_id, "segments": segments.of_user(facts, time.time_ns() // 1000)})


@router.get("/{user_id:path}", dependencies=READ, summary="A user as stored")
def get_user(user_id: UserId, view: FreshView, database: AppDatabase) -> Response:
    with database.connect() as conn:
        user = users.get(conn, view.space.key, user_id)
    return json_response({"user_id": user.user_id, "attributes": dict(user.attributes)})


@router.delete("/{user_id:path}", dependencies=WRITE, summary="Erase a user, their events and stored vectors")
@writes
def delete_user(
    user_id: UserId, none: Nothing, view: View, database: AppDatabase, shelf_writer: AppShelfWriter
) -> Response:
    """The receipt counts the deleted rows, including the rows of visitors who were merged into this user, and shelves
    served to them. The vector of the user in served index files is removed by the next reindex.

    `kept_out` lists the ids that are rejected in events, imports and merges until `DELETE .../users/{user_id}/erasure`.
    The database keeps a keyed hash of each id, not the id.
    """
    with database.begin() as conn:
        is_visitor = bool(shelf_writer.waiting(view.space.key, user_id))
        erased = users.delete(conn, view.space.key, user_id, is_visitor)
        seq = snapshots.transaction_seq(conn)
    body = {"user_id": user_id, "status": "erased", "erased": erased.rows, "kept_out": erased.user_ids, "seq": seq}
    return json_response(body)
