"""The values of a field by item: the same from the columns of a generation and from a changed item."""

import json

import orjson
import pytest

from engine.catalogue.item_values import MAX_FIELDS, ItemValuesCache, changed_values, item_values
from engine.catalogue.predicate import CORE, item_fields
from tests.engine.catalogue.test_predicate import ALL, columns, item

MIXED = [
    item("a", categories=("x", "y", "x"), v=1, big=2**60 + 1, at=1),
    item("b", title="B", categories=("y",), v=True, big=2**60, at=2),
    item("c", v="1", big=2**60 + 1),
    item("d", v=["1", 1, True], big=3.5),
    item("e", v=None, available=False),
    item("f", v={"a": 1}),
]


@pytest.mark.parametrize("rows", [ALL, MIXED, MIXED[4:], []])
def test_columns_and_changed_items_have_the_same_values(rows) -> None:
    facts = [item_fields(row, json.loads(row["attributes"])) for row in rows]
    for field in {*CORE, *(name for each in facts for name in each), "attributes.unknown"}:
        found = item_values(columns(rows), field).of_rows(range(len(rows)))
        assert found == [changed_values(field, each.get(field)) for each in facts]


def test_values_are_equal_when_they_are_written_so() -> None:
    v, big = (item_values(columns(MIXED), f"attributes.{name}").of_rows(range(6)) for name in ("v", "big"))
    assert v == [frozenset({1.0}), frozenset({("bool", True)}), {"1"}, {"1", 1.0}, frozenset(), frozenset()]
    assert big == [{2**60 + 1}, {2.0**60}, {2**60 + 1}, {3.5}, set(), set()]
    assert item_values(columns(MIXED), "categories").of_rows([1, 0, 2]) == [{"y"}, {"x", "y"}, set()]


def test_rows_outside_the_catalogue_have_no_values() -> None:
    assert item_values(columns(ALL), "item_id").of_rows([-1, 4, 0]) == [set(), set(), {"shoe"}]


def test_few_fields_are_cached() -> None:
    rows = [item("a", **{f"f{at}": at for at in range(MAX_FIELDS + 3)})]
    assert orjson.loads(rows[0]["attributes"])
    cache = ItemValuesCache(columns(rows))
    for at in range(MAX_FIELDS + 3):
        assert cache.get(f"attributes.f{at}").of_rows([0]) == [{float(at)}]
    assert len(cache._cached) == MAX_FIELDS
    last = f"attributes.f{MAX_FIELDS + 2}"
    assert cache.get(last) is cache.get(last)


@pytest.mark.parametrize("rows", [ALL, MIXED, MIXED[4:]])
def test_the_rows_of_values_have_exactly_these(rows) -> None:
    """Fields where items have one value, and fields with lists."""
    for field in {*CORE, "attributes.v", "attributes.big"}:
        values = item_values(columns(rows), field)
        of_rows = values.of_rows(range(len(rows)))
        for each in {found for found in of_rows if found}:
            assert values.rows_of(each) == [row for row, found in enumerate(of_rows) if found == each]
