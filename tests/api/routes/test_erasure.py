"""An erased user stays erased: every route says so, and an admin may allow the id again."""

from __future__ import annotations

import secrets
from urllib.parse import quote

import pytest

from tests.api.conftest import Shop


@pytest.fixture
def gone(shop: Shop) -> str:
    """The id of a user who was erased, with a visitor merged before."""
    user = f"gone/{secrets.token_hex(4)}"
    shop.post("/events", [{"user_id": user, "item_id": "odd-01"}, {"user_id": f"{user}-phone", "item_id": "odd-02"}])
    shop.post(f"/users/{quote(user, safe='')}/merge", {"from_user_id": f"{user}-phone"})
    receipt = shop.delete(f"/users/{quote(user, safe='')}").json()
    assert receipt.pop("seq") > 0
    assert receipt == {
        "user_id": user,
        "status": "erased",
        "erased": {"events": 2, "user_vectors": 0, "users": 1, "served_shelves": 0},
        "kept_out": [user, f"{user}-phone"],
    }
    return user


def test_events_of_an_erased_user_are_rejected_row_by_row(shop: Shop, gone: str) -> None:
    other = f"there-{secrets.token_hex(4)}"
    rows = [{"user_id": user, "item_id": "odd-03"} for user in (gone, other, f"{gone}-phone")]
    answer = shop.post("/events", rows).json()
    assert (answer["accepted"], [each["status"] for each in answer["results"]]) == (
        1,
        ["rejected", "written", "rejected"],
    )
    assert answer["results"][0]["detail"] == "user_id: the user was erased; an admin may allow the id again"
    assert shop.get(f"/users/{quote(gone, safe='')}").status_code == 404


def test_a_request_with_nothing_but_events_of_an_erased_user_is_a_problem_that_names_each(
    shop: Shop, gone: str
) -> None:
    answer = shop.post("/events", [{"user_id": gone}, {"user_id": gone, "item_id": "odd-03"}])
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["errors"]] == [
        ["body", "events", 0, "item_id"],
        ["body", "events", 1, "user_id"],
    ]


def test_a_profile_or_a_visitor_cannot_be_written_to_an_erased_user(shop: Shop, gone: str) -> None:
    visitor = f"visitor-{secrets.token_hex(4)}"
    shop.post("/events", [{"user_id": visitor, "item_id": "odd-03"}])
    path = f"/users/{quote(gone, safe='')}"
    for answer in (shop.put(path, {}), shop.post(f"{path}/merge", {"from_user_id": visitor})):
        assert answer.status_code == 409, answer.text
        assert "is refused: the user was erased" in answer.json()["detail"]
    assert shop.get(f"/users/{visitor}/export").json()["events"][0]["item_id"] == "odd-03"
    assert "; erased at 20" in shop.get(f"{path}/export").json()["detail"]


def test_an_erasure_is_reported_and_can_be_lifted(shop: Shop, gone: str) -> None:
    path = f"/users/{quote(gone, safe='')}/erasure"
    assert shop.get(path).json()["erased_at"].startswith("20")
    assert shop.delete(path).json().items() >= {"user_id": gone, "status": "allowed"}.items()
    assert (shop.get(path).status_code, shop.delete(path).status_code) == (404, 404)
    row = {"user_id": gone, "item_id": "odd-03"}
    assert shop.post("/events", [row]).json()["results"][0]["status"] == "written"
    assert shop.post("/events", [row | {"user_id": f"{gone}-phone"}]).status_code == 422


def test_a_read_for_an_erased_user_is_that_of_an_unknown_user(shop: Shop, gone: str) -> None:
    body = shop.get("/recommend", params={"user_id": gone, "k": 3}).json()
    assert {each["reason"] for each in body["items"]} == {"popular"}
