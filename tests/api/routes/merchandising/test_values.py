"""The best values of a field for a user, over HTTP."""

from __future__ import annotations

import pytest

from tests.api.conftest import Shop


def test_the_best_category_of_a_user_comes_first_and_popular_ones_follow(shop: Shop) -> None:
    body = shop.get("/recommend/values", params={"field": "categories", "user_id": "odd-user-3", "k": 2}).json()
    assert [each["value"] for each in body["values"]] == ["odd", "even"]
    best = body["values"][0]
    assert best["source"] == "for_you"
    assert len(best["item_ids"]) == 3
    shelf = shop.get("/recommend", params={"user_id": "odd-user-3", "k": 3, "exclude": "none"}).json()["items"]
    assert best["item_ids"] == [item["item_id"] for item in shelf]
    assert best["score"] == pytest.approx(sum(item["score"] for item in shelf))
    assert (body["shortfall"], body["warnings"]) == (None, [])


def test_an_unknown_user_gets_the_values_of_popular_items(shop: Shop) -> None:
    body = shop.get("/recommend/values", params={"field": "categories", "user_id": "nobody"}).json()
    assert {each["source"] for each in body["values"]} == {"popular"}
    assert body["shortfall"] == {
        "requested": 10,
        "returned": 2,
        "reason": "the eligible items have no more values",
    }


def test_a_filter_holds_for_the_items_behind_a_value(shop: Shop) -> None:
    asked = {"field": "categories", "user_id": "odd-user-3", "filter": '{"price": {"lt": 2}, "categories": ["even"]}'}
    [best] = shop.get("/recommend/values", params=asked).json()["values"]
    assert (best["value"], set(best["item_ids"])) == ("even", {"even-00", "even-01"})


def test_a_field_that_no_item_has_is_a_warning_and_a_shortfall(shop: Shop) -> None:
    body = shop.get("/recommend/values", params={"field": "brnad"}).json()
    assert (body["values"], body["shortfall"]["returned"]) == ([], 0)
    assert [warned["loc"] for warned in body["warnings"]] == [["query", "field"]]


@pytest.mark.parametrize(
    ("asked", "loc"),
    [
        ({}, ["query", "field"]),
        ({"field": ""}, ["query", "field"]),
        ({"field": "categories", "k": 0}, ["query", "k"]),
        ({"field": "categories", "k": "many"}, ["query", "k"]),
        ({"field": "categories", "filter": "{"}, ["query", "filter"]),
        ({"field": "categories", "filter": '{"price": "cheap"}'}, ["query", "filter", "price"]),
        ({"field": "categories", "exclude": "some"}, ["query", "exclude"]),
        ({"field": "categories", "brand": "x"}, ["query", "brand"]),
    ],
)
def test_a_mistake_is_a_422_that_names_the_parameter(shop: Shop, asked: dict[str, object], loc: list[str]) -> None:
    answer = shop.get("/recommend/values", params=asked)
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]
