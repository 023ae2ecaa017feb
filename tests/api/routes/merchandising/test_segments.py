"""Segments over HTTP: stored with versions, checked against each other, and the segments of a user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import Shop

CHEAP = {"of": "items", "filter": {"price": {"lt": 3}}}
BUYERS = {"of": "users", "filter": {"n_purchases": {"gte": 1}, "last_event_at": {"gte": "now-30d"}}}


@pytest.fixture(autouse=True)
def empty(shop: Shop) -> Iterator[None]:
    yield
    while True:  # a segment that another one refers to goes after it
        left = shop.get("/segments").json()["segments"]
        if not left:
            break
        for each in left:
            shop.delete(f"/segments/{each['name']}")


def put(shop: Shop, name: str, body: object) -> dict[str, object]:
    answer = shop.put(f"/segments/{name}", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_segment_is_stored_with_versions_and_rolled_back(shop: Shop) -> None:
    first = put(shop, "cheap", CHEAP)
    assert (first["status"], put(shop, "cheap", CHEAP)["status"]) == ("created", "unchanged")
    changed = put(shop, "cheap", {**CHEAP, "title": "Günstig"})
    assert (changed["status"], changed["version"]) == ("updated", first["version"] + 1)
    stored = shop.get("/segments/cheap").json()
    assert (stored["body"], stored["changed_by"]) == ({**CHEAP, "title": "Günstig"}, "local")
    assert [each["name"] for each in shop.get("/segments").json()["segments"]] == ["cheap"]
    back = shop.post("/segments/cheap/rollback", {"version": first["version"]}).json()
    assert (back["status"], shop.get("/segments/cheap").json()["body"]) == ("updated", CHEAP)
    assert shop.delete("/segments/cheap").json()["status"] == "deleted"
    assert shop.get("/segments/cheap").status_code == shop.delete("/segments/cheap").status_code == 404
    versions = shop.get("/segments/cheap/versions").json()["versions"]
    assert versions[0]["body"] is None
    assert [each["version"] for each in versions] == sorted((each["version"] for each in versions), reverse=True)


def test_the_segments_of_a_user_follow_each_event(shop: Shop) -> None:
    put(shop, "buyers", BUYERS)
    put(shop, "germans", {"of": "users", "filter": {"attributes.country": "DE"}})
    put(shop, "german-buyers", {"of": "users", "filter": {"segment": "germans", "and": [{"segment": "buyers"}]}})
    put(shop, "of-odd-things", {"of": "users", "filter": {"categories_bought": {"contains": "odd"}}})
    put(shop, "cheap", CHEAP)
    assert shop.get("/users/greta/segments").json() == {"user_id": "greta", "segments": []}
    shop.put("/users/greta", {"attributes": {"country": "DE"}})
    assert shop.get("/users/greta/segments").json()["segments"] == ["germans"]
    shop.post("/events", [{"user_id": "greta", "item_id": "odd-01", "kind": "order completed"}])
    found = shop.get("/users/greta/segments").json()["segments"]
    assert found == ["buyers", "german-buyers", "germans", "of-odd-things"]
    assert shop.delete("/users/greta").status_code == 200
    assert shop.get("/users/greta/segments").json()["segments"] == []


def test_a_segment_in_use_is_not_deleted_and_not_broken(shop: Shop) -> None:
    put(shop, "cheap", CHEAP)
    put(shop, "cheap-odd", {"of": "items", "filter": {"segment": "cheap", "categories": ["odd"]}})
    refused = shop.delete("/segments/cheap")
    assert (refused.status_code, "segment cheap-odd refers to segment 'cheap'" in refused.text) == (409, True)
    refused = shop.put("/segments/cheap", {"of": "users", "filter": {"n_events": 0}})
    assert (refused.status_code, "segment 'cheap-odd', which refers to it" in refused.text) == (422, True)
    refused = shop.put("/segments/cheap", {"of": "items", "filter": {"segment": "cheap-odd"}})
    assert "circle: cheap -> cheap-odd -> cheap" in refused.text


@pytest.mark.parametrize(
    ("name", "body", "loc"),
    [
        ("Cheap!", CHEAP, ["path", "name"]),
        ("cheap", {}, ["body", "of"]),
        ("cheap", [], ["body"]),
        ("cheap", {**CHEAP, "k": 3}, ["body", "k"]),
        ("cheap", {"of": "items", "filter": {"price": {"lt": {"a": 1}}}}, ["body", "filter", "price", "lt"]),
        ("cheap", {"of": "items", "filter": {"segment": "gone"}}, ["body", "filter", "segment"]),
        ("cheap", {"of": "users", "filter": {"brand": "x"}}, ["body", "filter", "brand"]),
        ("cheap", {"of": "items", "filter": {"brand": "a\u0000b"}}, ["body"]),
        ("cheap", {"of": "items", "filter": {"brand": ["x" * 1000] * 300}}, ["body"]),
    ],
)
def test_a_mistake_is_a_422_that_names_the_place(shop: Shop, name: str, body: object, loc: list[str]) -> None:
    answer = shop.put(f"/segments/{name}", body)
    assert answer.status_code == 422, answer.text
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]


def test_unknown_segments_and_versions_are_not_found(shop: Shop) -> None:
    put(shop, "cheap", CHEAP)
    assert shop.get("/segments/gone/versions").status_code == 404
    assert shop.post("/segments/cheap/rollback", {"version": 99}).status_code == 404
    assert shop.post("/segments/cheap/rollback", {"version": 0}).status_code == 422
