from __future__ import annotations

from tests.api.conftest import Shop


def test_events_carry_their_order_and_session(shop: Shop) -> None:
    event = {"user_id": "orders-ann", "item_id": "odd-00", "kind": "purchase", "occurred_at": "2026-02-01T10:00:00Z"}
    rows = [event | {"order_id": order, "session_id": "s-ann"} for order in ("o-1", "o-2", "o-2")] + [event]
    answer = shop.post("/events", {"events": rows}).json()
    assert [row["status"] for row in answer["results"]] == ["written", "written", "duplicate", "written"]
    exported = shop.get("/users/orders-ann/export").json()["events"]
    assert sorted((row["order_id"] or "", row["session_id"]) for row in exported) == [
        ("", None),
        ("o-1", "s-ann"),
        ("o-2", "s-ann"),
    ]


def test_the_events_of_a_visitor_become_those_of_a_user(shop: Shop) -> None:
    row = {"session_id": "visit-1", "item_id": "odd-00", "kind": "view"}
    assert shop.post("/events", {"events": [row]}).json()["accepted"] == 1
    assert [event["session_id"] for event in shop.get("/users/visit-1/export").json()["events"]] == ["visit-1"]
    assert shop.post("/users/bob/merge", {"from_user_id": "visit-1"}).status_code == 200
    assert [event["session_id"] for event in shop.get("/users/bob/export").json()["events"]] == ["visit-1"]


def test_an_event_of_nobody_is_rejected_by_its_field(shop: Shop) -> None:
    answer = shop.post("/events", {"events": [{"item_id": "odd-00"}, {"item_id": "odd-00", "session_id": ""}]})
    assert answer.status_code == 422
    results = answer.json()["results"] if "results" in answer.json() else answer.json()["errors"]
    assert "expected a user_id, or a session_id" in str(results[0])


def test_ids_of_events_without_an_order_stay_as_they_were(shop: Shop) -> None:
    row = {"user_id": "old-ann", "item_id": "odd-01", "kind": "view", "occurred_at": "2026-02-01T10:00:00Z"}
    shop.post("/events", {"events": [row]})
    [event] = shop.get("/users/old-ann/export").json()["events"]
    assert event["event_id"] == "0c4fb8c8b64d1db87739090ee851bb76"
