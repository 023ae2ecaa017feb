from __future__ import annotations

import secrets
from urllib.parse import quote

import pytest

from engine.store import events
from engine.store.database.connections import Database
from tests.api.conftest import Shop

ODD_IDS = [
    "a/b/c",
    "/",
    "x/similar",
    "🧢 cap 👒",
    "قميص أزرق",
    "100%25 wool",
    "a%2Fb",
    "..",
    "q?&=#",
    "new\nline",
    "tab\tid",
]


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_any_text_is_an_item_id(shop: Shop, item_id: str) -> None:
    path = f"/items/{quote(item_id, safe='')}".replace("/..", "/%2E%2E")
    assert shop.put(path, {"title": "T"}).json().items() >= {"item_id": item_id, "status": "created"}.items()
    assert shop.get(path).json()["item_id"] == item_id
    assert shop.delete(path).json().items() >= {"item_id": item_id, "status": "deleted"}.items()
    assert shop.get(path).status_code == 404


def test_a_new_item_can_be_shown_at_once_and_a_deleted_one_is_gone_at_once(shop: Shop) -> None:
    name = f"new-{secrets.token_hex(4)}"
    shop.put(f"/items/{name}", {"title": "Brand new", "attributes": {"price": 3}})
    everything = shop.get("/recommend", params={"k": 1000}).json()["items"]
    [shown] = [item for item in everything if item["item_id"] == name]
    assert shown["reason"] == "new"
    assert shown["fields"] == {"title": "Brand new", "categories": [], "price": 3}
    shop.delete(f"/items/{name}")
    assert name not in [item["item_id"] for item in shop.get("/recommend", params={"k": 1000}).json()["items"]]


def test_an_unavailable_item_is_hidden_until_it_is_back(shop: Shop) -> None:
    def similar() -> list[str]:
        return [item["item_id"] for item in shop.get("/items/odd-00/similar", params={"k": 19}).json()["items"]]

    assert "odd-04" in similar()
    body = {"items": [{"item_id": "odd-04", "available": False}, {"item_id": "unheard", "available": True}]}
    answer = shop.post("/items/availability", body).json()
    assert answer.pop("seq") > 0
    assert answer == {
        "accepted": 1,
        "results": [{"status": "updated", "detail": None}, {"status": "unknown", "detail": None}],
    }
    assert "odd-04" not in similar()
    shop.post("/items/availability", {"items": [{"item_id": "odd-04", "available": True}]})
    assert "odd-04" in similar()


def test_an_attribute_with_the_name_of_a_field_never_hides_the_field(shop: Shop) -> None:
    name = f"named-{secrets.token_hex(4)}"
    body = {
        "title": "Real",
        "attributes": {"title": "inner", "categories": ["x"], "created_at": "1999-01-01", "size": 1},
    }
    answer = shop.put(f"/items/{name}", body).json()
    assert [each["loc"] for each in answer["warnings"]] == [
        ["body", "attributes", "title"],
        ["body", "attributes", "categories"],
        ["body", "attributes", "created_at"],
    ]
    assert answer["warnings"][0]["msg"] == (
        "title is a field of every item; filters name this attribute attributes.title"
    )
    [row] = shop.post(
        "/items", [body | {"item_id": name, "attributes": {"title": "inner", "created_at": "1999-01-01"}}]
    ).json()["results"]
    assert (row["status"], row["detail"].count("is a field of every item")) == ("updated", 2)
    for asked, found in (
        ({"title": "Real"}, [name]),
        ({"title": "inner"}, []),
        ({"attributes.title": "inner"}, [name]),
        ({"attributes.created_at": "1999-01-01"}, [name]),
        ({"created_at": {"lt": "2000-01-01"}}, []),
    ):
        items = shop.post("/recommend", {"filter": asked}).json()["items"]
        assert [each["item_id"] for each in items] == found, asked
    [item] = shop.post("/recommend", {"filter": {"item_id": name}}).json()["items"]
    assert item["fields"] == {
        "title": "Real",
        "categories": [],
        "created_at": "1999-01-01",
        "attributes.title": "inner",
    }
    [item] = shop.post("/recommend", {"filter": {"item_id": name}, "fields": ["attributes.title"]}).json()["items"]
    assert item["fields"] == {"attributes.title": "inner"}
    assert shop.put(f"/items/{name}", {}).json()["warnings"] == []
    shop.delete(f"/items/{name}")


def test_a_changed_title_shows_in_the_next_answer(shop: Shop) -> None:
    shop.put("/items/odd-06", {"title": "Renamed", "categories": ["odd"]})
    everything = shop.get("/items/odd-00/similar", params={"k": 19}).json()["items"]
    assert [item["fields"]["title"] for item in everything if item["item_id"] == "odd-06"] == ["Renamed"]


def test_bulk_writes_of_items_return_a_status_per_row(shop: Shop) -> None:
    name = f"bulk-{secrets.token_hex(4)}"
    answer = shop.post(
        "/items", {"items": [{"item_id": name}, {"item_id": ""}, {"item_id": name, "title": "T"}]}
    ).json()
    assert [row["status"] for row in answer["results"]] == ["created", "rejected", "created"]
    assert answer["accepted"] == 2
    assert answer["results"][1]["detail"].startswith("item_id: expected a non-empty text id")
    assert shop.get(f"/items/{name}").json()["title"] == "T"


def test_events_are_idempotent_within_a_batch_and_across_batches(shop: Shop) -> None:
    tag = secrets.token_hex(4)
    first = {"user_id": tag, "item_id": "odd-01", "event_id": f"{tag}-1"}
    second = {"user_id": tag, "item_id": "odd-02", "kind": "cart", "occurred_at": "2026-02-01T00:00:00Z"}
    once = shop.post("/events", {"events": [first, first, second, second]}).json()
    assert [row["status"] for row in once["results"]] == ["written", "duplicate", "written", "duplicate"]
    again = shop.post("/events", [first, second]).json()
    assert [row["status"] for row in again["results"]] == ["duplicate", "duplicate"]
    assert again["accepted"] == 2


def test_an_invalid_row_does_not_reject_the_others(shop: Shop, database: Database) -> None:
    tag = secrets.token_hex(4)
    rows = [{"user_id": tag, "item_id": "odd-01"}, {"user_id": tag, "item_id": ""}, {"user_id": tag}]
    answer = shop.post("/events", {"events": rows}).json()
    assert answer["accepted"] == 1
    assert answer["results"][0] == {"status": "written", "detail": None}
    assert answer["results"][1]["detail"].startswith("item_id: ")
    assert answer["results"][2]["detail"] == "item_id: Field required"
    with database.connect() as conn:
        assert events.history(conn, shop.space.key, tag, 10).item_ids == ("odd-01",)


def test_an_erased_user_leaves_nothing_behind(shop: Shop) -> None:
    user = f"erase/{secrets.token_hex(4)}"
    path = f"/users/{quote(user, safe='')}"
    shop.put(path, {"attributes": {"country": "GB"}})
    shop.post("/events", {"events": [{"user_id": user, "item_id": "odd-01"}]})
    assert shop.get(path).json() == {"user_id": user, "attributes": {"country": "GB"}}
    receipt = shop.delete(path).json()
    assert receipt["erased"] == {"events": 1, "user_vectors": 0, "users": 1, "served_shelves": 0}
    assert shop.get(path).status_code == 404
    assert {item["reason"] for item in shop.get("/recommend", params={"user_id": user}).json()["items"]} == {"popular"}


def test_an_erased_user_is_not_shown_as_similar_to_another(shop: Shop) -> None:
    before = [user["user_id"] for user in shop.get("/users/even-user-5/similar", params={"k": 5}).json()["users"]]
    assert shop.delete(f"/users/{before[0]}").status_code == 200
    after = [user["user_id"] for user in shop.get("/users/even-user-5/similar", params={"k": 5}).json()["users"]]
    assert before[0] not in after
