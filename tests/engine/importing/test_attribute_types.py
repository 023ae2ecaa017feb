"""Attributes have a type in the space, so the meaning of a cell does not depend on the other cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from engine.catalogue import attribute_types as types
from engine.catalogue.attribute_types import AttributeType
from engine.errors import InputError
from engine.importing import ImportSummary, ReadingOptions, import_events, import_items, import_users
from engine.importing.cells.typed_cells import convert
from engine.importing.sheets.sheet import Column
from engine.store import attribute_types, items, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.items import Item

Import = Callable[..., ImportSummary]
Stored = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture
def rows(database: Database, space: Space, tmp_path: Path) -> Import:
    """Import items from the text of a file."""

    def load(text: str, suffix: str = ".csv", **reading: Any) -> ImportSummary:
        path = tmp_path / f"items{suffix}"
        path.write_text(text)
        return import_items(database, space.name, path, reading=ReadingOptions(**reading))

    return load


@pytest.fixture
def attributes(database: Database, space: Space) -> Stored:
    """The attributes of each item of the space."""

    def stored() -> dict[str, dict[str, Any]]:
        with database.connect() as conn:
            table = items.read_catalogue(conn, space.key)
            return {each: dict(items.get(conn, space.key, each).attributes) for each in table["item_id"].to_pylist()}

    return stored


def known(database: Database, space: Space) -> dict[str, AttributeType]:
    with database.connect() as conn:
        return attribute_types.read(conn, space.key)


@pytest.mark.parametrize("cell", ["N/A", "free", "12,500", "007"])
def test_one_cell_that_is_not_a_number_does_not_change_the_other_prices(
    rows: Import, attributes: Stored, cell: str
) -> None:
    summary = rows(f'item_id,price\na,12.5\nb,"{cell}"\nc,20\n')
    assert attributes() == {"a": {"price": 12.5}, "b": {}, "c": {"price": 20}}
    assert (summary.written, summary.rejected) == (3, {})
    [note] = summary.attributes
    assert (note.name, note.kind, note.unfit, note.unfit_examples) == ("price", "number", 1, (cell,))


@pytest.mark.parametrize(
    ("cell", "value"), [("€12", 12), ("12,50", 12.5), ("08", 8), ("1.234,56", 1234.56), ("$1,234.56", 1234.56)]
)
def test_a_number_in_an_unusual_format_is_converted_and_reported(
    rows: Import, attributes: Stored, cell: str, value: float
) -> None:
    summary = rows(f'item_id,price\na,12.5\nb,"{cell}"\nc,20\n')
    assert attributes() == {"a": {"price": 12.5}, "b": {"price": value}, "c": {"price": 20}}
    [note] = summary.attributes
    assert (note.unfit, note.unusual, note.unusual_examples) == (0, 1, ((cell, value),))
    assert note.lines() == [f"price is a number: 1 cell was converted, such as {cell!r} as {value:g}"]


def test_one_yes_among_booleans_is_true(rows: Import, attributes: Stored) -> None:
    rows("item_id,new\na,true\nb,yes\nc,false\n")
    assert attributes() == {"a": {"new": True}, "b": {"new": True}, "c": {"new": False}}


def test_the_row_of_a_cell_that_does_not_fit_is_rejected_on_demand(rows: Import, attributes: Stored) -> None:
    summary = rows("item_id,price\na,12.5\nb,N/A\nc,20\n", unfit="reject")
    assert summary.rejected == {"attributes.price is not a number": 1}
    assert attributes() == {"a": {"price": 12.5}, "c": {"price": 20}}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_first_file_makes_an_attribute_of_times_and_other_cells_are_reported(
    rows: Import,
    attributes: Stored,
    database: Database,
    space: Space,
    tmp_path: Path,
    suffix: str,
) -> None:
    cells = ["2026-11-01T10:00:00+02:00", "2026-11-02", "soon", None]
    frame = pl.DataFrame({"item_id": list("abcd"), "launch": cells})
    path = tmp_path / f"launches{suffix}"
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[suffix](path)
    summary = import_items(database, space.name, path)
    assert known(database, space) == {"launch": "time"}
    assert attributes() == {"a": {"launch": cells[0]}, "b": {"launch": cells[1]}, "c": {}, "d": {}}
    assert [(note.unfit, note.unfit_examples) for note in summary.attributes] == [(1, ("soon",))]
    assert [note.unfit_examples for note in rows("item_id,launch\na,2/11/2026\nb,  \n").attributes] == [("2/11/2026",)]


def test_the_type_of_the_first_file_applies_to_the_next_file(rows: Import, attributes: Stored) -> None:
    rows("item_id,price,size\na,12.5,S\n")
    summary = rows("item_id,price,size\nb,on request,38\nc,free,40\n")
    assert attributes() == {"a": {"price": 12.5, "size": "S"}, "b": {"size": "38"}, "c": {"size": "40"}}
    assert [(note.name, note.unfit, note.file_type) for note in summary.attributes] == [
        ("price", 2, None),
        ("size", 0, "number"),
    ]
    assert "size is text in this space, and every cell of this file is a number" in summary.attributes[1].lines()[0]


def test_a_declared_type_replaces_the_stored_one_and_stored_values_stay(
    rows: Import, attributes: Stored, database: Database, space: Space
) -> None:
    rows("item_id,size\na,S\nb,M\n")
    summary = rows("item_id,size\nc,38\nd,XL\n", types={"size": "number"})
    assert attributes() == {"a": {"size": "S"}, "b": {"size": "M"}, "c": {"size": 38}, "d": {}}
    assert summary.attributes[0].unfit == 1
    assert known(database, space) == {"size": "number"}


def test_a_declared_type_of_an_unknown_attribute_is_refused(rows: Import) -> None:
    with pytest.raises(
        InputError, match="--type names the attribute 'prize', which the file does not have; its attributes: price"
    ):
        rows("item_id,price\na,1\n", types={"prize": "number"})


def test_the_types_of_an_old_space_are_inferred_from_its_catalogue(
    rows: Import, attributes: Stored, database: Database, space: Space
) -> None:
    with database.begin() as conn:
        old = {"code": "07", "launch": "2026-11-01"}
        items.upsert(conn, space.key, [Item(f"old{n}", attributes={"price": n, **old}) for n in range(3)])
    rows("item_id,price,code,launch\na,N/A,12,soon\n")
    assert attributes()["a"] == {"code": "12"}
    assert known(database, space) == {"price": "number", "code": "text", "launch": "time"}


def test_codes_are_text_however_many_look_like_numbers(rows: Import, attributes: Stored) -> None:
    rows("item_id,zip,month,serial\na,10115,01,1234567890123456789\nb,04103,02,2234567890123456789\nc,80331,10,1\n")
    assert attributes()["b"] == {"zip": "04103", "month": "02", "serial": "2234567890123456789"}
    assert attributes()["a"] == {"zip": "10115", "month": "01", "serial": "1234567890123456789"}


def test_ambiguous_thousands_are_read_with_the_decimal_option(rows: Import, attributes: Stored) -> None:
    text = 'item_id,price\na,"12,50"\nb,1.234\nc,"3,50"\n'
    summary = rows(text)
    assert attributes() == {"a": {"price": 12.5}, "b": {}, "c": {"price": 3.5}}
    assert "to read 1.234 give --decimal comma or --decimal point" in summary.attributes[0].lines()[0]
    rows(text, decimal="comma")
    assert attributes()["b"] == {"price": 1234}


def test_amounts_in_two_currencies_are_reported(rows: Import, attributes: Stored) -> None:
    [note] = rows("item_id,price\na,€12\nb,$12\nc,€13\n").attributes
    assert attributes()["b"] == {"price": 12}
    assert note.lines()[1].startswith("price has 2 currencies, $, €; the amounts were stored without conversion")


def test_a_whole_number_beside_a_fraction_keeps_its_digits(rows: Import, attributes: Stored) -> None:
    rows("item_id,n\na,9007199254740993\nb,0.5\nc,€2\n")
    assert attributes() == {"a": {"n": 9007199254740993}, "b": {"n": 0.5}, "c": {"n": 2}}


def test_values_of_other_kinds_of_file_are_taken_as_the_same_types(
    rows: Import, attributes: Stored, database: Database, space: Space, tmp_path: Path
) -> None:
    rows("item_id,price,size,new\na,1.5,S,true\n")
    rows('{"item_id": "b", "price": "2,50", "size": 38.0, "new": 1}\n{"item_id": "c", "price": "N/A"}\n', ".jsonl")
    frame = pl.DataFrame({"item_id": ["d"], "price": ["€3"], "size": [39], "new": ["no"]})
    frame.write_parquet(tmp_path / "d.parquet")
    import_items(database, space.name, tmp_path / "d.parquet")
    assert attributes() == {
        "a": {"price": 1.5, "size": "S", "new": True},
        "b": {"price": 2.5, "size": "38", "new": True},
        "c": {},
        "d": {"price": 3, "size": "39", "new": False},
    }


def test_the_majority_of_a_mixed_json_column_decides_its_type(rows: Import, attributes: Stored) -> None:
    lines = ['{"item_id": "a", "price": 12.5}', '{"item_id": "b", "price": "N/A"}', '{"item_id": "c", "price": [1]}']
    summary = rows("\n".join([*lines, '{"item_id": "d", "price": 1}', '{"item_id": "e", "price": 2}']), ".jsonl")
    assert attributes() == {"a": {"price": 12.5}, "b": {}, "c": {}, "d": {"price": 1}, "e": {"price": 2}}
    assert (summary.attributes[0].unfit, summary.attributes[0].unfit_examples) == (2, ("N/A", "[1]"))


def test_attributes_that_come_with_events_and_those_of_users_have_types_too(
    database: Database, space: Space, tmp_path: Path, attributes: Stored
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id,occurred_at,attributes.price\nu,a,2020-01-01,1.5\nu,b,2020-01-01,N/A\n")
    assert import_events(database, space.name, path).attributes[0].unfit == 1
    assert attributes() == {"a": {"price": 1.5}, "b": {}}
    path.write_text("user_id,age,price\nu,30,cheap\nv,?,dear\n")
    assert import_users(database, space.name, path).attributes[0].unfit_examples == ("?",)
    with database.connect() as conn:
        assert attribute_types.by_subject(conn, space.key) == {
            "items": {"price": "number"},
            "users": {"age": "number", "price": "text"},
        }
        assert users.get(conn, space.key, "v").attributes == {"price": "dear"}


CELLS = ["12", "08", "€12,50", "N/A", "true", "No", "2020-01-02", "soon", "a|b", "1e5", ".5", "12,500", "1.234", "007"]


@pytest.mark.parametrize("kind", ["number", "text", "boolean", "time", "list"])
@pytest.mark.parametrize("decimal", [None, "comma", "point"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_column_is_converted_as_each_value_is(cell: str, kind: AttributeType, decimal: Any) -> None:
    for column in (Column(pl.Series([cell]), is_text=True), Column(pl.Series([f'"{cell}"']), is_json=True)):
        made = convert(column, kind, decimal).column
        value = made.series[0]
        assert (orjson.loads(value) if made.is_json and value else value) == types.coerce(kind, cell, decimal)
