"""`explain`: which items of the history contribute how much to a score."""

from __future__ import annotations

import secrets

import pytest

from tests.api.conftest import Shop


def test_the_contributions_of_the_history_add_up_to_the_score(shop: Shop) -> None:
    asked = {"user_id": "odd-user-3", "k": 12, "explain": 100}
    body = shop.get("/recommend", params=asked).json()
    seen = {event["item_id"] for event in shop.get("/users/odd-user-3/export").json()["events"]}
    assert len(body["items"]) == 12
    known = [item for item in body["items"] if item["reason"] == "history"]
    assert len(known) >= 6
    assert {item["reason"] for item in body["items"] if item["because"] is None} <= {"popular"}
    for item in known:
        named = {each["item_id"]: each["adds"] for each in item["because"]["history"]}
        assert named.keys() == seen
        assert item["because"]["exact"] is True
        assert sum(named.values()) == pytest.approx(item["score"], abs=1e-4)
        assert list(map(abs, named.values())) == sorted(map(abs, named.values()), reverse=True)


def test_session_events_contribute_and_only_the_requested_number_is_returned(shop: Shop) -> None:
    asked = {"history": [{"item_id": "odd-02"}, {"item_id": "odd-05", "kind": "purchase"}], "k": 3}
    both = shop.post("/recommend", asked | {"explain": 2}).json()["items"]
    one = shop.post("/recommend", asked | {"explain": 1}).json()["items"]
    for item, shorter in zip(both, one, strict=True):
        assert {each["item_id"] for each in item["because"]["history"]} == {"odd-02", "odd-05"}
        assert shorter["because"]["history"] == item["because"]["history"][:1]


def test_items_that_fill_a_list_have_no_explanation(shop: Shop) -> None:
    popular = shop.get("/recommend", params={"user_id": secrets.token_hex(4), "k": 2, "explain": 5}).json()["items"]
    assert [item["because"] for item in popular] == [None, None]
    by_vector = shop.post("/recommend", {"vector": [1.0] * 8, "k": 2, "explain": 5}).json()["items"]
    assert [item["because"] for item in by_vector] == [None, None]
    assert "because" not in shop.get("/recommend", params={"user_id": "odd-user-3"}).json()["items"][0]


@pytest.mark.parametrize("wrong", ["0", "101", "yes"])
def test_an_invalid_number_is_rejected(shop: Shop, wrong: str) -> None:
    assert shop.get("/recommend", params={"explain": wrong}).status_code == 422
