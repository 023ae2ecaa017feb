"""Ids are normalised in every request: white space around them and Unicode forms make no other user."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import get_type_hints
from urllib.parse import quote

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from api.messages import request_schemas, shelf_schemas
from api.messages.latent import request_schemas as latent_schemas
from engine.store import events, users
from engine.store.database.connections import Database
from tests.api.conftest import Shop

GIVEN, KEPT = " cafe\u0301\u200b", "caf\xe9"
IDS = ("positive", "negative", "exclude_items")


def id_fields() -> Iterator[tuple[str, type[BaseModel], str]]:
    models = {
        each
        for room in (request_schemas, shelf_schemas, latent_schemas)
        for each in vars(room).values()
        if isinstance(each, type)
    }
    for model in sorted((each for each in models if issubclass(each, BaseModel)), key=lambda each: each.__name__):
        for name in model.model_fields:
            if name.endswith(("item_id", "user_id", "event_id", "item_ids")) or name in IDS:
                yield f"{model.__name__}.{name}", model, name


def test_every_id_of_every_request_is_normalised() -> None:
    fields = list(id_fields())
    assert len(fields) >= 20
    for label, model, name in fields:
        is_list = name.endswith("ids") or name in IDS
        field = TypeAdapter(get_type_hints(model, include_extras=True)[name])
        assert field.validate_python([GIVEN] if is_list else GIVEN) == ([KEPT] if is_list else KEPT), label


def test_a_path_a_body_and_a_filter_mean_the_same_item(shop: Shop) -> None:
    end = secrets.token_hex(4)
    given, kept = f" cafe\u0301-{end}\u200b", f"caf\xe9-{end}"
    assert shop.put(f"/items/{quote(given)}", {"title": "T"}).json()["item_id"] == kept
    assert shop.get(f"/items/{quote(kept)}").json()["title"] == "T"
    assert shop.post("/items", [{"item_id": given, "title": "U"}]).json()["results"][0]["status"] == "updated"
    for text in (given, kept):
        found = shop.get("/recommend", params={"filter": json.dumps({"item_id": [text]})}).json()["items"]
        assert [each["item_id"] for each in found] == [kept]
    hidden = {"items": [{"item_id": given, "available": False}]}
    assert shop.post("/items/availability", hidden).json()["results"][0]["status"] == "updated"
    shop.delete(f"/items/{quote(given)}")


def test_all_spellings_of_an_id_are_one_user(shop: Shop, database: Database) -> None:
    end = secrets.token_hex(4)
    bodies = [
        {"user_id": text, "item_id": "odd-01"} for text in (f"u-{end}", f"u-{end} ", f"\tu-{end}", f"\ufeffu-{end}")
    ]
    at = {"kind": "view", "occurred_at": "2026-01-05T00:00:00Z"}
    results = shop.post("/events", [body | at for body in bodies]).json()["results"]
    assert [each["status"] for each in results] == ["written", "duplicate", "duplicate", "duplicate"]
    assert shop.get(f"/users/u-{end}%20/export").json()["user_id"] == f"u-{end}"
    with database.connect() as conn:
        assert users.existing(conn, shop.space.key, [body["user_id"] for body in bodies]) == {f"u-{end}"}
        assert len(events.history(conn, shop.space.key, f"u-{end}", 10)) == 1


def test_an_id_of_white_space_is_invalid(shop: Shop) -> None:
    answer = shop.post("/events", [{"user_id": " \u200b", "item_id": "odd-01"}])
    assert answer.status_code == 422
    assert "non-empty text id" in answer.json()["errors"][0]["msg"]


@pytest.mark.parametrize("segment", ["a%2Fb", "a%0Ab", "a%00b", "%0A"])
def test_a_slash_or_control_character_in_another_part_of_a_path_is_not_found(shop: Shop, segment: str) -> None:
    root = shop.url.removesuffix(f"/{shop.space.name}")
    for method, url in (
        ("POST", f"{shop.url}/generations/{segment}/activate"),
        ("DELETE", f"{root}/keys/{segment}"),
        ("GET", f"{root}/{segment}/status"),
        ("DELETE", f"{root}/{segment}"),
    ):
        assert httpx.request(method, url, timeout=30).status_code in (404, 422), (method, url)
