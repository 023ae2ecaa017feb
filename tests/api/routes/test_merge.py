"""Merge of a visitor into a user, and the export of everything stored about a user."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from engine.store import events
from engine.store.database.connections import Database
from tests.api.conftest import Shop


@pytest.fixture
def pair() -> tuple[str, str]:
    tag = secrets.token_hex(4)
    return f"visitor/{tag}", f"known-{tag}"


def at(user: str, rest: str = "") -> str:
    return f"/users/{quote(user, safe='')}{rest}"


def merge(shop: Shop, visitor: str, known: str) -> dict[str, object]:
    answer = shop.post(at(known, "/merge"), {"from_user_id": visitor})
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    assert body.pop("seq")
    return body


def seen(shop: Shop, user: str) -> list[str]:
    return [event["item_id"] for event in shop.get(at(user, "/export")).json()["events"]]


def test_the_events_of_a_visitor_count_for_the_user_at_once(shop: Shop, pair: tuple[str, str]) -> None:
    visitor, known = pair
    rows = [{"user_id": visitor, "item_id": f"odd-{n:02}"} for n in range(4)] + [
        {"user_id": known, "item_id": "odd-09"}
    ]
    shop.post("/events", rows)
    answer = shop.post(at(known, "/merge"), {"from_user_id": visitor}).json()
    assert (answer["status"], answer["events"]) == ("merged", 4)
    body = shop.get("/recommend", params={"user_id": known, "k": 15, "min_seq": answer["seq"]}).json()
    shown = [item["item_id"] for item in body["items"]]
    assert set(shown) == {f"odd-{n:02}" for n in range(20)} - {"odd-00", "odd-01", "odd-02", "odd-03", "odd-09"}
    assert {item["reason"] for item in body["items"]} == {"history"}
    assert shop.get(at(visitor)).status_code == 404
    assert {item["reason"] for item in shop.get("/recommend", params={"user_id": visitor}).json()["items"]} == {
        "popular"
    }


def test_merging_again_changes_nothing_and_a_resent_event_stays_one(shop: Shop, pair: tuple[str, str]) -> None:
    visitor, known = pair
    row = {"user_id": visitor, "item_id": "odd-01", "occurred_at": "2026-03-01T10:00:00Z"}
    shop.post("/events", [row])
    assert merge(shop, visitor, known) == {"user_id": known, "status": "merged", "events": 1}
    assert merge(shop, visitor, known) == {"user_id": known, "status": "unchanged", "events": 0}
    assert shop.post("/events", [row]).json()["results"][0]["status"] == "duplicate"
    assert seen(shop, known) == ["odd-01"]


def test_a_visitor_who_comes_back_is_merged_once_more(shop: Shop, pair: tuple[str, str]) -> None:
    visitor, known = pair
    for item in ("odd-01", "odd-02"):
        shop.post("/events", [{"user_id": visitor, "item_id": item}])
        assert merge(shop, visitor, known)["events"] == 1
    assert seen(shop, known) == ["odd-01", "odd-02"]


def test_attributes_are_completed_and_those_of_the_user_stay(shop: Shop, pair: tuple[str, str]) -> None:
    visitor, known = pair
    shop.put(at(visitor), {"attributes": {"country": "GB", "campaign": "spring"}})
    shop.put(at(known), {"attributes": {"country": "PL", "name": "Ann"}})
    assert merge(shop, visitor, known)["status"] == "merged"
    assert shop.get(at(known)).json()["attributes"] == {"country": "PL", "name": "Ann", "campaign": "spring"}


def test_a_merge_of_an_unknown_visitor_creates_no_user(shop: Shop, pair: tuple[str, str]) -> None:
    visitor, known = pair
    assert merge(shop, visitor, known) == {"user_id": known, "status": "unchanged", "events": 0}
    assert shop.get(at(known)).status_code == 404


def test_an_export_has_everything_that_is_stored_of_a_user(shop: Shop, pair: tuple[str, str]) -> None:
    _, known = pair
    shop.put(at(known), {"attributes": {"name": "Ann"}})
    sent = {"item_id": "odd-03", "kind": "cart", "value": 2.5, "occurred_at": "2026-02-01T10:00:00+00:00"}
    shop.post("/events", [sent | {"user_id": known, "event_id": f"{known}-1", "order_id": "o-1"}])
    found = shop.get(at(known, "/export")).json()
    assert (found["user_id"], found["attributes"], found["vectors"]) == (known, {"name": "Ann"}, [])
    assert found["created_at"]
    [event] = found["events"]
    assert event.pop("recorded_at")
    assert event == sent | {"event_id": f"{known}-1", "order_id": "o-1", "session_id": None}
    [vector] = shop.get("/users/odd-user-7/export").json()["vectors"]
    assert (vector["model"], len(vector["vector"])) == (1, 8)
    receipt = shop.delete("/users/odd-user-7").json()["erased"]
    assert receipt == {"events": 8, "user_vectors": 1, "users": 1, "served_shelves": 0}
    assert shop.get("/users/odd-user-7/export").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"from_user_id": ""}, {"from_user_id": "me"}, {"from_user_id": 7}, {"from_user_id": "a", "x": 1}]
)
def test_an_invalid_merge_is_rejected_with_its_place(shop: Shop, body: dict[str, object]) -> None:
    answer = shop.post("/users/me/merge", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"][:2] == ["body", "x" if "x" in body else "from_user_id"]
    assert shop.get("/users/me").status_code == 404


def test_no_event_is_lost_while_visitors_are_merged_and_erased_under_their_writers(
    shop: Shop, database: Database, pair: tuple[str, str]
) -> None:
    visitor, known = pair
    stop, told, acknowledged = threading.Event(), Counter[int](), set[str]()

    def write(writer: int) -> None:
        with httpx.Client(base_url=shop.url, timeout=30) as client:
            for n in range(60):
                item = f"merged-{writer}-{n}"
                answer = client.post("/events", json=[{"user_id": visitor, "item_id": item}])
                told[answer.status_code] += 1
                if answer.status_code == 200 and answer.json()["results"][0]["status"] == "written":
                    acknowledged.add(item)

    def keep_merging() -> None:
        while not stop.is_set():
            merge(shop, visitor, known)

    with ThreadPoolExecutor(4) as pool:
        merging = pool.submit(keep_merging)
        for each in [pool.submit(write, n) for n in range(3)]:
            each.result()
        stop.set()
        merging.result()
    merge(shop, visitor, known)
    assert told.keys() <= {200, 503}
    assert len(acknowledged) > 60
    with database.connect() as conn:
        stored = events.history(conn, shop.space.key, known, 1000).item_ids
    assert sorted(stored) == sorted(acknowledged)
