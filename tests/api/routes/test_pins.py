"""Pins through HTTP: positions over pages, warnings, and contradictions that name the field."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Shop
from tests.api.routes.test_recommend import answer, ids

ASKED = {"user_id": "odd-user-3", "k": 5, "exclude": "none"}


def test_pins_hold_over_the_pages_of_a_shelf(shop: Shop) -> None:
    pins = [
        {"position": 1, "item_id": "even-07"},
        {"position": 3, "filter": {"price": {"gte": 18}}},
        {"position": 7, "item_id": "even-09"},
    ]
    first = shop.post("/recommend", ASKED | {"pins": pins}).json()
    assert ids(first)[0] == "even-07"
    assert ids(first)[2] in {"odd-18", "odd-19"}
    assert [item["reason"] for item in first["items"]] == ["pinned", "history", "pinned", "history", "history"]
    assert first["warnings"] == []
    second = shop.post("/recommend", ASKED | {"pins": pins, "cursor": first["cursor"]}).json()
    assert ids(second)[1] == "even-09"
    assert not set(ids(first)) & set(ids(second))
    assert ids(answer(shop, **ASKED, pins=json.dumps(pins))) == ids(first)
    batch = shop.post("/recommend/batch", {"shelves": [ASKED | {"pins": pins}]}).json()
    assert ids(batch["shelves"][0]) == ids(first)


def test_a_pin_without_effect_is_a_warning_at_its_place(shop: Shop) -> None:
    body = ASKED | {"pins": [{"position": 1, "item_id": "even-07"}], "filter": {"categories": {"contains": "odd"}}}
    alone = shop.post("/recommend", body).json()
    assert len(alone["items"]) == 5
    assert "even-07" not in ids(alone)
    [warning] = alone["warnings"]
    assert warning["loc"] == ["body", "pins", 0]
    assert "does not pass the filter" in warning["msg"]
    batch = shop.post("/recommend/batch", {"shelves": [ASKED, body]}).json()
    assert batch["shelves"][1]["warnings"] == [warning | {"loc": ["body", "shelves", 1, "pins", 0]}]


@pytest.mark.parametrize(
    ("more", "loc"),
    [
        ({"pins": [{"position": 1, "item_id": "odd-01"}], "exclude_items": ["odd-01"]}, ["body", "pins", 0, "item_id"]),
        ({"pins": [{"position": 1, "item_id": "odd-01"}], "include_items": ["odd-02"]}, ["body", "pins", 0, "item_id"]),
        ({"pins": [{"position": 2, "item_id": "a"}, {"position": 2, "item_id": "b"}]}, ["body", "pins", 1, "position"]),
        ({"pins": [{"position": 2, "item_id": "a"}, {"position": 3, "item_id": "a"}]}, ["body", "pins", 1, "item_id"]),
        ({"pins": [{"position": 2}]}, ["body", "pins", 0]),
        ({"pins": [{"position": 2, "item_id": "a", "filter": {"price": 1}}]}, ["body", "pins", 0]),
        (
            {"pins": [{"position": 2, "filter": {"price": {"above": 1}}}]},
            ["body", "pins", 0, "filter", "price", "above"],
        ),
        ({"pins": [{"position": 0, "item_id": "a"}]}, ["body", "pins", 0, "position"]),
        ({"pins": [{"position": 1.5, "item_id": "a"}]}, ["body", "pins", 0, "position"]),
        ({"pins": [{"position": 1, "item_id": "a", "label": "x"}]}, ["body", "pins", 0, "label"]),
        ({"pins": {"1": "a"}}, ["body", "pins"]),
    ],
)
def test_contradictions_are_errors_that_name_the_field(shop: Shop, more: dict, loc: list) -> None:
    refused = shop.post("/recommend", ASKED | more)
    assert refused.status_code == 422
    [problem] = refused.json()["errors"]
    assert problem["loc"] == loc
    inside = shop.post("/recommend/batch", {"shelves": [ASKED, ASKED | more]})
    assert inside.status_code == 422
    assert inside.json()["errors"][0]["loc"] == ["body", "shelves", 1, *loc[1:]]


def test_pins_in_a_url_are_json(shop: Shop) -> None:
    for text in ("[", "1", '[{"position":1}]'):
        assert shop.get("/recommend", params={"pins": text}).status_code == 422
