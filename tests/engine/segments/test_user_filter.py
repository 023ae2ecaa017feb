"""Filters over users: which fields they accept, and whom they select."""

import pytest

from engine.errors import InputError
from engine.segments.user_fields import UserFacts
from engine.segments.user_filter import parse_user_filter

DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US
ANN = UserFacts(
    "ann",
    {"country": "DE", "joined": "2024-10-01", "n_purchases": 99},
    {"n_events": 9, "n_purchases": 3},
    {"last_event_at": NOW_US - 10 * DAY_US},
    {"categories_bought": frozenset({"shoes", "hats"}), "items_bought": frozenset()},
)


@pytest.mark.parametrize(
    "filter_",
    [
        {"attributes.country": "DE", "n_purchases": {"gte": 3}, "last_event_at": {"gte": "now-30d"}},
        {"categories_bought": {"contains": "shoes"}},
        {"categories_bought": ["coats", "hats"]},
        {"items_bought": {"exists": False}, "first_purchase_at": {"exists": False}},
        {"n_carts": 0},
        {"attributes.n_purchases": 99},
        {"user_id": {"in": ["ann", "bob"]}},
        {"not": {"last_event_at": {"gte": "now-7d"}}},
        {"last_event_at": {"lt": "2024-10-01T12:00:00Z", "gte": "2024-09-01"}},
        {"attributes.joined": {"lt": "now-1d", "gt": "now-2d"}},
        {"or": [{"n_views": {"gt": 5}}, {"attributes.country": {"eq": "de", "match_case": False}}]},
    ],
)
def test_a_user_who_passes(filter_):
    now_us = NOW_US if "attributes.joined" not in filter_ else 1_727_870_400_000_000  # 2024-10-02T12:00
    assert parse_user_filter(filter_).matches(ANN, now_us)
    assert not parse_user_filter({"not": filter_}).matches(ANN, now_us)


def test_a_user_without_events_has_counts_of_zero_and_no_times():
    nobody = UserFacts("nobody")
    assert parse_user_filter({"n_events": {"lt": 1}, "last_event_at": {"exists": False}}).matches(nobody, NOW_US)
    assert not parse_user_filter({"last_event_at": {"lt": "now"}}).matches(nobody, NOW_US)


@pytest.mark.parametrize(
    ("filter_", "loc", "message"),
    [
        ({"country": "DE"}, ("filter", "country"), "expected `attributes.NAME` or a field of user_id"),
        ({"n_purchase": 1}, ("filter", "n_purchase"), "did you mean n_purchases"),
        ({"n_purchases": "3"}, ("filter", "n_purchases"), "n_purchases holds numbers, `eq` asks for text"),
        ({"n_purchases": {"contains": 3}}, ("filter", "n_purchases", "contains"), "`contains` asks for text"),
        ({"last_event_at": {"gte": 3}}, ("filter", "last_event_at", "gte"), "now-30d"),
        ({"last_event_at": {"gte": "soon"}}, ("filter", "last_event_at", "gte"), "got 'soon'"),
        ({"last_event_at": {"gte": "now-30"}}, ("filter", "last_event_at", "gte"), "expected a duration"),
        ({"attributes.born": {"lt": "now-30y"}}, ("filter", "attributes.born", "lt"), "expected a duration"),
        ({"categories_bought": {"gt": "a"}}, ("filter", "categories_bought", "gt"), "use `contains`"),
        ({"and": []}, ("filter", "and"), "takes a list"),
        ({"n_views": {"near": 3}}, ("filter", "n_views", "near"), "expected an operator"),
        ({}, ("filter",), "expected an object"),
        ([], ("filter",), "expected an object"),
    ],
)
def test_a_wrong_filter_is_an_error_that_names_the_place(filter_, loc, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_user_filter(filter_)
    assert [problem.loc for problem in caught.value.problems] == [loc]


def test_a_filter_is_not_deeper_than_eight():
    deep = {"n_views": 1}
    for _ in range(8):
        deep = {"not": deep}
    with pytest.raises(InputError, match="at most 8 deep"):
        parse_user_filter(deep)
