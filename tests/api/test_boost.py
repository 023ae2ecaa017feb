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
    assert len(plain) == 40
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
    assert plain.keys() == twice.keys() == {f"{side}-0{n}" for side in ("odd", "even") for n in range(3)}
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


@pytest.mark.parametrize(
    "boost",
    [
        [{"filter": {"price": {"lt": 3}}}],
        [{"factor": 2}],
        [{"filter": {"price": {"lt": 3}}, "factor": 0}],
        [{"filter": {"price": {"lt": 3}}, "factor": -1}],
        [{"filter": {"price": {"almost": 3}}, "factor": 2}],
        [{"filter": {"price": {"lt": 3}}, "factor": 2, "x": 1}],
        [{"filter": {"price": {"lt": 3}}, "factor": 2}] * 4,
        {"filter": {"price": {"lt": 3}}, "factor": 2},
    ],
)
def test_a_boost_that_is_none_is_refused_where_it_is_wrong(shop: Shop, boost: object) -> None:
    for answer in (
        shop.post("/recommend", {"boost": boost}),
        shop.get("/recommend", params={"boost": json.dumps(boost)}),
    ):
        assert answer.status_code == 422, answer.text
        assert "boost" in answer.json()["errors"][0]["loc"]
    assert shop.get("/recommend", params={"boost": "{"}).status_code == 422
