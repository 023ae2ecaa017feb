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


def test_the_shown_item_of_a_group_is_chosen_by_a_field_and_names_its_siblings(shop: Shop) -> None:
    for group_by in ("categories", {"field": "categories"}, {"field": "categories", "choose": "score"}):
        assert ids(shelf(shop, k=2, group_by=group_by)) == ids(shelf(shop, k=2, group_by="categories"))
    for order, n in (("desc", 19), ("asc", 0)):
        group_by = {"field": "categories", "choose": {"field": "price", "order": order}}
        answer = shelf(shop, k=2, group_by=group_by)
        assert ids(answer) == [f"odd-{n:02}", f"even-{n:02}"]
        siblings = [f"odd-{other:02}" for other in range(20) if other != n]
        assert answer["items"][0]["siblings"] == siblings
        text = {"group_by": json.dumps(group_by), "k": 2} | ASKED
        assert shop.get("/recommend", params=text).json()["items"] == answer["items"]
        alone = shop.post("/recommend/batch", {"shelves": [ASKED | {"k": 2, "group_by": group_by}]}).json()
        assert alone["shelves"][0]["items"] == answer["items"]
    narrow = shelf(
        shop, k=1, group_by="categories", filter={"price": {"lt": 2}, "categories": "odd"}, exclude_items=["odd-01"]
    )
    assert ids(narrow) == ["odd-00"]
    assert narrow["items"][0]["siblings"] == []


def test_a_moved_item_is_a_sibling_in_its_new_group(shop: Shop) -> None:
    moved = {"item_id": "even-07", "categories": ["odd"], "attributes": {"price": 70}}
    shop.post("/items", {"items": [moved]})
    by_price = {"field": "categories", "choose": {"field": "price"}}
    assert ids(shelf(shop, k=1, group_by=by_price)) == ["even-07"]
    assert "even-07" in shelf(shop, k=1, group_by="categories")["items"][0]["siblings"]
    shop.post("/items", {"items": [moved | {"categories": ["even"], "attributes": {"price": 7}}]})


@pytest.mark.parametrize(
    ("group_by", "loc", "msg"),
    [
        ({"choose": "score"}, ["body", "group_by", "field"], "Field required"),
        ({"field": "price", "choose": "stock"}, ["body", "group_by", "choose"], 'expected "score", or an object'),
        ({"field": "x", "choose": {"field": "y", "order": "up"}}, ["body", "group_by", "choose", "order"], "'desc'"),
        ({"field": "price", "by": "x"}, ["body", "group_by", "by"], "no such parameter"),
        (
            {"field": "price", "choose": {"field": "title"}},
            ["body", "group_by", "choose", "field"],
            "no item has a number",
        ),
        (3, ["body", "group_by"], ""),
    ],
)
def test_a_wrong_group_by_names_the_part(shop: Shop, group_by: object, loc: list, msg: str) -> None:
    answer = shop.post("/recommend", ASKED | {"group_by": group_by})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == loc
    assert msg in error["msg"]


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
        {"loc": ["body", "group_by"], "msg": "no item has an attribute 'parent'"},
        {"loc": ["body", "caps", "prise"], "msg": "no item has an attribute 'prise'; similar names: price"},
    ]


@pytest.mark.parametrize(
    ("asked", "loc"),
    [
        ({"caps": {"brand": 0}}, ["body", "caps", "brand"]),
        ({"caps": {"brand": "many"}}, ["body", "caps", "brand"]),
        ({"caps": {"brand": 1.5}}, ["body", "caps", "brand"]),
        ({"caps": ["brand"]}, ["body", "caps"]),
        ({"caps": {"brand": 1, "attributes.brand": 2}}, ["body", "caps"]),
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


@pytest.mark.parametrize("rotation", ["1", "", "-1d", "1y", "now"])
def test_a_wrong_half_life_of_rotation_names_the_field(shop: Shop, rotation: str) -> None:
    answer = shop.post("/recommend", ASKED | {"rotation": rotation})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "rotation"]
    batch = shop.post("/recommend/batch", {"shelves": [ASKED, ASKED | {"rotation": rotation}]})
    assert batch.json()["errors"][0]["loc"] == ["body", "shelves", 1, "rotation"]
    assert shop.get("/recommend", params=ASKED | {"rotation": "1d"}).status_code == 200


def test_a_minimum_score_leaves_the_items_that_suit_the_user(shop: Shop) -> None:
    every = shelf(shop, k=40)["items"]
    shown = {level: shelf(shop, k=40, min_score=level) for level in ("low", "medium", "high")}
    n_shown = [len(answer["items"]) for answer in shown.values()]
    assert 20 >= n_shown[0] >= n_shown[1] >= n_shown[2]
    assert n_shown[0] > n_shown[2]
    for level, answer in shown.items():
        assert answer["items"] == every[: len(answer["items"])]
        assert f"min_score {level} asks for" in answer["shortfall"]["reason"]
        text = {"k": 40, "min_score": level} | ASKED
        assert shop.get("/recommend", params=text).json()["items"] == answer["items"]
    assert shop.post("/recommend", ASKED | {"min_score": 0.5}).status_code == 422


def test_explored_slots_are_labelled_and_the_same_again_with_a_seed(shop: Shop) -> None:
    answer = shelf(shop, k=10, explore=0.3, seed=5)
    assert [item["reason"] for item in answer["items"]].count("explored") == 3
    assert shelf(shop, k=10, explore=0.3, seed=5)["items"] == answer["items"]
    text = {"k": 10, "explore": 0.3, "seed": 5} | ASKED
    assert shop.get("/recommend", params=text).json()["items"] == answer["items"]
    for wrong in ({"explore": 1.5}, {"explore": "a"}, {"seed": -1}):
        answer = shop.post("/recommend", ASKED | wrong)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["body", *wrong]


def test_an_objective_multiplies_the_scores_and_is_a_part_of_them(shop: Shop) -> None:
    plain = shelf(shop, k=40)
    scores = {item["item_id"]: item["score"] for item in plain["items"] if item["reason"] == "history"}
    answer = shelf(shop, k=10, objective="revenue", explain=1)
    [warning] = answer["warnings"]
    assert (warning["loc"][-1], "no impressions" in warning["msg"]) == ("objective", True)
    assert [part["name"] for part in answer["items"][0]["parts"]] == ["base", "objective"]
    assert ids(answer) != ids(plain)[:10]
    for item in answer["items"]:
        assert item["parts"][0]["adds"] == pytest.approx(scores[item["item_id"]], rel=1e-4)
        assert sum(part["adds"] for part in item["parts"]) == pytest.approx(item["score"], rel=1e-4)
    assert ids(shop.get("/recommend", params=ASKED | {"k": 10, "objective": "revenue"}).json()) == ids(answer)
    batch = shop.post("/recommend/batch", {"shelves": [ASKED | {"k": 10, "objective": "revenue"}]}).json()
    assert ids(batch["shelves"][0]) == ids(answer)


@pytest.mark.parametrize(("objective", "loc"), [("profit", ["body", "objective"]), ("margin", ["body", "objective"])])
def test_an_objective_that_is_unknown_or_lacks_its_field_is_refused(shop: Shop, objective: str, loc: list) -> None:
    answer = shop.post("/recommend", ASKED | {"objective": objective})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc
    batch = shop.post("/recommend/batch", {"shelves": [ASKED, ASKED | {"objective": objective}]})
    assert batch.json()["errors"][0]["loc"] == ["body", "shelves", 1, "objective"]


def test_boosts_that_requests_share_name_the_place_in_each_request(shop: Shop) -> None:
    boost = [{"filter": {"no_such": 1}, "factor": 2}]
    for _ in range(2):
        answer = shop.post("/recommend", ASKED | {"boost": boost}).json()
        assert [each["loc"] for each in answer["warnings"]] == [["body", "boost", 0, "filter", "no_such"]]
        batch = shop.post("/recommend/batch", {"shelves": [ASKED, ASKED | {"boost": boost}]}).json()
        [warning] = batch["shelves"][1]["warnings"]
        assert warning["loc"] == ["body", "shelves", 1, "boost", 0, "filter", "no_such"]
    wrong = [{"filter": {"price": "x"}, "factor": 2}]
    refused = shop.post("/recommend/batch", {"shelves": [ASKED, ASKED, ASKED | {"boost": wrong}]})
    assert refused.json()["errors"][0]["loc"] == ["body", "shelves", 2, "boost", 0, "filter", "price"]
