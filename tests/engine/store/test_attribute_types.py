"""Types of attributes: stored once, set on purpose, told from what is stored of items."""

from __future__ import annotations

from engine.store import attribute_types, items, spaces, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item
from engine.values.users import User


def test_what_is_known_stays_until_it_is_set(database: Database, space: Space) -> None:
    with database.begin() as conn:
        assert attribute_types.read(conn, space.key) == {}
        assert attribute_types.add(conn, space.key, {"price": "number"}) == {"price": "number"}
        both = {"price": "number", "size": "text"}
        assert attribute_types.add(conn, space.key, {"price": "text", "size": "text"}) == both
        assert attribute_types.read(conn, space.key) == both
        attribute_types.set_types(conn, space.key, {"size": "number"})
        assert attribute_types.read(conn, space.key) == {"price": "number", "size": "number"}


def test_items_and_users_have_types_of_their_own_that_go_with_the_space(database: Database, space: Space) -> None:
    with database.begin() as conn:
        attribute_types.add(conn, space.key, {"age": "number"}, "user")
        assert attribute_types.read(conn, space.key, "item") == {}
        assert attribute_types.read(conn, space.key, "user") == {"age": "number"}
        spaces.delete(conn, space.name)
        assert attribute_types.read(conn, space.key, "user") == {}


def test_a_catalogue_without_stored_types_tells_them_by_what_most_values_are(database: Database, space: Space) -> None:
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
        assert attribute_types.of_catalogue(conn, space.key, names) == {
            "price": "number",
            "size": "text",
            "new": "boolean",
            "tags": "list",
        }
        assert attribute_types.of_catalogue(conn, space.key, ("price",), "user") == {"price": "text"}


def test_a_name_too_long_for_a_type_has_none(database: Database, space: Space) -> None:
    with database.begin() as conn:
        assert attribute_types.add(conn, space.key, {"x" * 257: "text"}) == {}
