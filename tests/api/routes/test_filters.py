"""One list in one call: filtered, filled, paged, in batches."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.api.conftest import Shop

CHEAP = {"price": {"lt": 5}}


def ids(body: dict) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def got(shop: Shop, path: str, **parameters: object) -> dict:
    response = shop.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


def posted(shop: Shop, path: str, **body: object) -> dict:
    response = shop.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


def price(item_id: str) -> int:
    return int(item_id[-2:])


def test_every_read_applies_a_filter(shop: Shop) -> None:
    text = json.dumps(CHEAP)
    for body in (
        got(shop, "/recommend", user_id="odd-user-3", k=10, exclude="none", filter=text),
        posted(shop, "/recommend", user_id="odd-user-3", k=10, exclude="none", filter=CHEAP),
        posted(shop, "/recommend", k=10, filter=CHEAP),
    ):
        assert sorted(ids(body)) == sorted(f"{side}-{n:02}" for side in ("odd", "even") for n in range(5))
        assert body["shortfall"] is None
    for body in (
        got(shop, "/search", item_id="odd-07", k=10, filter=text),
        got(shop, "/items/odd-07/similar", k=10, filter=text),
        posted(shop, "/search", positive=["odd-07"], k=10, filter=CHEAP),
        posted(shop, "/search", vector=[0.1] * 8, k=10, filter=CHEAP),
    ):
        assert len(ids(body)) == 10
        assert {price(id_) < 5 for id_ in ids(body)} == {True}
    ranked = posted(shop, "/rank", user_id="odd-user-3", item_ids=["odd-09", "odd-02", "stranger"], filter=CHEAP)
    assert ids(ranked) == ["odd-02"]
    assert ranked["shortfall"]["returned"] == 1


def test_a_filter_with_too_few_items_reports_a_shortfall(shop: Shop) -> None:
    body = posted(shop, "/recommend", user_id="odd-user-3", k=10, filter={"price": {"lte": 1}}, exclude="none")
    assert sorted(ids(body)) == ["even-00", "even-01", "odd-00", "odd-01"]
    assert body["shortfall"] == {"requested": 10, "returned": 4, "reason": "no more items pass the filter"}
    assert body["cursor"] is None


def test_a_filter_over_categories_dates_and_new_items(shop: Shop) -> None:
    name = f"dated-{secrets.token_hex(4)}"
    shop.put(f"/items/{name}", {"categories": ["odd"], "attributes": {"price": 3, "released": "2026-05-01"}})
    asked = {"and": [{"categories": {"contains": "odd"}}, {"not": {"price": {"gt": 3}}}, {"available": True}]}
    assert name in ids(posted(shop, "/recommend", k=100, filter=asked))
    for since in ("2026-04", "2026-05-01T02:00:00+02:00"):
        assert ids(posted(shop, "/recommend", k=5, filter={"released": {"gte": since}})) == [name]
    assert ids(posted(shop, "/recommend", k=5, filter={"released": {"gte": "2026-05-01T00:00:00-01:00"}})) == []
    assert name in ids(posted(shop, "/recommend", k=5, filter={"created_at": {"gte": "2026-01-01"}}, fill="new"))
    seq = shop.put(f"/items/{name}", {"attributes": {"price": 30}}).json()["seq"]
    assert name not in ids(posted(shop, "/recommend", k=100, filter=asked, min_seq=seq))
    shop.delete(f"/items/{name}")


def test_a_list_matches_by_element_and_case_matters_as_requested(shop: Shop) -> None:
    name = f"listed-{secrets.token_hex(4)}"
    shop.put(f"/items/{name}", {"categories": ["New in"], "attributes": {"colour": ["Red", "blue"], "brand": "Acme"}})
    for asked in (
        {"colour": "blue"},
        {"colour": ["green", "Red"]},
        {"categories": "New in"},
        {"colour": {"eq": "red", "match_case": False}},
        {"brand": {"in": ["ACME", "best"], "match_case": False}},
    ):
        assert ids(posted(shop, "/recommend", filter=asked)) == [name], asked
    for asked in ({"colour": "red"}, {"brand": "ACME"}, {"brand": {"contains": "acme", "match_case": True}}):
        assert ids(posted(shop, "/recommend", filter=asked)) == [], asked
    shop.delete(f"/items/{name}")


def test_an_integer_beyond_float_precision_is_matched_and_returned_exactly(shop: Shop) -> None:
    name, sku = f"wide-{secrets.token_hex(4)}", 9007199254740993
    shop.put(f"/items/{name}", {"attributes": {"sku": sku, "skus": [sku, 1]}})
    for asked in ({"sku": sku}, {"sku": {"eq": sku}}, {"sku": [sku]}, {"sku": {"gt": sku - 1}}, {"skus": sku}):
        for body in (
            posted(shop, "/recommend", filter=asked),
            got(shop, "/recommend", filter=json.dumps(asked)),
        ):
            assert [each["fields"]["sku"] for each in body["items"]] == [sku], asked
    for asked in ({"sku": sku - 1}, {"sku": [sku - 1, sku + 1]}, {"sku": {"lt": sku}}, {"skus": sku - 1}):
        assert ids(posted(shop, "/recommend", filter=asked)) == [], asked
    assert shop.get(f"/items/{name}").json()["attributes"] == {"sku": sku, "skus": [sku, 1]}
    shop.delete(f"/items/{name}")


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({}, "filter"),
        ({"price": {"less": 3}}, "less"),
        ({"price": {"lt": "cheap"}}, "price"),
        ({"and": 3}, "and"),
        ({"categories": {"lt": "odd"}}, "categories"),
    ],
)
def test_an_invalid_filter_is_a_problem_that_names_the_part(shop: Shop, asked: object, place: str) -> None:
    for response in (
        shop.post("/recommend", {"filter": asked}),
        shop.get("/search", params={"item_id": "odd-01", "filter": json.dumps(asked)}),
        shop.post("/recommend/batch", {"shelves": [{"filter": asked}]}),
    ):
        assert response.status_code == 422, response.text
        assert place in response.json()["errors"][0]["loc"]
    assert shop.get("/recommend", params={"filter": "{oops"}).status_code == 422


def test_an_unknown_attribute_is_a_warning_with_its_place(shop: Shop) -> None:
    asked = {"or": [{"Prise": {"lt": 5}}, {"not": {"zzz": 1}}], "price": {"lt": 3}}
    told = [
        {"loc": ["or", 0, "Prise", "lt"], "msg": "no item has an attribute 'Prise'; similar names: price"},
        {"loc": ["or", 1, "not", "zzz"], "msg": "no item has an attribute 'zzz'"},
    ]

    def within(*place: str | int) -> list[dict]:
        return [each | {"loc": [*place, *each["loc"]]} for each in told]

    text = json.dumps(asked)
    for body, place in (
        (got(shop, "/recommend", filter=text), ("query", "filter")),
        (posted(shop, "/recommend", filter=asked), ("body", "filter")),
        (posted(shop, "/recommend", boost=[{"filter": asked, "factor": 2}]), ("body", "boost", 0, "filter")),
        (posted(shop, "/rank", item_ids=["odd-01"], filter=asked), ("body", "filter")),
        (got(shop, "/search", item_id="odd-01", filter=text), ("query", "filter")),
        (posted(shop, "/search", positive=["odd-01"], filter=asked), ("body", "filter")),
        (got(shop, "/items/odd-01/similar", filter=text), ("query", "filter")),
    ):
        assert body["warnings"] == within(*place)
    shelves = posted(shop, "/recommend/batch", shelves=[{}, {"filter": asked}])["shelves"]
    assert [each["warnings"] for each in shelves] == [[], within("body", "shelves", 1, "filter")]


def test_an_attribute_is_known_from_its_first_item_on(shop: Shop) -> None:
    name, field = f"first-{secrets.token_hex(4)}", f"field_{secrets.token_hex(4)}"
    assert posted(shop, "/recommend", filter={field: 1})["warnings"][0]["loc"] == ["body", "filter", field]
    seq = shop.put(f"/items/{name}", {"attributes": {field: 1}}).json()["seq"]
    body = posted(shop, "/recommend", filter={field: 1}, min_seq=seq)
    assert (ids(body), body["warnings"]) == ([name], [])
    assert posted(shop, "/recommend", filter={"titel": "x"})["warnings"][0]["msg"].endswith("; similar names: title")
    near = posted(shop, "/recommend", filter={f"{field}s": 1})["warnings"][0]["msg"]
    assert near == f"no item has an attribute '{field}s'; similar names: {field}"
    shop.delete(f"/items/{name}")


def test_unknown_items_are_warnings(shop: Shop) -> None:
    ghosts = [f"ghost-{n}" for n in range(12)]
    body = posted(
        shop, "/recommend", item_ids=["odd-01", *ghosts], history=[{"item_id": "odd-02"}, {"item_id": "gone"}]
    )
    assert [each["loc"] for each in body["warnings"]] == [
        *(["body", "item_ids", n] for n in range(1, 11)),
        ["body", "item_ids"],
        ["body", "history", 1, "item_id"],
    ]
    assert [each["msg"] for each in body["warnings"]][8:] == [
        *(f"there is no item 'ghost-{n}'" for n in (8, 9)),
        "and 2 more",
        "there is no item 'gone'",
    ]
    assert {each["reason"] for each in body["items"]} == {"history"}
    assert len(got(shop, "/recommend", item_ids=["ghost-1", "odd-01"])["warnings"]) == 1
    assert len(posted(shop, "/rank", item_ids=["ghost-1", "odd-01"])["warnings"]) == 1
    assert posted(shop, "/recommend", item_ids=["odd-01"])["warnings"] == []


@pytest.mark.parametrize("empty", ["{}", "", "null", '{"and": []}', '{"not": {}}', '{"price": {}}'])
def test_an_empty_filter_is_rejected(shop: Shop, empty: str) -> None:
    for path, parameters in (("/recommend", {}), ("/search", {"item_id": "odd-01"}), ("/items/odd-01/similar", {})):
        assert shop.get(path, params={**parameters, "filter": empty}).status_code == 422, path
    if empty and empty != "null":
        assert shop.post("/recommend", {"filter": json.loads(empty)}).status_code == 422


def test_fill_new_returns_the_newest_items_and_fill_none_nothing(shop: Shop) -> None:
    names = [f"newest-{secrets.token_hex(4)}" for _ in range(2)]
    for name in names:
        shop.put(f"/items/{name}", {})
    body = got(shop, "/recommend", fill="new", k=3)
    assert ids(body)[:2] == names[::-1]
    assert {item["reason"] for item in body["items"]} == {"new"}
    body = got(shop, "/recommend", fill="none", k=3, user_id="nobody")
    assert (body["items"], body["shortfall"]["returned"]) == ([], 0)
    assert "name a source in `fallback`" in body["shortfall"]["reason"]
    for name in names:
        shop.delete(f"/items/{name}")


def test_only_the_requested_fields_are_returned(shop: Shop) -> None:
    [item] = got(shop, "/recommend", user_id="odd-user-3", k=1, fields=["price", "unheard"])["items"]
    assert item["fields"] == {"price": price(item["item_id"])}


@pytest.mark.parametrize("path", ["/recommend?user_id=odd-user-3&exclude=none", "/search?item_id=odd-03"])
def test_cursors_page_without_repeats_until_the_end(shop: Shop, path: str) -> None:
    whole = ids(shop.get(f"{path}&k=100").json())
    pages, body = [], shop.get(f"{path}&k=7").json()
    while True:
        pages += ids(body)
        if body["cursor"] is None:
            break
        body = shop.get(f"{path}&k=7&cursor={body['cursor']}").json()
    assert sorted(pages) == sorted(whole)
    for wrong in ("x", "eJw", "%25", "AAAA"):
        assert shop.get(f"{path}&cursor={wrong}").status_code == 422


def test_a_batch_returns_the_same_as_single_requests(shop: Shop) -> None:
    shelves = [
        {"user_id": "odd-user-3", "k": 4},
        {"user_id": "even-user-3", "k": 2, "filter": CHEAP},
        {"user_id": "nobody", "k": 3},
        {"item_ids": ["even-03"], "k": 10, "exclude": "none"},
        {"vector": [0.1] * 8, "k": 2},
    ]
    body = posted(shop, "/recommend/batch", shelves=shelves, fields=["title"])
    assert [ids(shelf) for shelf in body["shelves"]] == [ids(posted(shop, "/recommend", **shelf)) for shelf in shelves]
    assert body["shelves"][0]["items"][0]["fields"].keys() == {"title"}


def test_shelves_of_one_page_are_distinct_on_request(shop: Shop) -> None:
    shelf = {"user_id": "odd-user-3", "k": 8}
    once = posted(shop, "/recommend/batch", shelves=[shelf, shelf, {**shelf, "filter": CHEAP}], distinct=True)
    shown = [id_ for each in once["shelves"] for id_ in ids(each)]
    assert len(set(shown)) == len(shown)
    assert [len(each["items"]) for each in once["shelves"]][:2] == [8, 8]
    twice = posted(shop, "/recommend/batch", shelves=[shelf, shelf])
    assert ids(twice["shelves"][0]) == ids(twice["shelves"][1])


def test_a_batch_has_limits(shop: Shop) -> None:
    for shelves in ([], [{}] * 1001, [{"k": 1000}] * 101, [{"k": 0}], [{"user_id": ""}], [{"min_seq": 1}]):
        assert shop.post("/recommend/batch", {"shelves": shelves}).status_code == 422
