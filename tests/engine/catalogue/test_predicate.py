"""The filter language: its result for one item, the same result for many items, and its errors."""

import json

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalogue.columns import Columns, attribute_table
from engine.catalogue.comparable_values import parse_moment
from engine.catalogue.filter_type_check import check_types, kinds_of
from engine.catalogue.predicate import item_fields, matches, parse
from engine.errors import InputError
from engine.store.items import CATALOGUE

DAY_US = 86_400_000_000


def item(item_id, *, title=None, categories=(), available=True, at=0, **attributes):
    return {
        "item_key": 1, "item_id": item_id, "title": title, "categories": list(categories),
        "attributes": json.dumps(attributes), "available": available, "deleted": False,
        "created_at": at * DAY_US, "updated_at": at * DAY_US,
    }  # fmt: skip


SHOES = item("shoe", title="Red Shoe", categories=("shoes", "sale"), price=30, brand="Acme", sizes=[41, 42], at=10)
BOOT = item("boot", title="Brown boot", categories=("shoes",), price=80.5, brand="Best", waterproof=True, at=20)
CAP = item("cap", title=None, price="on request", tags=["summer", "new"], at=30)
BARE = item("bare", available=False, brand=None, nested={"a": 1})
ALL = [SHOES, BOOT, CAP, BARE]


def columns(rows):
    catalogue = pa.Table.from_pylist(rows, schema=CATALOGUE)
    return Columns(catalogue, attribute_table(catalogue))


def one_by_one(rows, predicate):
    return [matches(predicate, item_fields(row, orjson.loads(row["attributes"]))) for row in rows]


def passing(value):
    predicate = parse(value)
    mask = columns(ALL).mask(predicate).tolist()
    assert mask == one_by_one(ALL, predicate)
    return [row["item_id"] for row, passes in zip(ALL, mask, strict=True) if passes]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"price": {"lt": 50}}, ["shoe"]),
        ({"price": {"gte": 30, "lte": 80.5}}, ["shoe", "boot"]),
        ({"price": {"gt": 30}}, ["boot"]),
        ({"price": 30}, ["shoe"]),
        ({"price": "on request"}, ["cap"]),
        ({"not": {"price": {"lt": 50}}}, ["boot", "cap", "bare"]),
        ({"brand": ["Acme", "Other"]}, ["shoe"]),
        ({"brand": {"in": ["Acme", "Best"]}, "price": {"gt": 50}}, ["boot"]),
        ({"brand": {"gt": "Acme"}}, ["boot"]),
        ({"brand": {"exists": False}}, ["cap", "bare"]),
        ({"nested": {"exists": True}}, ["bare"]),
        ({"never": {"exists": False}}, ["shoe", "boot", "cap", "bare"]),
        ({"never": 1}, []),
        ({"categories": {"contains": "shoes"}}, ["shoe", "boot"]),
        ({"categories": {"exists": True}}, ["shoe", "boot", "cap", "bare"]),
        ({"sizes": {"contains": 42}}, ["shoe"]),
        ({"tags": {"contains": "new"}}, ["cap"]),
        ({"title": {"contains": "BOOT"}}, ["boot"]),
        ({"title": {"exists": False}}, ["cap", "bare"]),
        ({"waterproof": True}, ["boot"]),
        ({"available": False}, ["bare"]),
        ({"item_id": ["cap", "ghost"]}, ["cap"]),
        ({"created_at": {"lt": "1970-01-16"}}, ["shoe", "bare"]),
        ({"updated_at": {"gte": "1970-01-21T01:00:00+01:00"}}, ["boot", "cap"]),
        ({"or": [{"price": {"lt": 50}}, {"tags": {"contains": "new"}}]}, ["shoe", "cap"]),
        ({"and": [{"price": {"exists": True}}, {"not": {"brand": "Acme"}}]}, ["boot", "cap"]),
        ({"attributes.price": 30}, ["shoe"]),
        ({"sizes": 42}, ["shoe"]),
        ({"sizes": [40, 42]}, ["shoe"]),
        ({"tags": "new"}, ["cap"]),
        ({"tags": ["old", "new"]}, ["cap"]),
        ({"not": {"tags": "new"}}, ["shoe", "boot", "bare"]),
        ({"categories": "shoes"}, ["shoe", "boot"]),
        ({"categories": ["sale", "other"]}, ["shoe"]),
        ({"brand": "acme"}, []),
        ({"brand": {"eq": "acme", "match_case": False}}, ["shoe"]),
        ({"brand": {"in": ["ACME", "BEST"], "match_case": False}}, ["shoe", "boot"]),
        ({"title": {"contains": "boot", "match_case": True}}, ["boot"]),
        ({"title": {"contains": "Boot", "match_case": True}}, []),
        ({"tags": {"contains": "NEW"}}, []),
        ({"tags": {"contains": "NEW", "match_case": False}}, ["cap"]),
        ({"categories": {"eq": "SHOES", "match_case": False}}, ["shoe", "boot"]),
        ({"price": {"eq": 30, "match_case": False}}, ["shoe"]),
    ],
)
def test_a_filter_keeps_these_items(value, found):
    assert passing(value) == found


def test_attributes_called_like_fields_and_operators_are_reached_by_their_full_name():
    rows = [item("a") | {"attributes": json.dumps({"title": "inner", "not": 1, "lt": 2})}]
    for name, value in (("title", "inner"), ("not", 1), ("lt", 2)):
        predicate = parse({f"attributes.{name}": value})
        assert columns(rows).mask(predicate).tolist() == one_by_one(rows, predicate) == [True]


def test_the_order_of_listed_values_does_not_change_the_filter():
    assert parse({"brand": ["b", "a"]}) == parse({"brand": {"in": ["a", "b"]}}, ("elsewhere",))
    assert hash(parse({"a": 1})) == hash(parse({"a": 1}, ("body",)))


@pytest.mark.parametrize(
    ("value", "place", "sentence"),
    [
        ({}, (), "expected an object"),
        ([], (), "expected an object"),
        ("price", (), "expected an object"),
        ({"price": {}}, ("price",), "expected an operator"),
        ({"price": {"below": 3}}, ("price", "below"), "expected an operator"),
        ({"price": None}, ("price",), "expected a number, text, true or false"),
        ({"price": {"lt": [1]}}, ("price", "lt"), "expected a number, text, true or false"),
        ({"price": {"lt": True}}, ("price", "lt"), "compares numbers"),
        ({"price": {"in": []}}, ("price", "in"), "1 to 1000 values"),
        ({"price": [1, "a"]}, ("price",), "values of one type"),
        ({"price": {"exists": 1}}, ("price", "exists"), "takes true or false"),
        ({"lt": 3}, ("lt",), "follows a field"),
        ({"and": {}}, ("and",), "takes a list"),
        ({"or": [{"a": 1}, 3]}, ("or", 1), "expected an object"),
        ({"categories": {"lt": "shoes"}}, ("categories", "lt"), "use `contains`"),
        ({"brand": {"eq": "a", "match_case": 1}}, ("brand", "match_case"), "is true or false beside eq, in, contains"),
        ({"brand": {"match_case": True}}, ("brand", "match_case"), "is true or false beside eq, in, contains"),
        ({"brand": {"gt": "a", "match_case": False}}, ("brand", "match_case"), "beside eq, in, contains, got False"),
        ({"title": {"lt": 3}}, ("title", "lt"), "title holds text"),
        ({"available": "yes"}, ("available",), "available holds true or false"),
        ({"created_at": {"lt": "yesterday"}}, ("created_at", "lt"), "expected a time"),
        ({"brand": "x" * 5000}, ("brand",), "at most 4096 bytes"),
        ({"brand": "\ud800"}, ("brand",), "valid Unicode"),
        ({f"f{n}": n for n in range(101)}, (), "at most 100"),
        ({"and": [{"or": [{f"f{n}": n} for n in range(60)]}] * 2}, (), "at most 100"),
    ],
)
def test_an_invalid_filter_is_refused_with_the_wrong_part(value, place, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        parse(value)
    assert [problem.loc for problem in refused.value.problems] == [("filter", *place)]


def test_lists_that_nest_too_deep_to_be_shown_are_refused_like_others():
    deep = []
    for _ in range(2000):
        deep = [deep]
    for value, place in ((deep, ()), ({"price": deep}, ("price", 0)), ({"created_at": deep}, ("created_at", 0))):
        with pytest.raises(InputError, match="a list that nests too deep") as refused:
            parse(value)
        assert [problem.loc for problem in refused.value.problems] == [("filter", *place)]


def test_a_filter_nests_eight_deep_and_no_deeper():
    deep = {"a": 1}
    for _ in range(7):
        deep = {"not": deep}
    assert parse(deep)
    with pytest.raises(InputError, match="at most 8 deep"):
        parse({"not": deep})


WIDE = [2**53, 2**53 + 1, 2**53 + 2, 2**63, 2**64 - 1, -(2**63), -(2**53) - 1, 0.5, [2**53 + 1, 7], float(2**53)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"sku": 9007199254740993}, [1, 8]),
        ({"sku": 9007199254740992}, [0, 9]),
        ({"sku": [9007199254740993, 9007199254740994]}, [1, 2, 8]),
        ({"sku": [18446744073709551615, 18446744073709551614]}, [4]),
        ({"sku": {"gt": 9007199254740992, "lt": 9007199254740994}}, [1]),
        ({"sku": {"gte": 9007199254740993}}, [1, 2, 3, 4]),
        ({"sku": {"lt": 9007199254740993}}, [0, 5, 6, 7, 9]),
        ({"sku": {"lte": -9007199254740993}}, [5, 6]),
        ({"sku": {"gt": -9007199254740993}}, [0, 1, 2, 3, 4, 7, 9]),
        ({"sku": {"contains": 9007199254740993}}, [8]),
        ({"sku": 9223372036854775807}, []),
        ({"sku": {"gt": 9223372036854775807}}, [3, 4]),
        ({"sku": {"lt": 10**30}}, [0, 1, 2, 3, 4, 5, 6, 7, 9]),
        ({"sku": {"gt": 1e30}}, []),
    ],
)
def test_integers_of_64_bits_are_compared_exactly(value, found):
    rows, predicate = [item(str(n), sku=each) for n, each in enumerate(WIDE)], parse(value)
    mask = columns(rows).mask(predicate).tolist()
    assert mask == one_by_one(rows, predicate)
    assert [n for n, passes in enumerate(mask) if passes] == found
    alone = [columns([row]).mask(predicate).tolist() == [n in found] for n, row in enumerate(rows)]
    assert all(alone)  # also if no value of the field has a rest


RELEASED = [
    "2026-11-01", "2026-11-01T00:00:00+01:00", "2026-10-31T23:00:00Z", "2026-11-02T00:30:00.5+0100", "2026-11", "soon",
    ["2026-11-01T00:00:00+00:00", "x"], 20261101,
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"gte": "2026-11-01T00:00:00+01:00", "lt": "2026-11-01T00:00:01"}, [0, 1, 2]),
        ({"gt": "2026-11-01T00:00:00+01:00", "lt": "2026-12"}, [0, 3]),
        ({"lt": "2026-11-01"}, [1, 2, 4]),
        ({"eq": "2026-11-01 01:00 +01:00"}, [0, 6]),
        ({"eq": "2026-10-31T23:00:00Z"}, [1, 2]),
        ({"in": ["2026-10-31T23:00Z", "soon"]}, [1, 2, 5]),
        ({"gte": "2026-11-01T23:30:00.500Z"}, [3, 5]),
        ({"gt": "2026-11"}, [0, 1, 3, 5]),  # a month is not a time, so it is compared as text
        ({"eq": "2026-11"}, [4]),
        ({"contains": "2026-11-01"}, [0, 1]),
        ({"eq": 20261101}, [7]),
    ],
)
def test_times_of_attributes_are_compared_as_moments(asked, found):
    rows, predicate = [item(str(n), at=n, released=each) for n, each in enumerate(RELEASED)], parse({"released": asked})
    mask = columns(rows).mask(predicate).tolist()
    assert mask == one_by_one(rows, predicate)
    assert [n for n, passes in enumerate(mask) if passes] == found


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-02", DAY_US),
        ("1970-01-02Z", DAY_US),
        ("1970-01-02 00:00", DAY_US),
        ("1970-01-02T01:00:00.25+01", DAY_US + 250_000),
        ("1970-01-01t00:00z", None),
        ("1970-02-30", None),
        ("1970-01", None),
        ("19700102", None),
        ("1970-01-02 and more", None),
    ],
)
def test_text_is_a_moment_where_it_is_a_day_with_perhaps_a_time(text, at):
    assert parse_moment(text) == at


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"brand": {"lt": 3}}, "brand holds text, `lt` asks for numbers"),
        ({"sizes": {"gt": 42}}, "sizes holds lists of numbers, `gt` asks for numbers; use `contains`"),
        ({"sizes": "42"}, "sizes holds lists of numbers, `eq` asks for text"),
        ({"waterproof": "yes"}, "waterproof holds true or false"),
    ],
)
def test_a_value_of_a_type_that_the_field_has_nowhere_is_refused(value, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        check_types(parse(value), columns(ALL), {})
    assert refused.value.problems[0].loc[:2] == ("filter", next(iter(value)))


TIMES = [item("a", released="2026-11-01"), item("b", released="2026-11-02T00:00:00+01:00")]


@pytest.mark.parametrize(
    "asked", [{"gte": "2026-11-01"}, {"lt": "2026"}, ["2026-11-01", "2026-11"], {"contains": "11"}]
)
def test_times_are_compared_with_times_and_parts_of_a_day(asked):
    check_types(parse({"released": asked}), columns(TIMES), {})


@pytest.mark.parametrize("asked", [{"gte": "yesterday"}, "soon", ["2026-11-01", "soon"], {"lt": "01.11.2026"}])
def test_a_text_that_is_not_a_time_is_refused_for_an_attribute_of_times(asked):
    with pytest.raises(InputError, match=r"released holds times, .* asks for text; a time is written as"):
        check_types(parse({"released": asked}), columns(TIMES), {"attributes.released": kinds_of("2026-12-01")})
    check_types(parse({"released": asked}), columns([*TIMES, item("c", released="soon")]), {})
    check_types(parse({"released": asked}), columns(TIMES), {"attributes.released": kinds_of("soon")})


def test_a_type_that_some_item_has_is_none_of_an_error():
    check_types(parse({"price": {"lt": "x"}}), columns(ALL), {})
    check_types(parse({"brand": 3}), columns(ALL), {"attributes.brand": {"number"}})
    check_types(parse({"never": 3}), columns(ALL), {})


NAMES = st.sampled_from(["a", "b", "title", "available"])
TEXTS = st.sampled_from(["", "x", "ÄX", "äxy", "2026-01-01", "2026-01-01T01:00+01:00", "2026-01-02T00:00:00Z"])
WIDE_INTS = st.sampled_from([2**53 + n for n in range(4)] + [2**64 - 1, 2**64 - 2, -(2**53) - 1])
SCALARS = st.one_of(
    st.booleans(), st.integers(-3, 3), WIDE_INTS, st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES = st.one_of(SCALARS, st.none(), st.lists(SCALARS, max_size=3), st.sampled_from([{"deep": 1}, 2**64 - 1]))
ITEMS = st.builds(
    lambda title, categories, available, attributes: item(
        "x", title=title, categories=categories, available=available
    ) | {"attributes": json.dumps(attributes)},
    st.sampled_from([None, "X", "äxy"]), st.lists(st.sampled_from(["p", "q"]), max_size=2), st.booleans(),
    st.dictionaries(NAMES, VALUES, max_size=3),
)  # fmt: skip
FINITE = st.one_of(st.booleans(), st.integers(-3, 3), WIDE_INTS, TEXTS)
CONDITIONS = st.one_of(
    st.builds(lambda name, value: {f"attributes.{name}": value}, NAMES, FINITE),
    st.builds(
        lambda name, operator, value: {f"attributes.{name}": {operator: value}},
        NAMES, st.sampled_from(["lt", "lte", "gt", "gte", "contains"]),
        FINITE.filter(lambda each: not isinstance(each, bool)),
    ),
    st.builds(
        lambda name, operator, value, match: {f"attributes.{name}": {operator: value, "match_case": match}},
        NAMES, st.sampled_from(["eq", "contains"]), TEXTS, st.booleans(),
    ),
    st.builds(lambda name, value: {name: {"exists": value}}, NAMES, st.booleans()),
    st.builds(lambda name, values: {f"attributes.{name}": values}, NAMES, st.lists(st.integers(-3, 3), min_size=1)),
    st.sampled_from([{"categories": {"contains": "p"}}, {"title": {"contains": "x"}}, {"title": {"gte": "Y"}}]),
)  # fmt: skip
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ITEMS, max_size=6), value=FILTERS)
def test_columns_say_the_same_as_items_one_by_one(rows, value):
    predicate = parse(value)
    assert columns(rows).mask(predicate).tolist() == one_by_one(rows, predicate)
