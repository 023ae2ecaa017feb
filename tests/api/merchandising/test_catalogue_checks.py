"""What a stored document says about fields is compared with the catalogue when it is stored."""

from __future__ import annotations

import httpx
import pytest

from tests.api.conftest import Shop

TEXT = [{"field": "title", "curve": [[0, 1], [1, 2]]}]


def problem(answer: httpx.Response) -> dict:
    assert answer.status_code == 422, answer.text
    [found] = answer.json()["errors"]
    return found


@pytest.mark.parametrize(
    ("path", "document", "loc", "message"),
    [
        ("/placements/a", {"filter": {"price": {"lt": "cheap"}}}, ["filter", "price", "lt"], "price holds numbers"),
        (
            "/placements/a",
            {"filter": {"or": [{"x": {"eq": "seed"}}, {"price": "9"}]}},
            ["filter", "or", 1, "price"],
            "price holds numbers",
        ),
        (
            "/placements/a",
            {"boost": [{"filter": {"price": {"contains": "1"}}, "factor": 2}]},
            ["boost", 0, "filter", "price", "contains"],
            "price holds numbers",
        ),
        (
            "/placements/a",
            {"pins": [{"position": 1, "filter": {"price": "x"}}]},
            ["pins", 0, "filter", "price"],
            "numb",
        ),
        ("/placements/a", {"boost": TEXT}, ["boost", 0, "field"], "no item has a number in 'title'"),
        ("/placements/a", {"boost": [TEXT[0] | {"field": None, "age_of": "price"}]}, ["boost", 0, "age_of"], "a time"),
        (
            "/placements/a",
            {"group_by": {"field": "categories", "choose": {"field": "title"}}},
            ["group_by", "choose", "field"],
            "a number or a time in 'title'",
        ),
        ("/rules/a", {"then": {"bury": {"price": "x"}}}, ["then", "bury", "price"], "price holds numbers"),
        ("/rules/a", {"then": {"boost": TEXT}}, ["then", "boost", 0, "field"], "no item has a number"),
        (
            "/rules/a",
            {"when": {"seed": {"price": "x"}}, "then": {"bury": {"price": 1}}},
            ["when", "seed", "price"],
            "price holds numbers",
        ),
        ("/segments/a", {"of": "items", "filter": {"price": "x"}}, ["filter", "price"], "price holds numbers"),
        (
            "/pages/a",
            {"shelves": [{"name": "a"}, {"name": "b", "filter": {"price": "x"}}]},
            ["shelves", 1, "filter", "price"],
            "price holds numbers",
        ),
        (
            "/pages/a",
            {"shelves": [{"name": "a", "seed": {}, "title": "Like {titel}"}]},
            ["shelves", 0, "title"],
            "no item has 'titel'; the title can name {categories}, {item_id}, {price}, {title}",
        ),
        (
            "/pages/a",
            {"shelves": [{"name": "a", "best": {"field": "categories"}, "title": "Of {title}"}]},
            ["shelves", 0, "title"],
            "can name {value}",
        ),
        (
            "/pages/a",
            {"shelves": [{"name": "a", "best": {"field": "item_id"}}]},
            ["shelves", 0, "best", "field"],
            "own",
        ),
    ],
)
def test_a_wrong_type_is_refused_with_the_place(shop: Shop, path: str, document: dict, loc: list, message: str) -> None:
    found = problem(shop.put(path, document))
    assert found["loc"] == ["body", *loc]
    assert message in found["msg"]
    assert shop.get(path).status_code == 404  # nothing was stored
    if "/placements" in path or "/rules" in path:
        tried = problem(shop.post(f"{path}/dry-run", {"document": document}))
        assert tried["loc"] == ["body", "document", *loc]


def test_a_field_that_no_item_has_yet_is_a_warning(shop: Shop) -> None:
    document = {
        "filter": {"colour": "red", "stock_{context.store}": {"gt": 0}},
        "caps": {"brand": 2},
        "group_by": {"field": "parent", "choose": {"field": "margin"}},
        "boost": [{"field": "stock", "curve": [[0, 1], [1, 2]]}],
        "objective": "revenue",
    }
    answer = shop.put("/placements/early", document)
    assert answer.status_code == 200, answer.text
    assert [each["loc"][1:] for each in answer.json()["warnings"]] == [
        ["filter", "colour"],
        ["caps", "brand"],
        ["boost", 0, "field"],
        ["group_by"],
        ["group_by", "choose", "field"],
    ]
    assert shop.put("/placements/early", {"filter": {"price": 3}}).json()["warnings"] == []
    [warning] = shop.put("/rules/early", {"then": {"bury": {"colour": "red"}}}).json()["warnings"]
    assert warning == {"loc": ["body", "then", "bury", "colour"], "msg": "no item has an attribute 'colour'"}
    assert shop.delete("/rules/early").status_code == 200


def test_more_days_than_the_server_keeps_are_a_warning(shop: Shop) -> None:
    assert shop.settings.keep_shelves_days == 7
    asked = {"user_id": "odd-user-1", "k": 2, "exclude": {"impressed": "8d"}, "rotation": "3w"}
    answers = [
        (shop.put("/placements/long", {"exclude": {"impressed": "8d"}, "rotation": "3w"}).json(), ["body"]),
        (shop.post("/recommend", asked).json(), ["body"]),
        (shop.post("/recommend/batch", {"shelves": [asked]}).json()["shelves"][0], ["body", "shelves", 0]),
    ]
    for answer, loc in answers:
        assert "warnings" in answer, answer
        assert [each["loc"] for each in answer["warnings"]] == [[*loc, "exclude"], [*loc, "rotation"]]
        assert "for 7 days" in answer["warnings"][0]["msg"]
    for fits in ({"exclude": {"impressed": "7d"}, "rotation": "168h"}, {"exclude": ["impressed"]}):
        assert shop.post("/recommend", {"user_id": "odd-user-1"} | fits).json()["warnings"] == []


@pytest.mark.parametrize("field", ["item_id", "created_at", "sku"])
def test_values_of_a_field_with_a_value_for_each_item_are_refused(shop: Shop, field: str) -> None:
    if field == "sku":
        rows = [{"item_id": f"sku-{n}", "attributes": {"sku": n}} for n in range(30)]
        seq = shop.post("/items", {"items": rows}).json()["seq"]
        assert shop.get("/recommend", params={"k": 1, "min_seq": seq}).status_code == 200
    found = problem(shop.get("/recommend/values", params={"field": field}))
    assert found["loc"] == ["query", "field"]
    assert "of its own; expected a field whose values several items share" in found["msg"]
