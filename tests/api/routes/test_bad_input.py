"""Every kind of bad input gets a 4xx problem that names the field, and nothing is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.api.conftest import Shop

EVENT = {"user_id": "careful", "item_id": "odd-01"}
TOMORROW = (datetime.now(UTC) + timedelta(days=3)).isoformat()
VECTOR = [0.1] * 8


def problem(response: httpx.Response, status: int, *place: object) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    if place:
        locations = [error["loc"] for error in body["errors"]]
        assert any(all(part in loc for part in place) for loc in locations), body
    return body


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [
        ("/recommend?k=0", 422, ("k",)),
        ("/recommend?k=-1", 422, ("k",)),
        ("/recommend?k=1000000000", 422, ("k",)),
        ("/recommend?k=ten", 422, ("k",)),
        ("/recommend?colour=red", 422, ("colour",)),
        ("/recommend?exclude=some", 422, ("exclude",)),
        ("/recommend?user_id=", 422, ("user_id",)),
        ("/recommend?user_id=a%00b", 422, ("user_id",)),
        ("/recommend?user_id=" + "x" * 257, 422, ("user_id",)),
        ("/recommend?item_ids=a%00b", 422, ("item_ids",)),
        ("/search?item_id=never-heard-of", 404, ()),
        ("/search", 422, ("item_id",)),
        ("/items/never-heard-of", 404, ()),
        ("/items/never-heard-of/similar", 404, ()),
        ("/items/a%00b", 422, ("item_id",)),
        ("/items/%ff%fe", 422, ("item_id",)),
        ("/items/" + "x" * 257, 422, ("item_id",)),
        ("/users/never-heard-of/similar", 404, ()),
        ("/users/" + "x" * 257, 422, ("user_id",)),
        ("/models/99", 404, ()),
        ("/models/one", 422, ("version",)),
        ("/status?verbose=1", 422, ("verbose",)),
        ("/nothing-here", 404, ()),
    ],
)
def test_a_bad_get_is_a_problem(shop: Shop, path: str, status: int, place: tuple[str, ...]) -> None:
    problem(shop.get(path), status, *place)


@pytest.mark.parametrize(
    ("path", "body", "status", "place"),
    [
        ("/recommend", {"vector": [float("nan")] * 8}, 422, ("vector",)),
        ("/recommend", {"vector": [float("inf")] * 8}, 422, ("vector",)),
        ("/recommend", {"vector": [1e300] * 8}, 422, ("vector",)),
        ("/recommend", {"vector": [0.0] * 8}, 422, ("vector",)),
        ("/recommend", {"vector": [0.1] * 3}, 422, ("vector",)),
        ("/recommend", {"vector": []}, 422, ("vector",)),
        ("/recommend", {"vector": VECTOR, "history": [{"item_id": "odd-01"}]}, 422, ("vector",)),
        ("/recommend", {"colour": "red"}, 422, ("colour",)),
        ("/recommend", {"k": 0}, 422, ("k",)),
        ("/recommend", {"history": [{"item_id": ""}]}, 422, ("history", 0)),
        ("/recommend", {"history": [{"item_id": "odd-01", "value": float("nan")}]}, 422, ("history", 0, "value")),
        ("/recommend", [], 422, ()),
        ("/search", {"vector": [0.1] * 3}, 422, ("vector",)),
        ("/search", {"vector": [float("nan")] * 8}, 422, ("vector",)),
        ("/search", {"positive": ["never-heard-of"]}, 404, ()),
        ("/search", {"positive": ["odd-01"], "negative": ["odd-01"]}, 422, ("negative",)),
        ("/search", {}, 422, ()),
        ("/search", {"item_id": "odd-01", "vector": VECTOR}, 422, ()),
        ("/rank", {"item_ids": []}, 422, ("item_ids",)),
        ("/rank", {"item_ids": ["odd-01", "odd-01"]}, 422, ("item_ids",)),
        ("/events", {"events": []}, 422, ("events",)),
        ("/events", {"events": [EVENT | {"occurred_at": TOMORROW}]}, 422, ("events", 0, "occurred_at")),
        ("/events", {"events": [EVENT | {"occurred_at": "yesterday"}]}, 422, ("events", 0, "occurred_at")),
        ("/events", {"events": [EVENT | {"value": float("nan")}]}, 422, ("events", 0, "value")),
        ("/events", {"events": [EVENT | {"value": float("-inf")}]}, 422, ("events", 0, "value")),
        ("/events", {"events": [EVENT | {"value": -1}]}, 422, ("events", 0, "value")),
        ("/events", {"events": [EVENT | {"user_id": "a\0b"}]}, 422, ("events", 0, "user_id")),
        ("/events", {"events": [EVENT | {"item_id": "x" * 257}]}, 422, ("events", 0, "item_id")),
        ("/events", {"events": [EVENT | {"event_id": ""}]}, 422, ("events", 0, "event_id")),
        ("/events", {"events": [EVENT | {"kind": ""}]}, 422, ("events", 0, "kind")),
        ("/events", {"events": [EVENT | {"kind": "a\0"}]}, 422, ("events", 0, "kind")),
        ("/events", {"events": [EVENT | {"colour": "red"}]}, 422, ("events", 0, "colour")),
        ("/events", {"events": [{"user_id": "careful"}]}, 422, ("events", 0, "item_id")),
        ("/events", {"events": ["text"]}, 422, ("events", 0)),
        ("/events", {"events": [EVENT] * 10_001}, 422, ("events",)),
        ("/items", {"items": [{"title": "no id"}]}, 422, ("items", 0, "item_id")),
        ("/items", {"items": [{"item_id": "x", "attributes": {"a": float("nan")}}]}, 422, ("items", 0, "attributes")),
        ("/items", {"items": [{"item_id": "x", "title": "a\0b"}]}, 422, ("items", 0, "title")),
    ],
)
def test_a_bad_post_is_a_problem(shop: Shop, path: str, body: object, status: int, place: tuple[object, ...]) -> None:
    before = shop.get("/status").json()
    response = httpx.post(
        shop.url + path, content=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=30
    )
    problem(response, status, *place)
    after = shop.get("/status").json()
    assert [after[name] for name in ("items", "users", "events")] == [
        before[name] for name in ("items", "users", "events")
    ]


@pytest.mark.parametrize("bad", [3, "text", None, [], [EVENT], True])
def test_a_row_that_is_not_an_object_does_not_reject_the_others(shop: Shop, bad: object) -> None:
    name = "careful-row"
    for path, good, written in (
        ("/events", EVENT | {"event_id": f"{bad}"}, "written"),
        ("/items", {"item_id": name}, "created"),
        ("/items/availability", {"item_id": name, "available": False}, "updated"),
    ):
        for body in ([good, bad], [bad, good]):
            named = body if path != "/items/availability" else {"items": body}
            answer = shop.post(path, named)
            assert answer.status_code == 200, answer.text
            results = answer.json()["results"]
            assert results[body.index(bad)] == {"status": "rejected", "detail": "row: expected an object"}
            assert results[body.index(good)]["status"] in (written, "duplicate", "updated")
    shop.delete(f"/items/{name}")


def test_a_request_of_nothing_but_bad_rows_is_a_problem(shop: Shop) -> None:
    body = {"items": [{"item_id": "odd-01"}, "odd-02", {"item_id": " ", "available": True}]}
    found = problem(shop.post("/items/availability", body), 422, "items", 1)
    assert [each["loc"][2:] for each in found["errors"]] == [[0, "available"], [1], [2, "item_id"]]


def test_a_body_that_is_not_json_is_a_problem(shop: Shop) -> None:
    headers = {"Content-Type": "application/json"}
    problem(httpx.post(shop.url + "/events", content=b"{oops", headers=headers), 422)
    problem(httpx.post(shop.url + "/events", content=b"\xff\xfe", headers=headers), 422)


def test_a_body_over_the_limit_is_rejected_with_or_without_content_length(shop: Shop) -> None:
    size = shop.settings.max_body_bytes + 1
    headers = {"Content-Type": "application/json"}
    problem(httpx.post(shop.url + "/events", content=b" " * size, headers=headers, timeout=60), 413)

    def pieces():
        for _ in range(17):
            yield b" " * 2**20

    problem(httpx.post(shop.url + "/events", content=pieces(), headers=headers, timeout=60), 413)


@pytest.mark.parametrize("depth", [300, 970, 1005, 3000])
def test_lists_in_lists_in_lists_are_a_problem_however_deep(shop: Shop, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    problem(shop.get("/recommend", params={"filter": deep}), 422)
    for path, text in (
        ("/recommend", f'{{"filter": {{"price": {deep}}}}}'),
        ("/items", f'[{{"item_id": "x", "attributes": {{"a": {deep}}}}}]'),
        ("/events", deep),
    ):
        answer = httpx.post(shop.url + path, content=text, headers={"Content-Type": "application/json"}, timeout=30)
        problem(answer, 400 if answer.status_code == 400 else 422)  # the body's parser has a limit of its own


@pytest.mark.parametrize("name", ["%00", "a%00b", "%ff", "a%2Fb"])
def test_a_generation_that_cannot_be_is_not_found(shop: Shop, name: str) -> None:
    problem(shop.post(f"/generations/{name}/activate", {}), 404)


def test_an_unknown_space_is_not_found(shop: Shop) -> None:
    base = shop.url.rsplit("/", 1)[0]
    problem(httpx.get(base + "/no-such-space/recommend"), 404)
    problem(httpx.put(base + "/No_Such%20Space!"), 422, "space")
    problem(httpx.get(base + "/a%00b/recommend"), 404)
    for second in (f"{shop.space.name}%00", f"%00{shop.space.name}"):
        problem(httpx.get(f"{base}/{second}/recommend"), 404)
        problem(httpx.delete(f"{base}/{second}"), 404)
    assert shop.get("/status").status_code == 200


def test_a_number_is_a_time_only_where_it_can_be_one_of_ours(shop: Shop) -> None:
    def send(occurred_at: object) -> httpx.Response:
        row = {"user_id": "timely", "item_id": "odd-00", "event_id": f"at-{occurred_at!r}", "occurred_at": occurred_at}
        return shop.post("/events", [row])

    for good in (20261101, "20261101", 1_580_702_706, 1_580_702_706_000):
        assert send(good).status_code == 200, good
    stored = shop.get("/users/timely/export").json()["events"]
    assert [event["occurred_at"][:19] for event in stored] == [
        *["2020-02-03T04:05:06"] * 2,
        *["2026-11-01T00:00:00"] * 2,
    ]
    for bad in (46_327, 12, 0, True, 4_000_000_000, "12", "", "soon", "2019-10-01 02:57:42 UTC", "2026-13-01"):
        answer = send(bad)
        assert answer.status_code == 422, bad
        [told] = answer.json()["errors"]
        assert told["msg"].startswith("expected ISO 8601 such as "), bad
        assert "or a number of 1990 to" in told["msg"], bad
    shop.delete("/users/timely")
