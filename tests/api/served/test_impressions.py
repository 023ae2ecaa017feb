"""What a user was shown, through the server: an immediate refresh repeats nothing."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest

from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from tests.api.conftest import Shop


@pytest.fixture
def user() -> str:
    return f"user-{secrets.token_hex(4)}"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def wait_until_stored(shop: Shop, database: Database, user: str, n: int) -> list[dict[str, object]]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with database.connect() as conn:
            found = served_shelves.of_user(conn, shop.space.key, user)
        if len(found) >= n:
            return found
        time.sleep(0.05)
    raise AssertionError(f"expected {n} stored shelves, found {len(found)}")


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_refresh_shows_other_items_until_none_is_left(
    shop: Shop, database: Database, user: str, is_stored: bool
) -> None:
    shown: list[str] = []
    for turn in range(4):
        shown += ids(shop.get("/recommend", params={"user_id": user, "k": 10, "exclude": '{"impressed": "1h"}'}))
        if is_stored:
            wait_until_stored(shop, database, user, turn + 1)
    assert len(shown) == len(set(shown)) == 40
    answer = shop.post("/recommend", {"user_id": user, "exclude": ["impressed"]}).json()
    assert (answer["items"], answer["shortfall"]["returned"]) == ([], 0)
    assert len(ids(shop.post("/recommend", {"user_id": user, "exclude": ["disliked"]}))) == 10


def test_rotation_brings_other_items_first_and_the_shown_ones_after_them(shop: Shop, user: str) -> None:
    asked = {"user_id": user, "strategy": "popular", "k": 10, "rotation": "1d"}
    first, second = ids(shop.post("/recommend", asked)), ids(shop.post("/recommend", asked))
    assert not set(first) & set(second)
    whole = ids(shop.post("/recommend", asked | {"k": 40}))
    assert len(whole) == 40
    assert set(whole[20:]) == {*first, *second}


def test_an_event_that_reports_a_served_item_counts_once(shop: Shop, user: str) -> None:
    asked = {"user_id": user, "strategy": "popular", "k": 1, "rotation": "1d", "explain": 1}

    def factor(of: str) -> float:
        filter_ = {"item_id": {"in": [shown, other]}}
        shelf = shop.post("/recommend", {**asked, "k": 2, "filter": filter_, "user_id": of}).json()["items"]
        return float(next(item["score"] for item in shelf if item["item_id"] == shown))

    [shown] = ids(shop.post("/recommend", asked))
    other = "odd-19"
    before = factor(user)
    answer = shop.post("/events", [{"user_id": user, "item_id": shown, "kind": "impression"}]).json()
    assert answer["accepted"] == 1
    twice = factor(user)
    assert twice < before  # by the shelf that `factor` itself was served, not by the event
    assert twice == pytest.approx(before * 0.2, rel=0.01)


def test_impression_events_count_without_a_served_shelf(shop: Shop, user: str) -> None:
    shop.post("/events", [{"user_id": user, "item_id": f"odd-{n:02}", "kind": "impression"} for n in range(20)])
    asked = {"user_id": user, "strategy": "popular", "k": 20, "exclude": {"impressed": "1d"}}
    assert set(ids(shop.post("/recommend", asked))) == {f"even-{n:02}" for n in range(20)}


def test_batches_and_shelves_of_pages_leave_out_what_was_shown(shop: Shop, user: str) -> None:
    shelf = {"user_id": user, "k": 10, "exclude": {"impressed": "1d"}, "strategy": "popular"}
    first = ids(shop.post("/recommend", shelf))
    batch = shop.post("/recommend/batch", {"shelves": [shelf, {"strategy": "popular", "k": 10}]}).json()["shelves"]
    second, nobody = ([item["item_id"] for item in each["items"]] for each in batch)
    assert not set(first) & set(second)
    assert set(nobody) & {*first, *second}
    page = {"shelves": [{"name": "a", "strategy": "popular", "k": 5, "exclude": {"impressed": "1d"}}]}
    assert shop.put("/pages/shown", page).status_code == 200
    third = shop.post("/page", {"page": "shown", "user_id": user}).json()["shelves"][0]["items"]
    fourth = shop.post("/page", {"page": "shown", "user_id": user}).json()["shelves"][0]["items"]
    all_ids = [*first, *second, *(item["item_id"] for item in [*third, *fourth])]
    assert len(set(all_ids)) == len(all_ids) == 30


def test_served_shelves_are_stored_with_their_request(shop: Shop, database: Database, user: str) -> None:
    answer = shop.get("/recommend", params={"user_id": user, "session_id": "s-7", "k": 3, "filter": '{"price": 3}'})
    [found] = wait_until_stored(shop, database, user, 1)
    assert found["recommendation_id"] == answer.json()["recommendation_id"]
    assert (found["session_id"], found["placement"]) == ("s-7", None)
    assert found["request"] == {"k": 3, "filter": {"price": 3}}
    assert found["item_ids"] == ids(answer)
    assert "nearfield_shelves_written_total" in shop.get("/../../metrics").text


def test_the_pages_of_a_shelf_repeat_nothing_with_rotation(shop: Shop, user: str) -> None:
    asked: dict[str, object] = {"user_id": user, "k": 10, "rotation": "1d"}
    shown, cursor = [], None
    for _ in range(4):
        answer = shop.post("/recommend", {**asked, "cursor": cursor} if cursor else asked)
        shown += ids(answer)
        cursor = answer.json()["cursor"]
    assert len(set(shown)) == 40


def test_a_visitor_without_events_can_be_exported_and_erased(shop: Shop, database: Database, user: str) -> None:
    shelf = ids(shop.get("/recommend", params={"session_id": user, "k": 3}))
    wait_until_stored(shop, database, user, 1)
    exported = shop.get(f"/users/{user}/export").json()
    assert (exported["events"], [each["item_ids"] for each in exported["shelves"]]) == ([], [shelf])
    receipt = shop.delete(f"/users/{user}").json()
    assert receipt["erased"] == {"events": 0, "user_vectors": 0, "users": 0, "served_shelves": 1}
    assert receipt["kept_out"] == [user]
    assert shop.get(f"/users/{user}/export").status_code == shop.delete(f"/users/{user}").status_code == 404
    assert "erased at" in shop.get(f"/users/{user}/export").json()["detail"]
    assert shop.post("/events", [{"session_id": user, "item_id": "odd-01"}]).status_code == 422


def test_shelves_that_wait_are_erased_with_their_visitor(shop: Shop, database: Database, user: str) -> None:
    for _ in range(20):
        shop.get("/recommend", params={"session_id": user, "k": 3})
    assert shop.delete(f"/users/{user}").status_code == 200
    shop.get("/recommend", params={"session_id": user, "k": 3})
    other = f"{user}-2"
    shop.get("/recommend", params={"session_id": other, "k": 3})
    wait_until_stored(shop, database, other, 1)
    with database.connect() as conn:
        assert served_shelves.of_user(conn, shop.space.key, user) == []


def test_shelves_of_a_visitor_become_those_of_the_user(shop: Shop, database: Database, user: str) -> None:
    asked = {"k": 10, "exclude": {"impressed": "1h"}}
    first = ids(shop.post("/recommend", {"session_id": user, **asked}))
    wait_until_stored(shop, database, user, 1)
    assert shop.post(f"/users/known-{user}/merge", {"from_user_id": user}).status_code == 200
    assert not set(first) & set(ids(shop.post("/recommend", {"user_id": f"known-{user}", **asked})))
