"""Filters, boosts and pins that refer to the seed item, the context and the time of a request."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Shop


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def shelf(shop: Shop, **asked: object) -> dict:
    answer = shop.post("/recommend", {"exclude": "none", "k": 40} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_filters_refer_to_the_seed_the_context_and_the_time(shop: Shop) -> None:
    near = {"price": {"gte": {"seed": 0.9}, "lte": {"seed": 1.1}}, "categories": {"contains": "seed"}}
    assert set(ids(shelf(shop, item_ids=["odd-10"], filter=near))) == {"odd-09", "odd-10", "odd-11"}
    of_context = {"categories": {"contains": "context.side"}, "price": {"lt": "context.max"}}
    context = {"side": "even", "max": 3}
    expected = {"even-00", "even-01", "even-02"}
    assert set(ids(shelf(shop, filter=of_context, context=context))) == expected
    query = {"filter": json.dumps(of_context), "context": json.dumps(context), "exclude": "none"}
    assert set(ids(shop.get("/recommend", params=query).json())) == expected
    assert len(ids(shelf(shop, filter={"created_at": {"gte": "now-1h"}}))) == 40
    assert ids(shelf(shop, filter={"created_at": {"lt": "now-1h"}})) == []


def test_a_condition_of_the_seed_over_an_unknown_field_warns_as_any_filter_does(shop: Shop) -> None:
    answer = shelf(shop, item_ids=["odd-10"], filter={"prce": {"eq": "seed"}})
    assert ids(answer) == []
    [warning] = answer["warnings"]
    assert "no item has an attribute 'prce'; similar names: price" in warning["msg"]
    assert warning["loc"] == ["body", "filter", "prce", "exists"]
    refused = shop.post("/recommend", {"item_ids": ["odd-10"], "filter": {"categories": {"eq": {"seed": 2}}}})
    assert refused.status_code == 422


def test_price_and_stock_may_be_attributes_of_each_store(shop: Shop) -> None:
    stocks = {"even-19": {"b-1": 2, "b-2": 0}, "odd-19": {"b-1": 0, "b-2": 7}}
    for item_id, stock in stocks.items():
        attributes = {"price": 19} | {f"stock_{store}": n for store, n in stock.items()}
        body = {"title": item_id, "categories": [item_id.split("-")[0]], "attributes": attributes}
        seq = shop.put(f"/items/{item_id}", body).json()["seq"]
    in_stock = {"stock_{context.store}": {"gt": 0}}
    for store, expected in (("b-1", ["even-19"]), ("b-2", ["odd-19"])):
        asked = {"filter": in_stock, "context": {"store": store}, "min_seq": seq, "fill": "popular"}
        assert ids(shelf(shop, **asked)) == expected
    boost = [{"field": "stock_{context.store}", "curve": [[0, 0], [7, 90]], "as": "add"}]
    top = shelf(shop, boost=boost, context={"store": "b-2"}, user_id="even-user-2", min_seq=seq, k=1)
    assert ids(top) == ["odd-19"]


def test_boosts_and_pins_refer_to_the_seed_too(shop: Shop) -> None:
    pins = [{"position": 2, "filter": {"price": {"gt": {"seed": 2}}, "categories": {"contains": "seed"}}}]
    assert ids(shelf(shop, item_ids=["even-09"], pins=pins))[1] == "even-19"
    for seed in ("odd-07", "even-03"):  # the same JSON means something else for another seed
        boost = [{"filter": {"title": {"eq": "seed"}}, "factor": 100, "add": 1000}]
        assert ids(shelf(shop, item_ids=[seed], boost=boost))[0] == seed


def test_a_batch_and_a_placement_resolve_each_request_by_itself(shop: Shop) -> None:
    stored = {"filter": {"price": {"eq": {"seed": 1}}, "categories": {"eq": "context.side"}}, "exclude": "none"}
    assert shop.put("/placements/alike", {"filter": stored["filter"] | {"x": {"gt": {"seed": "?"}}}}).status_code == 422
    stored["filter"]["categories"] = {"contains": "context.side"}
    assert shop.put("/placements/alike", stored).status_code == 200
    shelves = [
        {"placement": "alike", "item_ids": [f"odd-{n:02}"], "context": {"side": side}}
        for n, side in ((3, "even"), (4, "odd"))
    ]
    answers = shop.post("/recommend/batch", {"shelves": shelves}).json()["shelves"]
    assert [ids(answer) for answer in answers] == [["even-03"], ["odd-04"]]
    page = {"shelves": [{"name": "only", "placement": "alike"}]}
    assert shop.put("/pages/product", page).status_code == 200
    answer = shop.post("/page", {"page": "product", "item_ids": ["odd-05"], "context": {"side": "even"}}).json()
    assert ids(answer["shelves"][0]) == ["even-05"]


@pytest.mark.parametrize(
    ("asked", "loc", "message"),
    [
        ({"filter": {"price": {"gte": {"seed": 0.85}}}}, ["body", "filter", "price", "gte"], "the request has none"),
        ({"filter": {"price": "x", "y": {"eq": "context.store"}}}, ["body", "filter", "y", "eq"], "has no 'store'"),
        (
            {"pins": [{"position": 1, "filter": {"b": {"eq": "seed"}}}]},
            ["body", "pins", 0, "filter", "b", "eq"],
            "seed item",
        ),
        (
            {"boost": [{"filter": {"b": {"eq": "seed"}}, "factor": 2}]},
            ["body", "boost", 0, "filter", "b", "eq"],
            "seed item",
        ),
        ({"context": {"store": ["a"]}}, ["body", "context", "store"], "expected text of at most 256 characters"),
        ({"context": {"a b": 1}}, ["body", "context", "a b"], ""),
        ({"filter": {"created_at": {"gte": "now-30x"}}}, ["body", "filter", "created_at", "gte"], "a duration"),
        (
            {"filter": {"or": [{"a": {"gte": {"seed": 0}}}]}},
            ["body", "filter", "or", 0, "a", "gte"],
            "a factor above 0",
        ),
    ],
)
def test_a_reference_to_nothing_is_an_error_that_names_it(
    shop: Shop, asked: dict, loc: list[str | int], message: str
) -> None:
    answer = shop.post("/recommend", asked)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["loc"][: len(loc)] == loc
    assert message in problem["msg"]
