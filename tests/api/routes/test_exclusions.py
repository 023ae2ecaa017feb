"""Disliked and returned items are excluded unless a request says otherwise."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conftest import ITEMS, Shop
from tests.api.routes.test_kinds import sent
from tests.api.routes.test_recommend import answer, ids


@pytest.fixture(scope="module")
def user(shop: Shop) -> str:
    name = f"choosy-{secrets.token_hex(4)}"
    sent(shop, name, ("odd-01", "purchase"), ("odd-02", "dislike"), ("odd-03", "view"))
    sent(shop, name, ("odd-04", "Order Completed"), ("odd-04", "Order Refunded"))
    return name


@pytest.mark.parametrize(
    ("exclude", "shown"),
    [
        ("seen", set()),
        ("purchased", {"odd-03"}),
        ("none", {"odd-01", "odd-03"}),
        ([], {"odd-01", "odd-02", "odd-03", "odd-04"}),
        (["purchased"], {"odd-02", "odd-03"}),
        (["disliked"], {"odd-01", "odd-03", "odd-04"}),
        (["disliked", "returned"], {"odd-01", "odd-03"}),
    ],
)
def test_a_word_also_excludes_disliked_and_returned_items_and_a_list_is_exact(
    shop: Shop, user: str, exclude: object, shown: set[str]
) -> None:
    had = {"odd-01", "odd-02", "odd-03", "odd-04"}
    body = shop.post("/recommend", {"user_id": user, "k": 40, "exclude": exclude}).json()
    assert had & set(ids(body)) == shown
    assert len(body["items"]) == 40 - len(had - shown), "all others come, the liked and the strange"
    batch = shop.post("/recommend/batch", {"shelves": [{"user_id": user, "k": 40, "exclude": exclude}]}).json()
    assert [item["item_id"] for item in batch["shelves"][0]["items"]] == ids(body)


def test_a_list_in_a_url_is_json_or_a_repeated_parameter(shop: Shop, user: str) -> None:
    everything = ids(answer(shop, user_id=user, k=40, exclude="[]"))
    assert {"odd-01", "odd-02", "odd-03", "odd-04"} <= set(everything)
    written = ids(answer(shop, user_id=user, k=40, exclude='["disliked","returned"]'))
    assert written == ids(answer(shop, user_id=user, k=40, exclude=["disliked", "returned"]))
    assert written == ids(answer(shop, user_id=user, k=40, exclude="none"))


def test_an_item_disliked_in_this_session_is_excluded(shop: Shop) -> None:
    history = [{"item_id": "even-01", "kind": "purchase"}, {"item_id": "even-02", "kind": "Thumbs Down"}]
    found = ids(shop.post("/recommend", {"history": history, "k": 40, "exclude": "none"}).json())
    assert "even-01" in found
    assert "even-02" not in found


@pytest.mark.parametrize("exclude", ["some", ["none"], ["seen", 1], {"bought": "1d"}])
def test_any_other_value_is_rejected_with_what_is_expected(shop: Shop, exclude: object) -> None:
    refused = shop.post("/recommend", {"user_id": "u", "exclude": exclude})
    assert refused.status_code == 422
    [problem] = refused.json()["errors"]
    assert "expected seen, purchased or none" in str(problem)


def test_an_object_excludes_within_a_time_and_its_errors_name_the_field(shop: Shop) -> None:
    now = datetime.now(UTC)
    events = [
        ("odd-01", "purchase", timedelta(days=40)),
        ("odd-02", "purchase", timedelta(days=5)),
        ("odd-03", "cart", timedelta(hours=3)),
        ("odd-04", "cart", timedelta(hours=30)),
        ("odd-05", "view", timedelta(minutes=1)),
        ("odd-06", "impression", timedelta(hours=1)),
    ]

    def new_user() -> str:
        """Each request has a user of its own: the shelf of one is what its user was shown in the next."""
        name = f"timed-{secrets.token_hex(4)}"
        body = [
            {"user_id": name, "item_id": item, "kind": kind, "occurred_at": (now - age).isoformat()}
            for item, kind, age in events
        ]
        assert shop.post("/events", {"events": body}).json()["accepted"] == len(events)
        return name

    def left_out(exclude: object) -> set[str]:
        found = ids(shop.post("/recommend", {"user_id": new_user(), "k": 40, "exclude": exclude}).json())
        as_get = ids(answer(shop, user_id=new_user(), k=40, exclude=json.dumps(exclude)))
        out = {item.item_id for item in ITEMS} - set(found)
        assert {item.item_id for item in ITEMS} - set(as_get) == out
        return out

    assert left_out({"purchased": "30d", "carted": "1d"}) == {"odd-02", "odd-03"}
    assert left_out({"purchased": None}) == {"odd-01", "odd-02"}
    assert left_out({"seen": "1d", "impressed": "2h"}) == {"odd-03", "odd-05", "odd-06"}
    assert left_out({"impressed": "30m"}) == set()
    assert left_out({}) == set()
    refused = shop.post("/recommend", {"user_id": "timed", "exclude": {"seen": "1 day"}})
    assert refused.status_code == 422
    [problem] = refused.json()["errors"]
    assert problem["loc"] == ["body", "exclude"]
    assert "seen: expected a duration" in problem["msg"]


def test_only_included_items_are_shown_less_the_excluded_ones(shop: Shop) -> None:
    asked = {"user_id": "odd-user-3", "k": 5, "exclude": "none", "include_items": ["even-01", "odd-02", "odd-07"]}
    body = shop.post("/recommend", asked).json()
    assert set(ids(body)) == {"even-01", "odd-02", "odd-07"}
    assert body["shortfall"]["returned"] == 3
    body = shop.post("/recommend", asked | {"exclude_items": ["odd-02"], "filter": {"price": {"gt": 1}}}).json()
    assert ids(body) == ["odd-07"]
    body = shop.post("/recommend", asked | {"include_items": ["odd-02", "no such item"]}).json()
    assert ids(body) == ["odd-02"]
    [warning] = body["warnings"]
    assert warning["loc"] == ["body", "include_items", 1]
    assert shop.post("/recommend", asked | {"include_items": []}).json()["items"] == []
    found = answer(shop, user_id="odd-user-3", k=5, exclude="none", include_items=["even-01", "odd-02"])
    assert set(ids(found)) == {"even-01", "odd-02"}
