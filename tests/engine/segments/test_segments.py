"""Segments from their documents, and references to them in filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue import predicate
from engine.errors import InputError
from engine.segments.segments import NO_SEGMENTS, parse_segment, parse_segments

DOCUMENTS = {
    "summer": {"of": "items", "filter": {"categories": {"contains": "swimwear"}}},
    "cheap": {"of": "items", "filter": {"price": {"lt": 20}}},
    "cheap-summer": {"of": "items", "filter": {"segment": "summer", "and": [{"segment": "cheap"}]}},
    "regulars": {"of": "users", "filter": {"n_purchases": {"gte": 3}}, "title": "Regulars"},
    "german-regulars": {"of": "users", "filter": {"segment": "regulars", "attributes.country": "DE"}},
}


def items(segments=DOCUMENTS):
    return parse_segments(segments)


@pytest.mark.parametrize(
    ("filter_", "same_as"),
    [
        ({"segment": "summer"}, {"categories": {"contains": "swimwear"}}),
        ({"segment": ["summer", "cheap"]}, {"or": [{"categories": {"contains": "swimwear"}}, {"price": {"lt": 20}}]}),
        ({"brand": "Acme", "segment": "cheap"}, {"brand": "Acme", "and": [{"price": {"lt": 20}}]}),
        ({"not": {"segment": "cheap"}}, {"not": {"price": {"lt": 20}}}),
        (
            {"or": [{"segment": "cheap-summer"}, {"brand": "Acme"}]},
            {"or": [{"and": [{"price": {"lt": 20}}, {"categories": {"contains": "swimwear"}}]}, {"brand": "Acme"}]},
        ),
        ({"attributes.segment": "summer"}, {"attributes.segment": "summer"}),
    ],
)
def test_a_reference_means_the_filter_of_the_segment(filter_, same_as):
    assert predicate.parse(items().expand(filter_, ("filter",))) == predicate.parse(same_as)


def test_a_filter_without_a_reference_is_returned_as_given():
    filter_ = {"and": [{"price": 3}]}
    assert NO_SEGMENTS.expand(filter_, ("filter",)) is filter_


def test_user_segments_refer_to_user_segments():
    found = items().user_filter("german-regulars", ("x",))
    assert found.predicate.parts[0].field == "attributes.country"
    assert items().broken == {}


@pytest.mark.parametrize(
    ("filter_", "loc", "message"),
    [
        ({"segment": "sumer"}, ("filter", "segment"), "similar names: summer"),
        ({"segment": "regulars"}, ("filter", "segment"), "is a segment of users, expected a segment of items"),
        ({"not": {"segment": ["cheap", "no"]}}, ("filter", "not", "segment", 1), "there is no segment of items 'no'"),
        ({"segment": {"eq": "summer"}}, ("filter", "segment"), "an attribute of this name is `attributes.segment`"),
        ({"segment": []}, ("filter", "segment"), "a list of 1 to 100 names"),
        ({"and": [{"segment": "cheap"}] * 101}, ("filter",), "at most 100 references"),
    ],
)
def test_a_wrong_reference_is_an_error_that_names_the_place(filter_, loc, message):
    with pytest.raises(InputError, match=message) as caught:
        items().expand(filter_, ("filter",))
    assert [problem.loc for problem in caught.value.problems] == [loc]


@pytest.mark.parametrize(
    ("document", "loc", "message"),
    [
        ({"of": "shops", "filter": {"a": 1}}, ("body", "of"), "expected a segment of items or of users"),
        ({"filter": {"a": 1}}, ("body", "of"), "expected a segment of items or of users"),
        ({"of": "items"}, ("body", "filter"), "a segment has a filter"),
        ({"of": "items", "filter": {"price": "x"}, "k": 1}, ("body", "k"), "a segment has the fields of, filter"),
        ({"of": "items", "filter": {"price": {"near": 1}}}, ("body", "filter", "price", "near"), "an operator"),
        ({"of": "users", "filter": {"price": 1}}, ("body", "filter", "price"), "`attributes.NAME` or a field of"),
        ({"of": "items", "filter": {"segment": "own"}}, ("body", "filter", "segment"), "circle: own -> own"),
        ({"of": "items", "filter": {"segment": "back"}}, ("body", "filter", "segment"), "circle: own -> back -> own"),
        ({"of": "items", "filter": {"a": 1}, "title": 3}, ("body", "title"), "expected text"),
        ([], ("body",), "expected an object"),
    ],
)
def test_a_wrong_document_is_an_error_that_names_the_place(document, loc, message):
    documents = {**DOCUMENTS, "back": {"of": "items", "filter": {"segment": "own"}}, "own": document}
    with pytest.raises(InputError, match=message) as caught:
        parse_segment("own", documents)
    assert caught.value.problems[0].loc[: len(loc)] == loc


def test_broken_documents_are_left_out_and_named():
    broken = {"a": {"of": "items", "filter": {"segment": "b"}}, "b": {"of": "items", "filter": {"segment": "a"}}}
    found = items({**DOCUMENTS, **broken, "c": {"of": "items", "filter": {"segment": "gone"}}})
    assert set(found.items) == {"summer", "cheap", "cheap-summer"}
    assert "circle" in found.broken["a"]
    assert "there is no segment" in found.broken["c"]
    with pytest.raises(InputError, match="'c' cannot be used: there is no segment of items 'gone'"):
        found.expand({"segment": "c"}, ("filter",))


@given(st.integers(1, 40), st.integers(1, 3))
def test_segments_that_refer_to_many_others_are_refused_and_not_computed_for_hours(n, width):
    chain = {f"s{at}": {"of": "items", "filter": {"and": [{"segment": f"s{at - 1}"}] * width}} for at in range(1, n)}
    found = items({"s0": {"of": "items", "filter": {"price": 1}}, **chain})
    assert set(found.items) | set(found.broken) == {f"s{at}" for at in range(n)}
    assert len(found.items) <= 8
