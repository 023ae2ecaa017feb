"""Rows with one id are merged: an empty cell of a later row loses nothing, and different values are reported."""

from __future__ import annotations

from pathlib import Path

from engine.importing import import_items, import_users
from engine.store import items, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item

EXPORT = """Handle,Title,Type,Vendor,Option1 Value,Variant Price,Image Src
bracelet,7 Chakra Bracelet,Bracelet,Acme,Blue,42.99,one.jpg
bracelet,,,,Black,44.99,two.jpg
bracelet,,,,,,three.jpg
ring,Ring,Ring,Acme,,10,
"""


def test_a_row_per_variant_and_image_loses_no_title(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text(EXPORT)
    columns = {"item_id": "Handle", "title": "Title", "categories": "Type", "attributes.price": "Variant Price"}
    summary = import_items(database, space.name, path, columns=columns)
    with database.connect() as conn:
        bracelet = items.get(conn, space.key, "bracelet")
    assert (bracelet.title, bracelet.categories) == ("7 Chakra Bracelet", ("Bracelet",))
    assert bracelet.attributes == {
        "price": 44.99,
        "Vendor": "Acme",
        "Option1 Value": "Black",
        "Image Src": "three.jpg",
    }
    assert (summary.written, summary.duplicates) == (2, 2)
    assert summary.differing == {"attributes.Option1 Value": 1, "attributes.price": 1, "attributes.Image Src": 1}
    assert summary.notes == (
        "1 item_id has several rows with different values; the last non-empty value was kept for Option1 Value (1), "
        "Image Src (1), price (1), such as bracelet: Option1 Value 'Blue' then 'Black'",
    )


def test_rows_with_equal_values_are_not_reported(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"item_id": "a", "title": "A", "categories": ["x", "y"], "tags": ["t"], "available": false}\n'
        '{"item_id": "a", "title": "A", "categories": ["x", "y"], "tags": ["t"]}\n{"item_id": "b"}\n'
    )
    summary = import_items(database, space.name, path)
    assert (summary.differing, summary.notes) == ({}, ())
    with database.connect() as conn:
        assert items.get(conn, space.key, "a") == Item("a", "A", ("x", "y"), {"tags": ["t"]}, False)


def test_users_are_merged_too(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user_id,country,age\n1,UK,30\n1,,31\n2,FR,\n")
    summary = import_users(database, space.name, path)
    assert (summary.written, summary.duplicates, summary.differing) == (2, 1, {"attributes.age": 1})
    with database.connect() as conn:
        assert users.get(conn, space.key, "1").attributes == {"country": "UK", "age": 31}
