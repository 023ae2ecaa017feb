"""Attribute types over HTTP: the types of a file or of the space apply to writes."""

from __future__ import annotations

import secrets
from pathlib import Path

from engine.importing import import_items
from engine.store.database.connections import Database
from tests.api.conftest import Shop


def test_an_invalid_price_is_reported_with_its_place(shop: Shop) -> None:
    answer = shop.put("/items/typed", {"attributes": {"price": "N/A"}})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["loc"] == ["body", "attributes", "price"]
    assert error["msg"].startswith("price is a number in this space, got 'N/A'")
    assert shop.get("/items/typed").status_code == 404


def test_each_invalid_row_is_reported_and_the_others_are_written(shop: Shop) -> None:
    rows = [{"item_id": f"row-{n}", "attributes": {"price": price}} for n, price in enumerate(("12,50", "N/A", 3))]
    answer = shop.post("/items", rows).json()
    assert [row["status"] for row in answer["results"]] == ["created", "rejected", "created"]
    assert answer["results"][1]["detail"].startswith("attributes.price: price is a number in this space, got 'N/A'")
    assert shop.get("/items/row-0").json()["attributes"] == {"price": 12.5}
    for n in (0, 2):
        shop.delete(f"/items/row-{n}")


def test_a_file_decides_and_the_space_shows_it(shop: Shop, database: Database, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,size\nfiled,S\n")
    import_items(database, shop.space.name, path)
    assert shop.put("/items/filed", {"attributes": {"size": 38}}).json()["status"] == "updated"
    assert shop.get("/items/filed").json()["attributes"] == {"size": "38"}
    types = {"items": {"price": "number", "size": "text"}, "users": {}}
    assert shop.get("/status").json()["attribute_types"] == types
    assert shop.get("").json()["attribute_types"] == types
    shop.delete("/items/filed")


def test_types_are_set_with_the_space_for_items_and_for_users(shop: Shop) -> None:
    name = f"typed-{secrets.token_hex(4)}"
    url = shop.url.replace(f"/{shop.space.name}", f"/{name}")
    there = Shop(shop.space, url, shop.settings)
    body = {"attribute_types": {"items": {"new": "boolean"}, "users": {"age": "number"}}}
    assert there.put("", body).json()["attribute_types"] == body["attribute_types"]
    assert there.put("/items/a", {"attributes": {"new": "yes"}}).status_code == 200
    assert there.get("/items/a").json()["attributes"] == {"new": True}
    assert there.put("/users/u", {"attributes": {"age": "old"}}).status_code == 422
    assert there.put("/users/u", {"attributes": {"age": "30"}}).status_code == 200
    assert there.get("/users/u").json()["attributes"] == {"age": 30}
    assert there.put("", {"attribute_types": {"items": {"new": "float"}}}).status_code == 422
    assert there.put("", {"attribute_types": {"items": {"x" * 257: "text"}}}).status_code == 422
    there.delete("")
