"""`group_by`, `caps` and `diversity` of a shelf, over HTTP."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Shop

ASKED = {"user_id": "odd-user-3", "exclude": "none"}


def shelf(shop: Shop, **more: object) -> dict:
    return shop.post("/recommend", ASKED | {"k": 6} | more).json()


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_caps_bound_the_items_per_value_and_the_best_of_each_value_stay(shop: Shop) -> None:
    every = ids(shelf(shop, k=40))
    odd, even = ([id_ for id_ in every if id_.startswith(side)] for side in ("odd", "even"))
    answer = shelf(shop, caps={"categories": 3})
    assert ids(answer) == odd[:3] + even[:3]
    assert answer["shortfall"] is None
    text = {"caps": json.dumps({"categories": 3}), "k": 6} | ASKED
    assert ids(shop.get("/recommend", params=text).json()) == ids(answer)


def test_one_item_of_each_group_is_shown_on_all_pages_together(shop: Shop) -> None:
    every = ids(shelf(shop, k=40))
    best = [id_ for at, id_ in enumerate(every) if id_[-2:] not in [each[-2:] for each in every[:at]]]
    first = shelf(shop, group_by="price")
    second = shelf(shop, group_by="price", cursor=first["cursor"])
    assert ids(first) + ids(second) == best[:12]


def test_a_shelf_that_shaping_leaves_short_says_why(shop: Shop) -> None:
    answer = shelf(shop, k=10, caps={"categories": 2}, group_by="price")
    assert len(answer["items"]) == 4
    assert answer["shortfall"] == {
        "requested": 10,
        "returned": 4,
        "reason": "group_by and caps left out 36 of the eligible items; no more items are eligible",
    }


def test_a_diverse_shelf_has_items_that_the_history_does_not_suggest(shop: Shop) -> None:
    assert shelf(shop, diversity=0)["items"] == shelf(shop)["items"]
    assert all(id_.startswith("odd") for id_ in ids(shelf(shop)))
    diverse = ids(shelf(shop, diversity=0.9))
    assert diverse[0] == ids(shelf(shop))[0]
    assert {id_.split("-")[0] for id_ in diverse} == {"odd", "even"}


def test_the_shelves_of_a_batch_are_shaped_as_each_alone(shop: Shop) -> None:
    shapes = [{"caps": {"categories": 1}}, {"group_by": "price"}, {"diversity": 0.5}, {}]
    shelves = [ASKED | {"k": 6} | shape for shape in shapes]
    batch = shop.post("/recommend/batch", {"shelves": shelves}).json()["shelves"]
    for shape, answer in zip(shapes, batch, strict=True):
        alone = shelf(shop, **shape)
        assert ids(answer) == ids(alone)
        assert answer["shortfall"] == alone["shortfall"]


def test_an_item_that_changes_is_capped_by_its_new_value(shop: Shop) -> None:
    best = ids(shelf(shop, k=1))[0]
    shop.post("/items", {"items": [{"item_id": best, "categories": ["moved"], "attributes": {"price": 1}}]})
    answer = shelf(shop, k=9, caps={"categories": 2})
    assert len(answer["items"]) == 5
    assert best in ids(answer)
    shop.post("/items", {"items": [{"item_id": best, "categories": ["odd"], "attributes": {"price": int(best[-2:])}}]})


def test_a_field_that_no_item_has_gets_a_warning(shop: Shop) -> None:
    answer = shelf(shop, caps={"prise": 1}, group_by="parent")
    assert len(answer["items"]) == 6
    assert answer["warnings"] == [
        {"loc": ["group_by"], "msg": "no item has an attribute 'parent'"},
        {"loc": ["caps", "prise"], "msg": "no item has an attribute 'prise'; similar names: price"},
    ]


@pytest.mark.parametrize(
    ("asked", "loc"),
    [
        ({"caps": {"brand": 0}}, ["body", "caps", "brand"]),
        ({"caps": {"brand": "many"}}, ["body", "caps", "brand"]),
        ({"caps": {"brand": 1.5}}, ["body", "caps", "brand"]),
        ({"caps": ["brand"]}, ["body", "caps"]),
        ({"caps": {"brand": 1, "attributes.brand": 2}}, ["caps"]),
        ({"group_by": ["brand"]}, ["body", "group_by"]),
        ({"group_by": ""}, ["body", "group_by"]),
        ({"diversity": 1.1}, ["body", "diversity"]),
        ({"diversity": -0.1}, ["body", "diversity"]),
        ({"diversity": "much"}, ["body", "diversity"]),
    ],
)
def test_a_wrong_value_is_refused_by_name(shop: Shop, asked: dict, loc: list[str]) -> None:
    answer = shop.post("/recommend", asked)
    assert answer.status_code == 422
    assert [error["loc"][: len(loc)] for error in answer.json()["errors"]] == [loc]
