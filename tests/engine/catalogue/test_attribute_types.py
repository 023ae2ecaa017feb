"""Attribute types: how a value is converted to the type, and how a type is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from engine.catalogue.attribute_types import AttributeType, check_type, coerce, coerce_attributes, majority, vote
from engine.errors import InputError

FITS: list[tuple[AttributeType, Any, Any]] = [
    ("number", 12.5, 12.5),
    ("number", "€12,50", 12.5),
    ("number", "N/A", None),
    ("number", True, None),
    ("number", [1], None),
    ("text", "08", "08"),
    ("text", 38.0, "38"),
    ("text", True, "true"),
    ("text", {"a": 1}, None),
    ("boolean", False, False),
    ("boolean", "Yes", True),
    ("boolean", 0, False),
    ("boolean", "perhaps", None),
    ("time", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
    ("time", "2016-12-31 23:59:60", "2016-12-31 23:59:60"),
    ("time", "soon", None),
    ("time", "2026-13-01", None),
    ("time", "2026-11-32", None),
    ("time", "2026-11-01 25:00", None),
    ("list", ["a"], ["a"]),
    ("list", "a| b|", ["a", "b"]),
    ("list", 7, [7]),
    ("list", {"a": 1}, None),
    ("any", {"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("kind", "value", "fits"), FITS)
def test_a_value_is_taken_as_the_type_or_does_not_fit(kind: AttributeType, value: Any, fits: Any) -> None:
    made = coerce(kind, value)
    assert (made, type(made)) == (fits, type(fits))


def test_more_than_half_of_the_votes_decide_and_a_cell_that_says_nothing_has_none() -> None:
    assert [vote(value) for value in (1, 2.5, "N/A", " ", "x", "2026-11-01 10:00", True, [], {})] == [
        *("number", "number", None, None, "text", "time", "boolean", "list", "any")
    ]
    assert majority({"number": 2, "text": 1}) == "number"
    assert majority({"number": 1, "text": 1}) == "any"
    assert majority({"number": 1, "text": 1}, "text") == "text"
    assert majority({}) is None


def test_a_value_of_another_type_is_an_error_that_names_its_place() -> None:
    assert coerce_attributes({"price": "12,50", "colour": 7, "new": None}, {"price": "number", "size": "text"}, ()) == {
        "price": 12.5,
        "colour": 7,
        "new": None,
    }
    with pytest.raises(InputError, match="price is a number in this space, got 'N/A'; leave it out") as caught:
        coerce_attributes({"price": "N/A"}, {"price": "number"}, ("attributes",))
    assert caught.value.problems[0].loc == ("attributes", "price")


def test_an_unknown_type_is_an_error_that_lists_the_types() -> None:
    assert check_type("boolean") == "boolean"
    with pytest.raises(InputError, match="expected a type of number, text, boolean, time, list, any, got 'float'"):
        check_type("float")
