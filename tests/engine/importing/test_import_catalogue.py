"""Imports of items and of users."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import ReadingOptions, import_items, import_users
from engine.store import items, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item, ItemVector

LAMPS = """item_id,title,categories,available,price,code,colour
lamp,Brass lamp,Home | Lamps,yes,49.5,0012,
mat,Wool mat,Home|,0,20,0345,red
"""


@pytest.fixture
def lamps(tmp_path: Path) -> Path:
    path = tmp_path / "lamps.csv"
    path.write_text(LAMPS)
    return path


def test_columns_without_a_field_become_attributes(database: Database, space: Space, lamps: Path) -> None:
    summary = import_items(database, space.name, lamps)
    assert (summary.read, summary.written, summary.duplicates) == (2, 2, 0)
    with database.connect() as conn:
        lamp, mat = items.get(conn, space.key, "lamp"), items.get(conn, space.key, "mat")
    assert lamp == Item("lamp", "Brass lamp", ("Home", "Lamps"), {"price": 49.5, "code": "0012"}, True)
    assert mat == Item("mat", "Wool mat", ("Home",), {"price": 20.0, "code": "0345", "colour": "red"}, False)


def test_a_second_import_changes_nothing_and_logs_no_change(database: Database, space: Space, lamps: Path) -> None:
    import_items(database, space.name, lamps)
    with database.connect() as conn:
        before = conn.exec_driver_sql("SELECT count(*) FROM change_log").scalar_one()
    again = import_items(database, space.name, lamps)
    with database.connect() as conn:
        after = conn.exec_driver_sql("SELECT count(*) FROM change_log").scalar_one()
    assert (again.written, again.duplicates) == (0, 2)
    assert after == before


def test_fields_that_the_file_does_not_have_keep_their_values(
    database: Database, space: Space, lamps: Path, tmp_path: Path
) -> None:
    import_items(database, space.name, lamps)
    path = tmp_path / "prices.jsonl"
    path.write_text('{"item_id": "mat", "price": 18, "title": null}\n')
    assert import_items(database, space.name, path).written == 1
    with database.connect() as conn:
        mat = items.get(conn, space.key, "mat")
    assert mat == Item("mat", "Wool mat", ("Home",), {"price": 18, "code": "0345", "colour": "red"}, False)


def test_an_import_keeps_the_vector_of_an_item(database: Database, space: Space, lamps: Path) -> None:
    vector = ItemVector(1, (0.5, 1.0))
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("lamp", "Lamp", vector=vector), Item("mat", "Mat", vector=vector)])
        items.delete(conn, space.key, "mat")
    import_items(database, space.name, lamps)
    with database.connect() as conn:
        lamp, mat = items.get(conn, space.key, "lamp"), items.get(conn, space.key, "mat")
    assert (lamp.title, lamp.vector) == ("Brass lamp", vector)
    assert mat.vector is None  # deleted, then restored without its old fields


def test_a_deleted_item_is_restored_without_its_old_fields(
    database: Database, space: Space, lamps: Path, tmp_path: Path
) -> None:
    import_items(database, space.name, lamps)
    with database.begin() as conn:
        items.delete(conn, space.key, "mat")
    path = tmp_path / "back.jsonl"
    path.write_text('{"item_id": "mat", "title": "Mat"}\n')
    import_items(database, space.name, path)
    with database.connect() as conn:
        assert items.get(conn, space.key, "mat") == Item("mat", "Mat")


def test_json_items_keep_lists_and_objects(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"item_id": 7, "categories": ["A|B", "C"], "size": {"w": 2, "h": [1, 2]}, "tags": ["x"], "new": true}\n'
        '{"item_id": "x", "categories": null, "size": "large", "tags": []}\n'
    )
    assert import_items(database, space.name, path).written == 2
    with database.connect() as conn:
        seven, x = items.get(conn, space.key, "7"), items.get(conn, space.key, "x")
    assert seven == Item("7", None, ("A|B", "C"), {"size": {"w": 2, "h": [1, 2]}, "tags": ["x"], "new": True})
    assert x == Item("x", None, (), {"size": "large", "tags": []})


def test_nested_parquet_columns_become_json(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    frame = pl.DataFrame({"item_id": ["a"], "size": [{"w": 1.5}], "day": ["2020-01-02"], "rank": [0.1]})
    frame.with_columns(pl.col("day").str.to_date(), pl.col("rank").cast(pl.Float32)).write_parquet(path)
    import_items(database, space.name, path)
    with database.connect() as conn:
        assert items.get(conn, space.key, "a").attributes == {"size": {"w": 1.5}, "day": "2020-01-02", "rank": 0.1}


def test_codes_stay_text_and_a_column_without_a_name_is_ignored(
    database: Database, space: Space, tmp_path: Path
) -> None:
    path = tmp_path / "items.csv"
    path.write_text(",item_id,phone,serial,gone,ok\n0,a,+44 20,12345678901234567890,,True\n1,b,+4420,1,,False\n")
    import_items(database, space.name, path)
    with database.connect() as conn:
        assert items.get(conn, space.key, "b").attributes == {"phone": "+4420", "serial": "1", "ok": False}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_categories_are_separated_by_bars_or_by_given_separators(
    database: Database, space: Space, tmp_path: Path, suffix: str
) -> None:
    path, cell = tmp_path / f"items.{suffix}", "Home > Lamps|Sale, now"
    frame = pl.DataFrame({"item_id": ["a", "b"], "categories": [cell, None]})
    if suffix == "csv":
        frame.write_csv(path)
    else:
        lists = frame.with_columns(pl.concat_list("categories"))
        lists.write_ndjson(path) if suffix == "jsonl" else lists.write_parquet(path)

    def categories(*separators: str) -> tuple[str, ...]:
        import_items(database, space.name, path, reading=ReadingOptions(separators=separators))
        with database.connect() as conn:
            return items.get(conn, space.key, "a").categories

    assert categories() == (("Home > Lamps", "Sale, now") if suffix == "csv" else (cell,))
    assert categories(">", "|") == ("Home", "Lamps", "Sale, now")
    assert categories(",") == ("Home > Lamps|Sale", "now")
    assert categories(" > ", ">", ", ") == ("Home", "Lamps|Sale", "now")
    with pytest.raises(InputError, match="expected a separator of categories"):
        categories("")


def test_a_column_with_the_name_of_a_field_is_an_attribute_and_is_reported(
    database: Database, space: Space, tmp_path: Path
) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title,created_at,attributes.title\na,Lamp,2020-01-01,inner\n")
    summary = import_items(database, space.name, path)
    assert sorted(summary.notes) == [
        f"{name} is a field of every item; filters name this attribute attributes.{name}"
        for name in ("created_at", "title")
    ]
    with database.connect() as conn:
        found = items.get(conn, space.key, "a")
    assert (found.title, found.attributes) == ("Lamp", {"created_at": "2020-01-01", "title": "inner"})


BIG = 2**53 + 1


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_integers_that_float64_cannot_represent_are_exact(
    database: Database, space: Space, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"items.{suffix}"
    frame = pl.DataFrame({"item_id": ["a", "b"], "sku": [BIG, None], "mixed": [BIG, 7]})
    if suffix == "parquet":
        wide = [pl.Series("wide", [2**64 - 1, 1], pl.UInt64), pl.Series("decimal", [BIG, 1]).cast(pl.Decimal(20, 0))]
        frame.with_columns(*wide).write_parquet(path)
    elif suffix == "jsonl":
        path.write_text(
            f'{{"item_id": "a", "sku": {BIG}, "mixed": {BIG}, "wide": {2**64 - 1}, "decimal": {BIG}}}\n'
            f'{{"item_id": "b", "mixed": 0.5, "wide": 1, "decimal": 1}}\n'
        )
    else:
        frame.write_csv(path)
    assert import_items(database, space.name, path).written == 2
    with database.connect() as conn:
        found = items.get(conn, space.key, "a").attributes
    wide = {} if suffix == "csv" else {"wide": 2**64 - 1, "decimal": BIG}
    assert found == {"sku": BIG, "mixed": BIG} | wide
    assert {type(value) for value in found.values()} == {int}


def test_an_integer_beyond_float64_is_not_finite(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(f'{{"item_id": "a", "n": {10**400}}}\n{{"item_id": "b", "n": [{10**400}]}}\n{{"item_id": "c"}}\n')
    assert import_items(database, space.name, path).rejected == {"attributes.n is not a finite number": 2}


def test_bad_items_are_counted(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"item_id": "", "title": "a"}\n'
        '{"item_id": "b", "available": "perhaps"}\n'
        '{"item_id": "c", "price": NaN}\n'
        '{"item_id": "d", "title": "\\u0000"}\n'
        '{"item_id": "e"}\n'
        '{"item_id": "e", "title": "the last one wins"}\n'
    )
    summary = import_items(database, space.name, path)
    assert summary.rejected == {
        "missing item_id": 1,
        "available is not true or false": 1,
        "attributes.price is not a finite number": 1,
        "title contains a NUL character": 1,
    }
    assert (summary.written, summary.duplicates) == (1, 1)
    with database.connect() as conn:
        assert items.get(conn, space.key, "e").title == "the last one wins"


def test_users_are_imported_with_attributes(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("Customer,country,age\n1,UK,30\n2,,40\n1,FR,31\n,DE,5\n")
    summary = import_users(database, space.name, path, columns={"user_id": "Customer"})
    assert (summary.written, summary.duplicates, summary.rejected) == (2, 1, {"missing user_id": 1})
    with database.connect() as conn:
        assert users.get(conn, space.key, "1").attributes == {"country": "FR", "age": 31}
        assert users.get(conn, space.key, "2").attributes == {"age": 40}
    assert import_users(database, space.name, path, columns={"user_id": "Customer"}).written == 0


def test_a_catalogue_without_ids_is_refused(database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("sku,name\n1,Lamp\n")
    with pytest.raises(
        InputError,
        match="no column for item_id; columns found: sku, name; map one with --column item_id=COLUMN, or set one",
    ):
        import_items(database, space.name, path)
    with pytest.raises(InputError, match="no column for user_id"):
        import_users(database, space.name, path)
