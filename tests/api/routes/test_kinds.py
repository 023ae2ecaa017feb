"""Synonyms of kinds over HTTP: understood in every request; unknown kinds are reported."""

from __future__ import annotations

import re
import secrets

import httpx

from engine.store.database.connections import Database
from indexing.building.build import build_generation
from tests.api.conftest import Shop
from tests.api.routes.test_recommend import answer, ids
from tests.api.test_operations import eventually


def sent(shop: Shop, user: str, *events: tuple[str, str]) -> dict:
    rows = [{"user_id": user, "item_id": item, "kind": kind} for item, kind in events]
    response = shop.post("/events", {"events": rows})
    assert response.status_code == 200, response.text
    return response.json()


def metric(shop: Shop, name: str) -> float:
    text = httpx.get(shop.url.split("/v1/")[0] + "/metrics").text
    found = re.search(rf'^{name}{{space="{shop.space.name}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_purchase_under_a_synonym_is_excluded(shop: Shop) -> None:
    user = f"buyer-{secrets.token_hex(4)}"
    said = sent(shop, user, ("odd-01", "transaction"), ("odd-03", "Order Completed"), ("odd-02", "pv"))
    assert said["unknown_kinds"] == {}
    found = ids(answer(shop, user_id=user, k=40, exclude="purchased"))
    assert {"odd-01", "odd-03"}.isdisjoint(found)
    assert "odd-02" in found


def test_synonyms_of_kinds_in_a_session_give_the_same_response(shop: Shop) -> None:
    def scores(*kinds: str) -> list[float]:
        history = [{"item_id": item, "kind": kind} for item, kind in zip(("odd-01", "even-02"), kinds, strict=True)]
        return [hit["score"] for hit in shop.post("/recommend", {"history": history}).json()["items"]]

    assert scores("addToCart", "Product Viewed") == scores("cart", "view") != scores("view", "cart")
    assert scores("cart", "impression") == scores("cart", "never heard of")


def test_unknown_kinds_of_a_session_are_warnings(shop: Shop) -> None:
    kinds = ("cart", "hummed", "hummed", *(f"word {n:02d}" for n in range(10)))
    shelf = {"history": [{"item_id": "odd-01", "kind": kind} for kind in kinds]}
    told = shop.post("/recommend", shelf).json()["warnings"]
    assert told[:2] == [
        {"loc": ["body", "history", 1, "kind"], "msg": "'hummed' is an unknown kind of event, with weight 0"},
        {"loc": ["body", "history", 3, "kind"], "msg": "'word 00' is an unknown kind of event, with weight 0"},
    ]
    assert told[10:] == [{"loc": ["body", "history"], "msg": "and 1 more kinds"}]
    batch = shop.post("/recommend/batch", {"shelves": [{"k": 3}, shelf]}).json()["shelves"]
    assert batch[1]["warnings"][0]["loc"] == ["body", "shelves", 1, "history", 1, "kind"]
    ranked = shop.post("/rank", {"item_ids": ["odd-02"], "history": shelf["history"][:2]}).json()["warnings"]
    assert [each["loc"] for each in ranked] == [["body", "history", 1, "kind"]]
    known = [{"item_id": "odd-01", "kind": "Order Completed"}, {"item_id": "odd-02"}]
    assert shop.post("/recommend", {"history": known}).json()["warnings"] == []


def test_an_unknown_kind_is_stored_and_reported_and_has_no_weight_until_it_is_listed(shop: Shop) -> None:
    user, kept = f"waver-{secrets.token_hex(4)}", shop.get("").json()["weighting"]
    before = metric(shop, "nearfield_events_of_unknown_kind_total")
    said = sent(shop, user, ("odd-01", "Waved At"), ("odd-02", "Waved At"), ("odd-03", "shouted"))
    assert said["unknown_kinds"] == {"Waved At": 2, "shouted": 1}
    assert {row["status"] for row in said["results"]} == {"written"}
    assert metric(shop, "nearfield_events_of_unknown_kind_total") == before + 3
    assert shop.get("/status").json()["unknown_kinds"] == {"Waved At": 2, "shouted": 1}
    assert {item["reason"] for item in answer(shop, user_id=user, k=3)["items"]} == {"popular"}
    try:
        listed = kept | {"kinds": kept["kinds"] | {"waved_at": 2}}
        seq = shop.put("", {"weighting": listed}).json()["seq"]
        assert shop.get("/status").json()["unknown_kinds"] == {"shouted": 1}
        found = answer(shop, user_id=user, k=3, min_seq=seq)["items"]
        assert {item["reason"] for item in found} == {"history"}
        assert {item["item_id"].split("-")[0] for item in found} == {"odd"}
    finally:
        shop.put("", {"weighting": kept}).raise_for_status()


def test_a_generation_counts_the_events_of_unknown_kinds_at_its_build(shop: Shop, database: Database) -> None:
    sent(shop, f"waver-{secrets.token_hex(4)}", ("odd-01", "hummed"))
    unknown = shop.get("/status").json()["unknown_kinds"]
    made = build_generation(database, shop.space, 1, shop.settings.generations)
    shop.post(f"/generations/{made}/activate", {}).raise_for_status()
    eventually(lambda: metric(shop, "nearfield_stored_events_of_unknown_kind") == sum(unknown.values()) >= 1)
