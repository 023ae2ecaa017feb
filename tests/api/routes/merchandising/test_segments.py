"""Segments over HTTP: stored with versions, checked against each other, and the segments of a user."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.api.conftest import Shop

CHEAP = {"of": "items", "filter": {"price": {"lt": 3}}}
BUYERS = {"of": "users", "filter": {"n_purchases": {"gte": 1}, "last_event_at": {"gte": "now-30d"}}}


@pytest.fixture(autouse=True)
def empty(shop: Shop) -> Iterator[None]:
    yield
    left = shop.get("/segments").json()["segments"]
    for _ in range(len(left)):  # a segment that another one refers to goes after it
        for each in left:
            shop.delete(f"/segments/{each['name']}")
    assert shop.get("/segments").json()["segments"] == []


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


def test_a_segment_of_items_can_be_used_wherever_a_filter_can(shop: Shop) -> None:
    put(shop, "cheap", CHEAP)
    cheap, few = {"odd-00", "odd-01", "odd-02", "even-00", "even-01", "even-02"}, {"segment": "cheap"}
    text = json.dumps(few)

    def ids(answer: httpx.Response) -> list[str]:
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return [item["item_id"] for item in (body["shelves"][0] if "shelves" in body else body)["items"]]

    everything = {"k": 40, "exclude": []}
    assert set(ids(shop.get("/recommend", params={"k": 40, "filter": text}))) == cheap
    assert set(ids(shop.post("/recommend", {**everything, "filter": few}))) == cheap
    assert (
        set(ids(shop.post("/recommend/batch", {"shelves": [{**everything, "filter": {"not": few}}]}))) & cheap == set()
    )
    assert set(ids(shop.post("/rank", {"item_ids": ["odd-01", "odd-09"], "filter": few}))) == {"odd-01"}
    assert set(ids(shop.get("/search", params={"item_id": "odd-09", "k": 9, "filter": text}))) == cheap
    assert set(ids(shop.post("/search", {"item_id": "odd-09", "k": 9, "filter": few}))) == cheap
    boosted = ids(shop.post("/recommend", {**everything, "boost": [{"filter": few, "add": 1000}]}))
    assert set(boosted[:6]) == cheap
    assert ids(shop.post("/recommend", {**everything, "pins": [{"position": 1, "filter": few}]}))[0] in cheap
    values = shop.get("/recommend/values", params={"field": "price", "filter": text}).json()["values"]
    assert {each["value"] for each in values} == {0, 1, 2}


def test_a_changed_segment_counts_at_once_also_in_boosts(shop: Shop) -> None:
    def first(**options: object) -> str:
        return shop.get("/recommend", params={"k": 1, **options}).json()["items"][0]["item_id"]

    boost = json.dumps([{"filter": {"segment": "one"}, "add": 1000}])
    for item_id in ("odd-07", "even-11"):
        seq = put(shop, "one", {"of": "items", "filter": {"item_id": item_id}})["seq"]
        assert first(filter='{"segment": "one"}') == first(boost=boost) == first(boost=boost, min_seq=seq) == item_id


@pytest.mark.parametrize("name", ["gone", "buyers"])
def test_a_filter_that_names_no_segment_of_items_is_a_422(shop: Shop, name: str) -> None:
    put(shop, "buyers", BUYERS)
    for answer, place in (
        (shop.post("/recommend", {"filter": {"or": [{"segment": name}]}}), ["body", "filter", "or", 0, "segment"]),
        (shop.get("/search", params={"item_id": "odd-01", "filter": f'{{"segment": "{name}"}}'}), ["query", "filter"]),
        (
            shop.post("/recommend", {"boost": [{"filter": {"segment": name}, "factor": 2}]}),
            ["body", "boost", 0, "filter"],
        ),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"][: len(place)] == place


def dry_run(shop: Shop, name: str, document: object) -> httpx.Response:
    return shop.post(f"/segments/{name}/dry-run", {"document": document})


def test_a_dry_run_counts_who_and_what_would_join_and_leave(shop: Shop) -> None:
    put(shop, "cheap", CHEAP)
    changed = dry_run(shop, "cheap", {"of": "items", "filter": {"price": {"gte": 2, "lt": 4}}}).json()
    assert changed == {
        "name": "cheap",
        "before": 6,
        "after": 4,
        "total": 40,
        "joined": 2,
        "left": 4,
        "examples": {"joined": ["even-03", "odd-03"], "left": ["even-00", "even-01", "odd-00", "odd-01"]},
    }
    assert shop.get("/segments/cheap").json()["body"] == CHEAP
    users = {"of": "users", "filter": {"user_id": {"contains": "odd-user"}, "n_views": 8, "categories_seen": ["odd"]}}
    found = dry_run(shop, "odd", users).json()
    assert (found["before"], found["after"], found["left"]) == (None, 30, 0)
    assert len(found["examples"]["joined"]) == 10
    wrong = dry_run(shop, "cheap", {"of": "items", "filter": {"segment": "gone"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["loc"]) == (422, ["body", "document", "filter", "segment"])
