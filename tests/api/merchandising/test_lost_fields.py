"""Placements and pages that refer to fields or items that the shop no longer has keep serving, and are reported."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Shop

CURVE = {"boost": [{"field": "lost", "curve": [[0, 1], [1, 2]]}]}
CHOOSE = {"group_by": {"field": "item_id", "choose": {"field": "lost"}}}
LOST = {  # parameters of a shelf: what its warning and its problem say
    "curve": (CURVE, ["boost", 0], "no item has a field 'lost'"),
    "objective": ({"objective": "margin"}, ["objective"], "no item has a field 'margin'"),
    "choose": (CHOOSE, ["group_by", "choose", "field"], "no item has a field 'lost'"),
    "seed": ({"strategy": "similar", "item_ids": ["lost"]}, ["item_ids", 0], "no item 'lost', which item_ids names"),
    "list": ({"strategy": "list", "item_ids": ["lost"], "fallback": ["popular"]}, ["item_ids", 0], "no item 'lost'"),
}


def put(shop: Shop, path: str, document: dict[str, Any]) -> int:
    answer = shop.put(f"/{path}", document)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["seq"])


def page(shop: Shop, seq: int, **asked: object) -> dict[str, Any]:
    answer = shop.post("/page", {"user_id": "odd-user-3", "page": "home", "min_seq": seq} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def problems(shop: Shop) -> dict[str, str]:
    return {each["name"]: each["problem"] for each in shop.get("/status").json()["preset_problems"]}


@pytest.mark.parametrize("name", LOST)
def test_a_stored_shelf_keeps_serving_with_a_warning_and_a_report(shop: Shop, name: str) -> None:
    parameters, place, problem = LOST[name]
    put(shop, f"placements/{name}", parameters | {"k": 3})
    seq = put(shop, f"pages/{name}", {"shelves": [{"name": "other", "k": 3}, {"name": "own", "k": 3} | parameters]})
    shelf = shop.post("/recommend", {"user_id": "odd-user-3", "placement": name, "min_seq": seq}).json()
    [_, own] = page(shop, seq, page=name)["shelves"]
    assert (len(shelf["items"]), len(own["items"])) == (3, 3)
    assert [each["loc"] for each in shelf["warnings"]] == [["body", *place]]
    assert [each["loc"] for each in own["warnings"]] == [["body", *place]]
    batch = shop.post("/recommend/batch", {"shelves": [{"user_id": "odd-user-3", "placement": name}]}).json()
    assert batch["shelves"][0]["items"] == shelf["items"]
    found = shop.get("/status").json()["preset_problems"]
    of_name = {each["kind"]: each["problem"] for each in found if each["name"] == name}
    assert problem in of_name["placement"]
    assert of_name["page"].startswith("shelf 'own': ")
    assert problem in of_name["page"]
    refused = shop.post("/recommend", {"user_id": "odd-user-3", "fallback": []} | parameters)
    assert name == "list" or refused.status_code in (404, 422)


def test_a_page_in_the_order_of_a_lost_field_comes_as_listed(shop: Shop) -> None:
    shelves = [{"name": "b", "k": 2}, {"name": "a", "best": {"field": "lost"}, "k": 2}]
    seq = put(shop, "pages/ordered", {"order": "margin", "shelves": shelves})
    assert [shelf["name"] for shelf in page(shop, seq, page="ordered")["shelves"]] == ["b", "a"]
    assert problems(shop)["ordered"] == "its order needs a number 'margin', which no item has"
    put(shop, "pages/ordered", {"shelves": shelves})
    assert problems(shop)["ordered"] == "shelf 'a': no item has a field 'lost'"


def test_a_mistake_of_one_shelf_of_a_page_names_the_shelf(shop: Shop) -> None:
    needs_seed = {"name": "alike", "filter": {"price": {"gte": {"seed": 0.5}}}}
    seq = put(shop, "pages/seeded", {"shelves": [{"name": "first"}, needs_seed]})
    asked = {"page": "seeded", "user_id": "odd-user-3", "min_seq": seq}
    refused = shop.post("/page", asked)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("shelf 'alike' of page 'seeded': this condition takes a value of the")
    assert refused.json()["errors"][0]["loc"] == ["body", "filter", "price", "gte"]
    assert len(page(shop, seq, page="seeded", item_ids=["odd-03"])["shelves"]) == 2
    gone = shop.post("/page", asked | {"item_ids": ["lost"], "page": "seeded"})
    assert gone.status_code in (404, 422)
