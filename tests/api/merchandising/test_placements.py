"""`recommend?placement=`: a request gets the parameters of a stored placement and may narrow what it shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.messages.shelf_schemas import ShelfBody
from engine.merchandising.placements import NARROWING, OF_REQUEST
from engine.store.database.connections import Database
from engine.store.shelves import presets
from tests.api.conftest import Shop

HOME = {"k": 6, "exclude": "none", "filter": {"price": {"lt": 12}}, "caps": {"categories": 4}, "description": "front"}


@pytest.fixture(scope="module", autouse=True)
def stored(shop: Shop, database: Database) -> None:
    """One document is not valid, as after a change of the software."""
    documents = {"open": {}, "twelve": {"k": 12, "boost": [{"filter": {"price": 3}, "factor": 9}]}}
    with database.begin() as conn:
        presets.put(conn, shop.space.key, "placement", "spoilt", {"kk": 3}, "local")
    for name, document in (*documents.items(), ("home", {"k": 5}), ("home", HOME)):
        answer = shop.put(f"/placements/{name}", document)
        assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == 2


def shelf(shop: Shop, **asked: object) -> dict:
    answer = shop.post("/recommend", {"user_id": "odd-user-3"} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_request_gets_the_parameters_of_its_placement(shop: Shop) -> None:
    answer = shelf(shop, placement="home")
    same = {name: value for name, value in HOME.items() if name != "description"}
    assert ids(answer) == ids(shelf(shop, **same))
    assert answer["placement"] == {"name": "home", "version": 2}
    assert shelf(shop)["placement"] is None
    assert shelf(shop, placement="open")["items"] == shelf(shop)["items"]
    assert ids(shop.get("/recommend?placement=home&user_id=odd-user-3").json()) == ids(answer)


def test_a_batch_names_a_placement_for_each_shelf(shop: Shop) -> None:
    bodies = [
        {"placement": "home", "user_id": "odd-user-3"},
        {"user_id": "odd-user-3"},
        {"placement": "twelve", "k": 2},
    ]
    answers = shop.post("/recommend/batch", {"shelves": bodies}).json()["shelves"]
    assert [answer["placement"] and answer["placement"]["name"] for answer in answers] == ["home", None, "twelve"]
    assert [len(answer["items"]) for answer in answers] == [6, 10, 2]
    assert ids(answers[0]) == ids(shelf(shop, placement="home"))


def test_a_request_narrows_its_placement(shop: Shop) -> None:
    answer = shelf(shop, placement="home", k=4, filter={"price": {"gte": 5}}, caps={"categories": 2})
    assert all(5 <= item["fields"]["price"] < 12 for item in answer["items"])
    assert {id_.split("-")[0] for id_ in ids(answer)} == {"odd", "even"}
    query = {"placement": "home", "k": 4, "filter": json.dumps({"price": {"gte": 5}}), "caps": '{"categories": 2}'}
    assert ids(shop.get("/recommend", params=query | {"user_id": "odd-user-3"}).json()) == ids(answer)
    assert ids(shelf(shop, placement="twelve", boost=[{"filter": {"price": 4}, "factor": 90}], exclude="none"))[:1] == [
        "odd-04"
    ]


@pytest.mark.parametrize(
    ("asked", "name", "message"),
    [
        ({"placement": "home", "k": 7}, "k", "shows at most 6 items; got a k of 7"),
        ({"placement": "nowhere"}, "placement", "this space has: home, open, spoilt, twelve"),
        ({"placement": "spoilt"}, "placement", "placement 'spoilt' cannot be used: kk"),
        ({"placement": ""}, "placement", "at least 1 character"),
        ({"placement": "home", "filter": {"price": {"lt": [3]}}}, "filter", ""),
    ],
)
def test_what_would_widen_a_placement_is_refused(shop: Shop, asked: dict, name: str, message: str) -> None:
    alone, batch = shop.post("/recommend", asked), shop.post("/recommend/batch", {"shelves": [{}, asked]})
    assert (alone.status_code, batch.status_code) == (422, 422)
    assert message in alone.text
    assert name in alone.json()["errors"][0]["loc"]
    assert batch.json()["errors"][0]["loc"][:4] == ["body", "shelves", 1, name]


def test_a_cursor_belongs_to_its_placement(shop: Shop) -> None:
    first = shelf(shop, placement="home", k=3)
    second = shelf(shop, placement="home", k=3, cursor=first["cursor"])
    assert not {*ids(first)} & {*ids(second)}
    for other in ({}, {"placement": "twelve"}):
        refused = shop.post("/recommend", {"user_id": "odd-user-3", "cursor": first["cursor"]} | other)
        assert refused.status_code == 422
        assert "this cursor is of placement 'home'" in refused.json()["detail"]


@given(
    k=st.integers(1, 6),
    low=st.integers(0, 14),
    cap=st.integers(1, 9),
    exclude=st.lists(st.sampled_from([f"odd-{n:02}" for n in range(12)]), max_size=4, unique=True),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_shows_what_its_placement_does_not(
    shop: Shop, k: int, low: int, cap: int, exclude: list[str]
) -> None:
    answer = shelf(
        shop, placement="home", k=k, filter={"price": {"gte": low}}, caps={"categories": cap}, exclude_items=exclude
    )
    sides = [id_.split("-")[0] for id_ in ids(answer)]
    assert len(sides) == min(k, sum(min(cap, 4, n) for n in _eligible(low, exclude)))
    assert all(sides.count(side) <= min(4, cap) for side in set(sides))
    assert all(low <= item["fields"]["price"] < 12 for item in answer["items"])
    assert not {*ids(answer)} & {*exclude}


def _eligible(low: int, exclude: list[str]) -> tuple[int, int]:
    """The eligible items of each side."""
    odd = [n for n in range(low, 12) if f"odd-{n:02}" not in exclude]
    return len(odd), max(0, 12 - low)


CHEAP = {"price": {"lt": 12}}
NARROWER: dict[str, list[tuple[Any, Any]]] = {  # parameter: what a placement sets, and a request that it allows
    "k": [(6, 6), (6, 2)],
    "filter": [(CHEAP, {"price": {"gte": 5}}), (CHEAP, {"price": {"gte": 15}}), (CHEAP, {"price": {"lt": 99}})],
    "include_items": [(["odd-01", "even-02"], ["even-02", "even-03"])],
    "exclude_items": [(["odd-01"], ["odd-02"]), (["odd-01"], [])],
    "exclude": [("seen", ["purchased"]), (["seen"], "seen"), ({"seen": "1d"}, {"seen": None})],
    "caps": [({"categories": 3}, {"categories": 2}), ({"categories": 3}, {"categories": 9}), ({"categories": 3}, {})],
    "min_score": [("medium", "high"), ("medium", "low")],
    "fallback": [(["popular", "new"], ["new"]), (["new"], [])],
    "fill": [("new", "none"), ("none", "none")],
}
WIDER: dict[str, list[tuple[Any, Any]]] = {  # and a request that it refuses
    "k": [(6, 7)],
    "include_items": [(["odd-01"], ["odd-02"])],
    "exclude": [("seen", "none")],
    "personalization": [("none", "session"), ("session", "full")],
    "fallback": [(["new"], ["popular"]), (["new"], ["new", "popular"]), ([], ["new"])],
    "fill": [("none", "popular"), ("new", "popular")],
    "strategy": [("popular", "new")],
    "item_ids": [(["odd-01"], ["odd-02"])],
    "user_ids": [(["odd-user-1"], ["odd-user-2"])],
    "group_by": [("categories", "price")],
    "diversity": [(0.5, 0.4)],
    "explore": [(0.2, 0.5), (0, 1)],
    "rotation": [("1d", "2d")],
    "seed": [(3, 4)],
    "objective": [("clicks", "purchases")],
    "pins": [([{"position": 1, "item_id": "odd-01"}], [{"position": 1, "item_id": "odd-02"}])],
}
ADDED = {"boost", "filter", "exclude_items", "caps", "min_score"}  # what both say holds, so no request widens them


def as_cases(table: dict[str, list[tuple[Any, Any]]]) -> list[Any]:
    return [pytest.param(name, *case, id=f"{name}-{at}") for name in table for at, case in enumerate(table[name])]


def test_every_parameter_of_a_placement_is_tried() -> None:
    assert {*WIDER} | ADDED == {*ShelfBody.model_fields} - OF_REQUEST
    assert {*NARROWER} | {"boost", "personalization"} == {*NARROWING}


@pytest.mark.parametrize(("name", "placed", "asked"), as_cases(NARROWER))
def test_a_parameter_of_a_request_shows_a_part_of_what_the_placement_shows(
    shop: Shop, name: str, placed: Any, asked: Any
) -> None:
    more = {"k": 40, "exclude": ["disliked"], "fill": "new"} if name == "min_score" else {"k": 40, "exclude": "none"}
    document = more | ({"strategy": "recently_viewed"} if name in ("fallback", "fill") else {}) | {name: placed}
    assert shop.put("/placements/part", document).status_code == 200
    whole, part = ids(shelf(shop, placement="part")), ids(shelf(shop, placement="part", **{name: asked}))
    if name == "caps":  # which leave out other items where fewer are left
        assert len(part) <= len(whole)
        assert all(sum(id_.startswith(side) for id_ in part) <= 3 for side in ("odd", "even"))
    else:
        assert {*part} <= {*whole}
    assert whole


@pytest.mark.parametrize(("name", "placed", "asked"), as_cases(WIDER))
def test_a_parameter_that_would_widen_a_placement_is_refused_by_name(
    shop: Shop, name: str, placed: Any, asked: Any
) -> None:
    strategy = {"strategy": "for_these_people"} if name == "user_ids" else {}
    assert shop.put("/placements/wide", strategy | {name: placed}).status_code == 200
    assert shop.post("/recommend", {"user_id": "odd-user-3", "placement": "wide"}).status_code == 200
    if name not in ("k", "include_items", "exclude", "personalization"):
        same = shop.post("/recommend", {"user_id": "odd-user-3", "placement": "wide", name: placed})
        assert same.status_code == 200, same.text
    alone = shop.post("/recommend", {"user_id": "odd-user-3", "placement": "wide", name: asked})
    assert alone.status_code == 422, alone.text
    assert alone.json()["errors"][0]["loc"][-1] == name
    batch = shop.post("/recommend/batch", {"shelves": [{"placement": "wide", name: asked}]})
    assert batch.json()["errors"][0]["loc"] == ["body", "shelves", 0, name]


def test_boosts_of_a_request_act_beside_those_of_the_placement(shop: Shop) -> None:
    boost = [{"filter": {"item_id": "even-05"}, "add": 500}]
    assert shop.put("/placements/boosted", {"boost": boost, "exclude": "none", "k": 5}).status_code == 200
    found = ids(shelf(shop, placement="boosted", boost=[{"filter": {"item_id": "even-06"}, "add": 900}]))
    assert found[:2] == ["even-06", "even-05"]


@pytest.mark.parametrize(
    ("document", "name", "message"),
    [
        ({"kk": 3}, "kk", "there is no such parameter"),
        ({"k": 0}, "k", "expected a k of 1 to 1000, got 0"),
        ({"user_id": "ann"}, "user_id", "a stored shelf cannot have it"),
        ({"cursor": "x"}, "cursor", "a stored shelf cannot have it"),
        ({"filter": {"price": {"lt": {}}}}, "filter", ""),
        ({"boost": [{"factor": 2}]}, "boost", "a boost needs"),
        ({"rules": ["no-such-rule"]}, "rules", "there is no rule 'no-such-rule'"),
        ({"rules": "some"}, "rules", ""),
        ({"caps": {"brand": 0}}, "caps", "greater than or equal to 1"),
        ({"filter": {"segment": "no-such"}}, "filter", "no-such"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(shop: Shop, document: dict, name: str, message: str) -> None:
    refused = shop.put("/placements/wrong", document)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["loc"][:2] == ["body", name]
    assert message in refused.text
    assert shop.get("/placements/wrong").status_code == 404


def test_a_change_is_in_force_at_once_and_can_be_rolled_back(shop: Shop) -> None:
    first, second = (shop.put("/placements/changing", {"k": k}).json() for k in (3, 4))
    assert (first["version"], second["version"]) == (1, 2)
    assert len(shelf(shop, placement="changing")["items"]) == 4
    back = shop.post("/placements/changing/rollback", {"version": 1}).json()
    assert back["version"] == 3
    answer = shelf(shop, placement="changing")
    assert (len(answer["items"]), answer["placement"]["version"]) == (3, 3)
    versions = shop.get("/placements/changing/versions").json()["versions"]
    assert [(each["version"], each["body"], each["changed_by"]) for each in versions] == [
        (3, {"k": 3}, "local"),
        (2, {"k": 4}, "local"),
        (1, {"k": 3}, "local"),
    ]
    assert shop.delete("/placements/changing").status_code == 200
    assert shop.post("/recommend", {"placement": "changing"}).status_code == 422
