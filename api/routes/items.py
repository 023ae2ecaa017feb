"""items: write, read and delete items of the catalogue, one by one or in bulk.

A write is visible in this process at once, in other workers within milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.auth import require
from api.deps import AppDatabase, AppLiveSpaces, ItemId, View
from api.fresh_view import FreshView
from api.limits.deadline_route import DeadlineRoute
from api.limits.executors import writes
from api.messages import warnings
from api.messages.bulk_rows import check_rows
from api.messages.request_schemas import Availability, AvailabilityBody, ItemBody, ItemFields, ItemsBody, NoParameters
from api.messages.response_schemas import RowsAnswer
from api.messages.responses import json_response, rows_response
from engine.catalogue.attribute_types import AttributeType, coerce_attributes
from engine.catalogue.predicate import CORE, name_clash_note
from engine.errors import InputError, Problem
from engine.store import attribute_types, items
from engine.store.change_feeds import snapshots
from engine.values.ids import check_id
from engine.values.items import Item, ItemVector, check_item
from engine.values.vectors import MAX_ITEM_LENGTH, check_length, check_vector, rescale_extremes
from indexing.live.view import LiveView

router = APIRouter(route_class=DeadlineRoute, prefix="/v1/{space}/items", tags=["items"])
READ, WRITE = [Depends(require("read"))], [Depends(require("write"))]
ROWS: dict[int | str, dict[str, Any]] = {200: {"model": RowsAnswer}}
Nothing = Annotated[NoParameters, Query()]


@router.post("", dependencies=WRITE, responses=ROWS, summary="Write 1 to 10,000 items")
@writes
def post_items(
    body: ItemsBody, none: Nothing, view: View, database: AppDatabase, live_spaces: AppLiveSpaces
) -> Response:
    """The status of a row is `created`, `updated`, or `rejected` with the reason in `detail`. `detail` also warns of
    attributes that have the name of an item field."""
    with database.connect() as conn:
        types = attribute_types.read(conn, view.space.key)
    checked = check_rows("items", body.items, lambda row: _parse(row, view, types))
    with database.begin() as conn:
        statuses = items.upsert(conn, view.space.key, list(checked.valid.values()))
        seq = snapshots.transaction_seq(conn)
    live_spaces.notify_write(view.space.name, seq)
    clashes = {row: _clashing_attributes(item) for row, item in checked.valid.items()}
    notes = {row: "; ".join(map(name_clash_note, names)) for row, names in clashes.items() if names}
    return rows_response(checked.results(statuses, notes), len(checked.valid), seq)


@router.post("/availability", dependencies=WRITE, responses=ROWS, summary="Set the availability of 1 to 10,000 items")
@writes
def post_availability(
    body: AvailabilityBody, none: Nothing, view: View, database: AppDatabase, live_spaces: AppLiveSpaces
) -> Response:
    """The status of a row is `updated`, `unknown`, or `rejected` with the reason in `detail`."""
    checked = check_rows("items", body.items, _parse_availability)
    wanted = {row.item_id: row.available for row in checked.valid.values()}
    with database.begin() as conn:
        found = dict(zip(wanted, items.set_availability(conn, view.space.key, wanted), strict=True))
        seq = snapshots.transaction_seq(conn)
    live_spaces.notify_write(view.space.name, seq)
    rows = checked.results([found[row.item_id] for row in checked.valid.values()])
    return rows_response(rows, list(found.values()).count("updated"), seq)


@router.put("/{item_id:path}", dependencies=WRITE, summary="Create or replace an item")
@writes
def put_item(
    item_id: ItemId, body: ItemFields, none: Nothing, view: View, database: AppDatabase, live_spaces: AppLiveSpaces
) -> Response:
    item = _item(item_id, body, view, ("body",))
    with database.begin() as conn:
        item = _typed(item, attribute_types.read(conn, view.space.key), ("body",))
        [status] = items.upsert(conn, view.space.key, [item])
        seq = snapshots.transaction_seq(conn)
    live_spaces.notify_write(view.space.name, seq)
    clashes = [Problem(("body", "attributes", name), name_clash_note(name)) for name in _clashing_attributes(item)]
    body_json = {"item_id": item_id, "status": status, "seq": seq, "warnings": warnings.to_json(clashes)}
    return json_response(body_json)


@router.get("/{item_id:path}", dependencies=READ, summary="An item as stored")
def get_item(item_id: ItemId, view: FreshView, database: AppDatabase) -> Response:
    """`vector` and `vector_model` are null for an item that was written without a vector."""
    with database.connect() as conn:
        item = items.get(conn, view.space.key, item_id)
    return json_response(
        {
            "item_id": item.item_id,
            "title": item.title,
            "categories": list(item.categories),
            "attributes": dict(item.attributes),
            "available": item.available,
            "vector": item.vector and item.vector.values,
            "vector_model": item.vector and item.vector.model,
        }
    )


@router.delete("/{item_id:path}", dependencies=WRITE, summary="Delete an item; its events are kept")
@writes
def delete_item(
    item_id: ItemId, none: Nothing, view: View, database: AppDatabase, live_spaces: AppLiveSpaces
) -> Response:
    with database.begin() as conn:
        items.delete(conn, view.space.key, item_id)
        seq = snapshots.transaction_seq(conn)
    live_spaces.notify_write(view.space.name, seq)
    return json_response({"item_id": item_id, "status": "deleted", "seq": seq})


def _parse_availability(row: Any) -> Availability:
    body = Availability.model_validate(row)
    check_id(body.item_id, ("item_id",))
    return body


def _clashing_attributes(item: Item) -> list[str]:
    """Attributes that have the name of an item field."""
    return [name for name in item.attributes if name in CORE]


def _parse(row: dict[str, Any], view: LiveView, types: Mapping[str, AttributeType]) -> Item:
    body = ItemBody.model_validate(row)
    return _typed(_item(body.item_id, body, view, ()), types, ())


def _typed(item: Item, types: Mapping[str, AttributeType], loc: tuple[str, ...]) -> Item:
    return replace(item, attributes=coerce_attributes(item.attributes, types, (*loc, "attributes")))


def _item(item_id: str, body: ItemFields, view: LiveView, loc: tuple[str, ...]) -> Item:
    vector = None if body.vector is None else _vector(body.vector, view, (*loc, "vector"))
    categories = tuple(body.categories)
    return check_item(Item(item_id, body.title, categories, body.attributes, body.available, vector), loc)


def _vector(values: list[float], view: LiveView, loc: tuple[str, ...]) -> ItemVector:
    if view.generation is None:
        raise InputError("a vector belongs to a model, and this space has none yet; run `nearfield reindex`", loc=loc)
    vector = check_vector(values, view.dim, loc)
    if view.generation.metric == "cosine" and view.codec is None:
        vector = rescale_extremes(vector[None])[0]
    else:
        check_length(vector, MAX_ITEM_LENGTH, loc)
    return ItemVector(view.generation.model, tuple(vector.tolist()))
