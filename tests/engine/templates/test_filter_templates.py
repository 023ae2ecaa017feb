"""Filters whose values depend on the request become plain filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue.predicate import matches, parse
from engine.errors import InputError
from engine.templates.filter_templates import is_template, resolved
from engine.templates.situation import NOWHERE, PROBE, Situation

ITEMS = {
    "lamp": {"attributes.price": 100.0, "attributes.brand": "Lumo", "categories": ["light", "oak"], "title": "Lamp"},
    "desk": {"attributes.price": 300, "attributes.brand": "Acme", "categories": ["oak"], "created_at": 0},
    "bare": {"categories": []},
}
ITEMS = {name: {"item_id": name} | fields for name, fields in ITEMS.items()}
MINUTE = Situation({"category": "light", "max": 5, "store": "b-1"}, 90_000_001, ["lamp"], ITEMS.get)


def of(*item_ids: str) -> Situation:
    return Situation({}, 0, item_ids, ITEMS.get)


@pytest.mark.parametrize(
    ("template", "plain"),
    [
        ({"price": {"gte": {"seed": 0.85}}}, {"price": {"gte": 85.0}}),
        ({"price": {"gte": {"seed": 0.5}, "lt": 70}}, {"and": [{"price": {"lt": 70}}, {"price": {"gte": 50.0}}]}),
        ({"brand": {"eq": "seed"}}, {"brand": {"in": ["Lumo"]}}),
        ({"category": {"in": "context.category"}}, {"category": {"in": ["light"]}}),
        ({"price": {"lte": "context.max"}}, {"price": {"lte": 5}}),
        ({"created_at": {"gte": "now-30s"}}, {"created_at": {"gte": "1970-01-01T00:00:30+00:00"}}),
        ({"stock_{context.store}": {"gt": 0}}, {"stock_b-1": {"gt": 0}}),
        (
            {"or": [{"brand": {"eq": "seed"}}, {"not": {"price": 3}}]},
            {"or": [{"brand": {"in": ["Lumo"]}}, {"not": {"price": 3}}]},
        ),
        (
            {"brand": {"eq": "seed", "match_case": False}, "price": 3},
            {"and": [{"price": 3}, {"brand": {"in": ["Lumo"], "match_case": False}}]},
        ),
    ],
)
def test_references_get_their_values(template: dict, plain: dict) -> None:
    assert is_template(template)
    assert resolved(template, (), MINUTE) == plain
    parse(resolved(template, (), PROBE))


@pytest.mark.parametrize(
    "plain",
    [
        {"brand": "seed"},
        {"brand": {"in": ["seed", "context.x"]}},
        {"title": {"eq": "now-30d"}},
        {"seed": 3},
        {"now": 1},
    ],
)
def test_a_brand_that_is_called_seed_stays_expressible(plain: dict) -> None:
    assert not is_template(plain)
    assert resolved(plain, (), NOWHERE) == plain


@pytest.mark.parametrize(
    ("template", "situation", "passing"),
    [
        ({"brand": {"eq": "seed"}}, of("lamp", "desk"), {"lamp", "desk"}),
        ({"price": {"gte": {"seed": 1.1}}}, of("lamp", "desk"), {"desk"}),
        ({"price": {"lte": {"seed": 0.5}}}, of("lamp", "desk"), {"lamp"}),
        ({"categories": {"contains": "seed"}}, of("lamp"), {"lamp", "desk"}),
        ({"brand": {"eq": "seed"}}, of("bare"), set()),
        ({"not": {"brand": {"eq": "seed"}}}, of("bare"), {"lamp", "desk", "bare"}),
        ({"created_at": {"eq": "seed"}}, of("desk"), {"desk"}),
    ],
)
def test_several_seeds_and_seeds_without_a_value_are_defined(
    template: dict, situation: Situation, passing: set[str]
) -> None:
    predicate = parse(resolved(template, (), situation))
    assert {name for name, fields in ITEMS.items() if matches(predicate, fields)} == passing


@pytest.mark.parametrize(
    ("template", "situation", "loc", "message"),
    [
        ({"price": {"gte": {"seed": 1}}}, of(), ("price", "gte"), "the request has none"),
        ({"price": {"gte": "seed"}}, of("nothing"), ("price", "gte"), "there is no item 'nothing'"),
        ({"and": [{"x": {"eq": "context.y"}}]}, MINUTE, ("and", 0, "x", "eq"), "it has: category, max, store"),
        ({"stock_{context.shop}": 1}, MINUTE, ("stock_{context.shop}",), "has no 'shop'"),
        ({"price": {"gte": {"seed": "a"}}}, MINUTE, ("price", "gte"), "with a factor above 0"),
        ({"price": {"gte": {"seed": True}}}, MINUTE, ("price", "gte"), "with a factor above 0"),
        ({"price": {"gte": {"seed": 1, "of": "cost"}}}, MINUTE, ("price", "gte"), "with a factor above 0"),
        ({"title": {"gte": {"seed": 1}}}, MINUTE, ("title", "gte"), "title holds no numbers"),
        (
            {"brand": {"gte": {"seed": 1}}},
            of("lamp"),
            ("brand", "gte"),
            "a factor multiplies a number, and 'brand' of the",
        ),
        ({"price": {"gte": "now-3x"}}, MINUTE, ("price", "gte"), "expected a duration"),
    ],
)
def test_a_wrong_reference_is_named(template: dict, situation: Situation, loc: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        resolved(template, (), situation)
    assert caught.value.problems[0].loc == loc


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=5), st.floats(0.1, 10), st.floats(1, 1e6))
def test_a_factor_compares_with_the_lowest_or_the_highest_seed(
    prices: list[float], factor: float, price: float
) -> None:
    seeds = {str(at): {"attributes.price": each} for at, each in enumerate(prices)}
    situation = Situation({}, 0, list(seeds), seeds.get)
    for operator, expected in (
        ("gte", any(price >= each * factor for each in prices)),
        ("lt", any(price < each * factor for each in prices)),
    ):
        predicate = parse(resolved({"price": {operator: {"seed": factor}}}, (), situation))
        assert matches(predicate, {"attributes.price": price}) == expected
