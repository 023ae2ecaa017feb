"""items: the catalogue, one at a time and in bulk. Changes show in the next answer of this worker."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.answers import json_response, rows_response
from api.auth import require
from api.deps import AppDatabase, AppLives, ItemId, View
from api.rows import check_rows
from api.schemas import AvailabilityBody, ItemBody, ItemFields, ItemsBody, NoParameters, RowsAnswer
from engine.ids import check_id
from engine.items import Item, check_item
from engine.store import items

router = APIRouter(prefix="/v1/{space}/items", tags=["items"])
READ, WRITE = [Depends(require("read"))], [Depends(require("write"))]
ROWS: dict[int | str, dict[str, Any]] = {200: {"model": RowsAnswer}}
Nothing = Annotated[NoParameters, Query()]


@router.post("", dependencies=WRITE, responses=ROWS, summary="Write 1 to 10,000 items")
def post_items(body: ItemsBody, none: Nothing, view: View, database: AppDatabase, lives: AppLives) -> Response:
    """Each row is `created`, `updated` or `rejected` with the reason."""
    checked = check_rows("items", body.items, _parse)
    with database.begin() as conn:
        statuses = items.upsert(conn, view.space.key, list(checked.good.values()))
    lives.refresh(view.space.name)
    return rows_response(checked.results(statuses), len(checked.good))


@router.post("/availability", dependencies=WRITE, responses=ROWS, summary="Show or hide 1 to 10,000 items")
def post_availability(
    body: AvailabilityBody, none: Nothing, view: View, database: AppDatabase, lives: AppLives
) -> Response:
    """Each row is `updated` or `unknown`."""
    wanted = {
        check_id(row.item_id, ("body", "items", at, "item_id")): row.available for at, row in enumerate(body.items)
    }
    with database.begin() as conn:
        found = dict(zip(wanted, items.set_availability(conn, view.space.key, wanted), strict=True))
    lives.refresh(view.space.name)
    return rows_response([(found[row.item_id], None) for row in body.items], list(found.values()).count("updated"))


@router.put("/{item_id:path}", dependencies=WRITE, summary="Write an item")
def put_item(
    item_id: ItemId, body: ItemFields, none: Nothing, view: View, database: AppDatabase, lives: AppLives
) -> Response:
    item = check_item(Item(item_id, body.title, tuple(body.categories), body.attributes, body.available), ("body",))
    with database.begin() as conn:
        [status] = items.upsert(conn, view.space.key, [item])
    lives.refresh(view.space.name)
    return json_response({"item_id": item_id, "status": status})


@router.get("/{item_id:path}", dependencies=READ, summary="An item as stored")
def get_item(item_id: ItemId, none: Nothing, view: View, database: AppDatabase) -> Response:
    with database.connect() as conn:
        item = items.get(conn, view.space.key, item_id)
    return json_response(
        {
            "item_id": item.item_id,
            "title": item.title,
            "categories": list(item.categories),
            "attributes": dict(item.attributes),
            "available": item.available,
        }
    )


@router.delete("/{item_id:path}", dependencies=WRITE, summary="Delete an item; its events stay")
def delete_item(item_id: ItemId, none: Nothing, view: View, database: AppDatabase, lives: AppLives) -> Response:
    with database.begin() as conn:
        items.delete(conn, view.space.key, item_id)
    lives.refresh(view.space.name)
    return json_response({"item_id": item_id, "status": "deleted"})


def _parse(row: dict[str, Any]) -> Item:
    body = ItemBody.model_validate(row)
    return check_item(Item(body.item_id, body.title, tuple(body.categories), body.attributes, body.available), ())
