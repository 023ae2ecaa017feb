"""`boost`: the scores of some items times a factor, before the best are chosen."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Shop

ASKED = {"user_id": "odd-user-3", "exclude": "none"}


def scores(shop: Shop, k: int = 40, **more: object) -> dict[str, float]:
    body = shop.post("/recommend", ASKED | {"k": k} | more).json()
    return {item["item_id"]: item["score"] for item in body["items"] if item["reason"] == "history"}


def test_the_best_by_boosted_score_come_though_they_were_far_down_without(shop: Shop) -> None:
    plain = scores(shop)
    boost = [{"filter": {"price": {"gte": 15}}, "factor": 3}, {"filter": {"price": {"lt": 5}}, "factor": 0.25}]

    def factor(id_: str) -> float:
        price = int(id_[-2:])
        return 3 if price >= 15 else 0.25 if price < 5 else 1

    true = {id_: score * factor(id_) if score > 0 else score / factor(id_) for id_, score in plain.items()}
    assert set(plain) == {f"odd-{n:02}" for n in range(20)}  # even ones have nothing to do with the history
    found = scores(shop, 8, boost=boost)
    assert len(found) == 8
    assert found == pytest.approx({id_: true[id_] for id_ in found}, rel=1e-3, abs=1e-4)
    assert sorted(found.values()) == pytest.approx(sorted(true.values())[-8:], rel=1e-3, abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    text = {"boost": json.dumps(boost), "k": 8} | ASKED
    again = shop.get("/recommend", params=text).json()["items"]
    assert [item["item_id"] for item in again] == list(found)


def test_two_factors_on_one_item_are_multiplied_and_a_filter_holds_as_ever(shop: Shop) -> None:
    every = {"filter": {"price": {"gte": 0}}, "factor": 2}
    plain = scores(shop, filter={"price": {"lt": 3}})
    twice = scores(shop, filter={"price": {"lt": 3}}, boost=[every, every])
    assert plain.keys() == twice.keys() == {f"odd-0{n}" for n in range(3)}
    for id_, score in plain.items():
        assert twice[id_] == pytest.approx(score * 4 if score > 0 else score / 4, rel=1e-3, abs=1e-5)


def test_popular_items_for_nobody_are_boosted_too_and_pages_go_on(shop: Shop) -> None:
    boost = [{"filter": {"categories": {"contains": "even"}}, "factor": 100}]
    first = shop.post("/recommend", {"k": 10, "boost": boost}).json()
    second = shop.post("/recommend", {"k": 10, "boost": boost, "cursor": first["cursor"]}).json()
    shown = [item["item_id"] for item in first["items"] + second["items"]]
    assert set(shown) == {f"even-{n:02}" for n in range(20)}
    assert {item["reason"] for item in first["items"]} == {"popular"}
    values = [item["score"] for item in first["items"] + second["items"]]
    assert values == sorted(values, reverse=True)


def test_what_the_history_adds_is_the_boosted_score(shop: Shop) -> None:
    boost = [{"filter": {"price": {"gte": 0}}, "factor": 5}]
    for item in shop.post("/recommend", ASKED | {"k": 5, "boost": boost, "explain": 100}).json()["items"]:
        assert sum(each["adds"] for each in item["because"]["history"]) == pytest.approx(item["score"], rel=1e-3)


def test_the_shelves_of_a_batch_are_boosted_and_explained_as_recommend_is(shop: Shop) -> None:
    boost = [{"filter": {"price": {"gte": 15}}, "factor": 3}]
    shelves = [ASKED | {"k": 6, "boost": boost}, ASKED | {"k": 6}, {"user_id": "even-user-1", "k": 4, "boost": boost}]
    batch = shop.post("/recommend/batch", {"shelves": shelves, "explain": 100}).json()["shelves"]
    for shelf, found in zip(shelves, batch, strict=True):
        alone = shop.post("/recommend", shelf | {"explain": 100}).json()["items"]
        assert [item["item_id"] for item in found["items"]] == [item["item_id"] for item in alone]
        for mine, theirs in zip(found["items"], alone, strict=True):
            assert mine["score"] == pytest.approx(theirs["score"], rel=1e-4)
            adds = {each["item_id"]: each["adds"] for each in theirs["because"]["history"]}
            assert {each["item_id"]: each["adds"] for each in mine["because"]["history"]} == pytest.approx(
                adds, rel=1e-3
            )
    assert batch[0]["items"] != batch[1]["items"]
    distinct = shop.post("/recommend/batch", {"shelves": shelves, "distinct": True}).json()["shelves"]
    shown = [item["item_id"] for shelf in distinct for item in shelf["items"]]
    assert len(set(shown)) == len(shown) == 16
    assert "because" not in distinct[0]["items"][0]


def test_ranked_items_are_boosted_and_explained(shop: Shop) -> None:
    asked = {"user_id": "odd-user-3", "item_ids": ["odd-01", "odd-16", "even-04", "nobody-knows"]}
    plain = {item["item_id"]: item["score"] for item in shop.post("/rank", asked).json()["items"]}
    boost = [{"filter": {"price": {"gte": 15}}, "factor": 50}]
    items = shop.post("/rank", asked | {"boost": boost, "explain": 100}).json()["items"]
    assert [item["item_id"] for item in items] == ["odd-16", *[id_ for id_ in plain if id_ != "odd-16"]]
    assert items[0]["score"] == pytest.approx(50 * plain["odd-16"], rel=1e-4)
    assert sum(each["adds"] for each in items[0]["because"]["history"]) == pytest.approx(items[0]["score"], rel=1e-3)
    assert items[-1]["because"] is None
    nobody = shop.post("/rank", {"item_ids": ["odd-01", "odd-16"], "boost": boost}).json()["items"]
    assert [item["item_id"] for item in nobody] == ["odd-16", "odd-01"]


@pytest.mark.parametrize(
    "boost",
    [
        [{"filter": {"price": {"lt": 3}}}],
        [{"factor": 2}],
        [{"filter": {"price": {"lt": 3}}, "factor": 0}],
        [{"filter": {"price": {"lt": 3}}, "factor": -1}],
        [{"filter": {"price": {"almost": 3}}, "factor": 2}],
        [{"filter": {"price": {"lt": 3}}, "factor": 2, "x": 1}],
        [{"filter": {"price": {"lt": 3}}, "factor": 2}] * 101,
        [{"filter": {"price": {"lt": 3}}, "curve": [[0, 1]], "factor": 2}],
        [{"field": "price", "curve": [[3, 1], [1, 2]]}],
        [{"field": "price", "age_of": "created_at", "curve": [[3, 1]]}],
        [{"field": "price", "curve": [[3, 0]]}],
        [{"field": "no_such_field", "curve": [[3, 1]]}],
        [{"age_of": "price", "curve": [[3, 1]]}],
        [{"filter": {"price": {"gte": 0}}, "factor": 100}] * 7,
        {"filter": {"price": {"lt": 3}}, "factor": 2},
    ],
)
def test_an_invalid_boost_is_rejected_with_its_place(shop: Shop, boost: object) -> None:
    for answer in (
        shop.post("/recommend", {"boost": boost}),
        shop.get("/recommend", params={"boost": json.dumps(boost)}),
    ):
        assert answer.status_code == 422, answer.text
        assert "boost" in answer.json()["errors"][0]["loc"]
    assert shop.get("/recommend", params={"boost": "{"}).status_code == 422
    for path, body in (
        ("/rank", {"item_ids": ["odd-01"], "boost": boost}),
        ("/recommend/batch", {"shelves": [{"boost": boost}]}),
    ):
        answer = shop.post(path, body)
        assert answer.status_code == 422, answer.text
        assert "boost" in answer.json()["errors"][0]["loc"]


def test_an_age_is_a_factor_and_a_number_an_addend(shop: Shop) -> None:
    young = {"age_of": "created_at", "curve": [[0, 3], [3650, 1]]}
    priced = {"field": "price", "curve": [[0, 0], [20, 1]], "as": "add"}
    items = shop.post("/recommend", ASKED | {"k": 8, "boost": [young, priced], "explain": 1}).json()["items"]
    for item in items:
        parts = {(part["name"], part["at"]): part["adds"] for part in item["parts"]}
        base = parts["base", None]
        assert item["reason"] == "history"
        assert parts["boost", 0] == pytest.approx(2 * base, rel=0.01), "all items are new"
        assert parts.get(("boost", 1), 0) == pytest.approx(item["fields"]["price"] / 20, rel=1e-4)
        assert sum(parts.values()) == pytest.approx(item["score"], rel=1e-5)


def test_a_boost_acts_on_the_current_state_of_an_item(shop: Shop) -> None:
    curve = [{"field": "price", "curve": [[0, 1], [1000, 90]]}]
    cheap = shop.post("/recommend", ASKED | {"k": 40, "boost": curve}).json()["items"]
    assert cheap[0]["item_id"] != "odd-02"
    item = {"title": "odd 2", "categories": ["odd"], "attributes": {"price": 1000}}
    seq = shop.put("/items/odd-02", item).json()["seq"]
    for boost in (curve, [{"filter": {"price": {"gte": 500}}, "add": 1000}]):
        items = shop.post("/recommend", ASKED | {"k": 40, "boost": boost, "min_seq": seq}).json()["items"]
        assert items[0]["item_id"] == "odd-02"
