"""Attribute types: stored once, changed only by request, inferred from stored items."""

from __future__ import annotations

from engine.store import attribute_types, items, spaces, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.store.users import User
from engine.values.items import Item


def test_a_stored_type_stays_until_it_is_set(database: Database, space: Space) -> None:
    with database.begin() as conn:
        assert attribute_types.read(conn, space.key) == {}
        assert attribute_types.add(conn, space.key, {"price": "number"}) == {"price": "number"}
        both = {"price": "number", "size": "text"}
        assert attribute_types.add(conn, space.key, {"price": "text", "size": "text"}) == both
        assert attribute_types.read(conn, space.key) == both
        attribute_types.set_types(conn, space.key, {"size": "number"})
        assert attribute_types.read(conn, space.key) == {"price": "number", "size": "number"}


def test_items_and_users_have_separate_types_that_are_deleted_with_the_space(database: Database, space: Space) -> None:
    with database.begin() as conn:
        attribute_types.add(conn, space.key, {"age": "number"}, "user")
        assert attribute_types.read(conn, space.key, "item") == {}
        assert attribute_types.read(conn, space.key, "user") == {"age": "number"}
        spaces.delete(conn, space.name)
        assert attribute_types.read(conn, space.key, "user") == {}


def test_types_are_inferred_by_the_majority_of_stored_values(database: Database, space: Space) -> None:
    with database.begin() as conn:
        attributes = [
            {"price": 1, "size": "S", "new": True, "tags": ["a"], "odd": 1, "gone": None},
            {"price": 2.5, "size": 38, "new": False, "tags": [], "odd": "x", "note": "N/A"},
            {"price": "N/A", "size": "M", "new": True},
            {"price": "on request"},
        ]
        items.upsert(conn, space.key, [Item(f"i{n}", attributes=each) for n, each in enumerate(attributes)])
        users.upsert(conn, space.key, [User("u", {"price": "x"})])
        names = ("price", "size", "new", "tags", "odd", "gone", "note", "never")
        assert attribute_types.infer_from_catalogue(conn, space.key, names) == {
            "price": "number",
            "size": "text",
            "new": "boolean",
            "tags": "list",
        }
        assert attribute_types.infer_from_catalogue(conn, space.key, ("price",), "user") == {"price": "text"}


def test_an_attribute_with_a_too_long_name_gets_no_type(database: Database, space: Space) -> None:
    with database.begin() as conn:
        assert attribute_types.add(conn, space.key, {"x" * 257: "text"}) == {}
