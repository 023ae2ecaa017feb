from __future__ import annotations

import secrets
import time

from tests.api.conftest import Shop


def answer(shop: Shop, **parameters: object) -> dict:
    response = shop.get("/recommend", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def ids(body: dict) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def test_a_known_user_gets_unseen_items_of_their_kind_with_fields(shop: Shop) -> None:
    body = answer(shop, user_id="odd-user-3", k=5)
    assert {id_.split("-")[0] for id_ in ids(body)} == {"odd"}
    assert {item["reason"] for item in body["items"]} == {"history"}
    first = body["items"][0]
    assert first["fields"]["title"] == f"Odd thing {int(first['item_id'][-2:])}"
    assert first["fields"]["categories"] == ["odd"]
    assert sorted((item["score"] for item in body["items"]), reverse=True) == [item["score"] for item in body["items"]]
    assert body["model"] == 1
    assert body["generation"].endswith(body["generation"].split("-m1-")[1])
    assert body["degraded"] is False
    assert body["shortfall"] is None
    assert body["recommendation_id"] != answer(shop, user_id="odd-user-3", k=5)["recommendation_id"]


def test_seen_items_are_left_out_unless_asked_for(shop: Shop) -> None:
    seen = {f"even-{(2 * 3 + step * 7) % 20:02}" for step in range(8)}
    assert not seen & set(ids(answer(shop, user_id="even-user-2", k=12)))
    assert seen & set(ids(answer(shop, user_id="even-user-2", k=12, exclude="none")))
    assert seen & set(ids(answer(shop, user_id="even-user-2", k=12, exclude="purchased")))


def test_only_purchased_items_are_excluded_on_request(shop: Shop) -> None:
    user = f"buyer-{secrets.token_hex(4)}"
    shop.post("/events", {"events": [{"user_id": user, "item_id": "odd-01", "kind": "purchase"}]})
    shop.post("/events", {"events": [{"user_id": user, "item_id": "odd-02", "kind": "view"}]})
    found = ids(answer(shop, user_id=user, k=40, exclude="purchased"))
    assert "odd-01" not in found
    assert "odd-02" in found


def test_excluded_items_are_left_out(shop: Shop) -> None:
    first = ids(answer(shop, user_id="odd-user-3", k=3))
    without = ids(answer(shop, user_id="odd-user-3", k=3, exclude_items=first[:2]))
    assert not set(first[:2]) & set(without)
    assert without[0] == first[2]


def test_an_unknown_user_gets_popular_items_labelled(shop: Shop) -> None:
    body = answer(shop, user_id="nobody-ever", k=4)
    assert {item["reason"] for item in body["items"]} == {"popular"}
    assert len(body["items"]) == 4


def test_the_request_after_an_event_reflects_it(shop: Shop) -> None:
    user = f"fresh-{secrets.token_hex(4)}"
    assert {item["reason"] for item in answer(shop, user_id=user, k=3)["items"]} == {"popular"}
    shop.post("/events", {"events": [{"user_id": user, "item_id": "even-03", "kind": "view"}]})
    body = answer(shop, user_id=user, k=3)
    assert {item["reason"] for item in body["items"]} == {"history"}
    assert {id_.split("-")[0] for id_ in ids(body)} == {"even"}


def test_a_session_a_list_of_items_and_a_stored_history_give_the_same_items(shop: Shop) -> None:
    user = f"same-{secrets.token_hex(4)}"
    shop.post("/events", {"events": [{"user_id": user, "item_id": "odd-05", "kind": "view"}]})
    stored = answer(shop, user_id=user, k=5)
    session = shop.post("/recommend", {"history": [{"item_id": "odd-05"}], "k": 5}).json()
    listed = shop.get("/recommend", params={"item_ids": ["odd-05"], "k": 5}).json()
    assert ids(stored) == ids(session) == ids(listed)


def test_a_user_vector_is_searched_as_it_is(shop: Shop) -> None:
    body = shop.post("/recommend", {"vector": [0.1, -0.2, 0.3, 0.1, 0.0, 0.2, 0.1, 0.4], "k": 3}).json()
    assert {item["reason"] for item in body["items"]} == {"vector"}


def test_a_list_larger_than_the_catalogue_reports_a_shortfall(shop: Shop) -> None:
    body = answer(shop, user_id="odd-user-1", k=1000)
    assert len(body["items"]) == body["shortfall"]["returned"] < 1000
    assert body["shortfall"]["requested"] == 1000
    assert len(set(ids(body))) == len(body["items"])


def test_rank_orders_items_and_puts_unknown_items_last(shop: Shop) -> None:
    body = shop.post("/rank", {"user_id": "odd-user-4", "item_ids": ["stranger", "even-01", "odd-01"]}).json()
    assert [(item["item_id"], item["reason"]) for item in body["items"]] == [
        ("odd-01", "rank"),
        ("even-01", "rank"),
        ("stranger", "unranked"),
    ]


def test_similar_items_are_of_the_same_side(shop: Shop) -> None:
    for response in (
        shop.get("/items/even-07/similar", params={"k": 5}),
        shop.get("/search", params={"item_id": "even-07", "k": 5}),
        shop.post("/search", {"item_id": "even-07", "k": 5}),
        shop.post("/search", {"positive": ["even-07"], "negative": ["odd-01"], "k": 5}),
    ):
        found = ids(response.json())
        assert len(found) == 5
        assert {id_.split("-")[0] for id_ in found} == {"even"}
        assert "even-07" not in found


def test_similar_users_are_of_the_same_side(shop: Shop) -> None:
    body = shop.get("/users/odd-user-5/similar", params={"k": 5}).json()
    assert {user["user_id"].split("-")[0] for user in body["users"]} == {"odd"}
    assert "odd-user-5" not in {user["user_id"] for user in body["users"]}


def test_new_purchases_change_popularity_without_a_reindex_and_returns_undo_it(shop: Shop) -> None:
    assert shop.get("/status").json()["popularity_half_life_days"] in (7, 14, 28, 56, 112, 365, None)
    before = answer(shop, k=40)["items"]
    last = before[-1]["item_id"]

    def report(kind: str) -> None:
        rows = [{"user_id": f"rush-{n}", "item_id": last, "kind": kind} for n in range(60)]
        assert shop.post("/events", {"events": rows}).json()["accepted"] == 60

    def is_first_within_a_minute(wanted: bool) -> bool:
        until = time.monotonic() + 60
        while (answer(shop, k=1)["items"][0]["item_id"] == last) is not wanted and time.monotonic() < until:
            time.sleep(0.05)
        return time.monotonic() < until

    report("purchase")
    assert is_first_within_a_minute(True)
    report("return")
    assert is_first_within_a_minute(False)
