"""An import of events writes each event once, with the right fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import ImportSummary, ReadingOptions, import_events
from engine.store import events, items
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.events import Event

Load = Callable[..., ImportSummary]
Stored = Callable[[], list[tuple[Any, ...]]]

SHOP = """CustomerID,StockCode,InvoiceDate,Quantity,Description,UnitPrice
17850,85123A,2010-12-01 08:26:00,6,WHITE HANGING HEART,2.55
17850,71053,2010-12-01 08:26:00,6,WHITE METAL LANTERN,3.39
13047,84879,2010-12-01 08:34:00,32,"BIRD, ORNAMENT",1.69
17850,85123A,2010-12-02 09:00:00,-2,WHITE HANGING HEART,2.55
"""
COLUMNS = {
    "user_id": "CustomerID",
    "item_id": "StockCode",
    "occurred_at": "InvoiceDate",
    "value": "Quantity",
    "title": "Description",
    "attributes.price": "UnitPrice",
}
AS_PURCHASES: dict[str, Any] = {"columns": COLUMNS, "constants": {"kind": "purchase"}}
ROWS = [
    ("17850", "71053", "purchase", 6.0, datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
    ("17850", "85123A", "purchase", 6.0, datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
    ("13047", "84879", "purchase", 32.0, datetime(2010, 12, 1, 8, 34, tzinfo=UTC)),
    ("17850", "85123A", "return", 2.0, datetime(2010, 12, 2, 9, 0, tzinfo=UTC)),
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text(SHOP)
    return path


def by_item(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: (row[4], row[1]))


def test_a_mapped_csv_becomes_events_and_a_negative_purchase_a_return(load: Load, stored: Stored, shop: Path) -> None:
    summary = load(shop, **AS_PURCHASES)
    assert (summary.read, summary.written, summary.duplicates, summary.rejected) == (4, 4, 0, {})
    assert by_item(stored()) == ROWS


def test_the_summary_as_json_has_exactly_the_promised_names(load: Load, shop: Path) -> None:
    names = ["read", "written", "duplicates", "rejected", "kinds", "seconds"]
    assert list(load(shop, **AS_PURCHASES).to_json()) == names


def test_item_fields_are_imported_with_events(load: Load, shop: Path, database: Database, space: Space) -> None:
    load(shop, **AS_PURCHASES)
    with database.connect() as conn:
        item = items.get(conn, space.key, "84879")
    assert (item.title, item.attributes) == ("BIRD, ORNAMENT", {"price": 1.69})


def test_the_last_title_that_is_not_empty_wins(load: Load, tmp_path: Path, database: Database, space: Space) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(
        "user_id,item_id,occurred_at,title,categories,attributes.colour\n"
        "u,lamp,2020-01-03,New lamp,Home|Lamps,\n"
        "u,lamp,2020-01-01,Old lamp,Home,red\n"
        "u,lamp,2020-01-04, ,,\n"
    )
    load(path)
    with database.connect() as conn:
        item = items.get(conn, space.key, "lamp")
    assert (item.title, item.categories, item.attributes) == ("New lamp", ("Home", "Lamps"), {"colour": "red"})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl", ".ndjson"])
def test_every_format_gives_the_same_rows(load: Load, stored: Stored, tmp_path: Path, shop: Path, suffix: str) -> None:
    frame = pl.read_csv(shop, try_parse_dates=True)
    path = tmp_path / f"same{suffix}"
    if suffix in (".csv", ".tsv"):
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    elif suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    load(shop, **AS_PURCHASES)
    again = load(path, **AS_PURCHASES)
    assert (again.written, again.duplicates) == (0, 4)  # equal bit for bit, because the derived ids agree
    assert by_item(stored()) == ROWS


def test_a_second_import_of_a_file_writes_nothing(load: Load, stored: Stored, shop: Path) -> None:
    load(shop, **AS_PURCHASES)
    again = load(shop, **AS_PURCHASES)
    assert (again.read, again.written, again.duplicates) == (4, 0, 4)
    assert len(stored()) == 4


def test_two_equal_lines_are_both_kept(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("user_id,item_id,occurred_at\nu,i,2020-01-01\nu,i,2020-01-01\n")
    assert load(path).written == 2
    assert load(path).duplicates == 2


def test_an_imported_event_is_a_duplicate_of_the_same_event_sent(
    load: Load, tmp_path: Path, database: Database, space: Space
) -> None:
    path = tmp_path / "one.csv"
    path.write_text("user_id,item_id,occurred_at,value\nu,i,2020-01-01T10:00:00.25,2.5\n")
    load(path)
    sent = Event("u", "i", "view", datetime(2020, 1, 1, 10, 0, 0, 250_000, tzinfo=UTC), 2.5)
    with database.begin() as conn:
        assert events.append(conn, space.key, [sent]) == ["duplicate"]


def test_event_ids_of_the_file_decide_what_is_a_duplicate(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("event_id,user_id,item_id,occurred_at\n1,a,i,2020-01-01\n1,b,i,2020-01-01\n,c,i,2020-01-01\n")
    summary = load(path)
    assert (summary.written, summary.duplicates) == (2, 1)
    assert [row[0] for row in stored()] == ["a", "c"] or [row[0] for row in stored()] == ["c", "a"]


def test_without_kind_and_value_an_event_is_a_view_of_one(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("user_id,item_id,occurred_at\nu,i,2020-01-01\n")
    load(path)
    assert stored() == [("u", "i", "view", 1.0, datetime(2020, 1, 1, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-02-03", datetime(2020, 2, 3, tzinfo=UTC)),
        ("2020-02-03 04:05", datetime(2020, 2, 3, 4, 5, tzinfo=UTC)),
        ("2020-02-03T04:05:06Z", datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("2020-02-03T04:05:06.789+02:00", datetime(2020, 2, 3, 2, 5, 6, 789_000, tzinfo=UTC)),
        ("2020-02-03 04:05:06-0530", datetime(2020, 2, 3, 9, 35, 6, tzinfo=UTC)),
        ("1580702706", datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("1580702706789", datetime(2020, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)),
    ],
)
def test_a_time_can_be_written_in_many_formats(
    load: Load, stored: Stored, tmp_path: Path, text: str, moment: datetime
) -> None:
    path = tmp_path / "times.csv"
    path.write_text(f"user_id,item_id,occurred_at\nu,i,{text}\n")
    load(path)
    assert stored()[0][4] == moment


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([datetime(2020, 2, 3, 4, 5, 6)]),
        pl.Series([datetime(2020, 2, 3, 4, 5, 6)]).dt.cast_time_unit("ns"),
        pl.Series([datetime(2020, 2, 3, 4, 5, 6)]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([1_580_702_706]),
        pl.Series([1_580_702_706_000.0]),
    ],
    ids=["naive", "nanoseconds", "zoned", "seconds", "milliseconds"],
)
def test_times_of_a_parquet_file_are_utc(load: Load, stored: Stored, tmp_path: Path, column: pl.Series) -> None:
    path = tmp_path / "times.parquet"
    pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "occurred_at": column}).write_parquet(path)
    load(path)
    assert stored()[0][4] == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_ids_keep_their_text_except_white_space_around_it(load: Load, stored: Stored, tmp_path: Path) -> None:
    ids = [
        "00123",
        "a/b c",
        " padded ",
        "naïve🛒",
        "مرحبا",
        "1e5",
        "-1",
        "x" * 256,
        'quo"te',
        "new\nline",
        "\\N",
        "\\.",
    ]
    path = tmp_path / "ids.csv"
    pl.DataFrame({"user_id": ids, "item_id": ids, "occurred_at": "2020-01-01"}).write_csv(path)
    assert load(path).written == len(ids)
    assert sorted(row[0] for row in stored()) == sorted(id_.strip() for id_ in ids)


def test_an_integral_float_id_has_no_decimal_point_in_every_format(load: Load, stored: Stored, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [17850.0, None, float("nan")], "item_id": [7, 8, 9], "occurred_at": "2020-01-01"})
    frame.write_parquet(tmp_path / "f.parquet")
    frame.fill_nan(None).write_csv(tmp_path / "f.csv")
    for name in ("f.parquet", "f.csv"):
        assert load(tmp_path / name).rejected == {"missing user_id": 2}
    assert [row[:2] for row in stored()] == [("17850", "7")]


def test_minus_one_is_an_id_unless_it_is_declared_as_missing(load: Load, stored: Stored, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [17850, -1], "item_id": ["a", "b"], "occurred_at": "2020-01-01"})
    frame.write_parquet(tmp_path / "f.parquet")
    frame.write_csv(tmp_path / "f.csv")
    for name in ("f.parquet", "f.csv"):
        summary = load(tmp_path / name, reading=ReadingOptions(missing_ids=("-1",)))
        assert (summary.rejected, summary.notes) == ({"missing user_id": 1}, ())
    [note] = load(tmp_path / "f.csv").notes
    assert note.startswith("1 row has the user_id '-1', which some exports write when there is no user")
    assert sorted(row[0] for row in stored()) == ["-1", "17850"]


@pytest.mark.parametrize("beside", ["guest-77", "18000.0", "18000"])
def test_an_id_does_not_depend_on_the_other_ids_in_the_file(
    load: Load, stored: Stored, tmp_path: Path, beside: str
) -> None:
    (tmp_path / "f.csv").write_text(f"user_id,item_id,occurred_at\n17850.0,a,2020-01-01\n{beside},b,2020-01-02\n")
    lines = [
        f'{{"user_id": {user}, "item_id": "a", "occurred_at": "2020-01-01"}}' for user in ("17850.0", f'"{beside}"')
    ]
    (tmp_path / "f.jsonl").write_text("\n".join(lines))
    pl.read_csv(tmp_path / "f.csv", infer_schema=False).write_parquet(tmp_path / "f.parquet")
    for name in ("f.csv", "f.jsonl", "f.parquet"):
        load(tmp_path / name)
    assert {row[0] for row in stored()} == {"17850", beside.removesuffix(".0")}


def test_rounded_ids_are_rejected_and_text_formulas_of_a_spreadsheet_are_read(
    load: Load, stored: Stored, tmp_path: Path
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(
        "user_id,item_id,occurred_at\nu,4.00638E+12,2020-01-01\nu,1e+16,2020-01-01\n"
        'u,"=""00123""",2020-01-01\nu,1e5,2020-01-02\nu,007,2020-01-03\n'
    )
    assert load(path).rejected == {"item_id is a rounded number; export ids as text": 2}
    assert [row[1] for row in stored()] == ["00123", "1e5", "007"]
    frame = pl.DataFrame({"user_id": "v", "item_id": [4006381333931.0, 2.0**60], "occurred_at": "2020-01-04"})
    frame.write_parquet(tmp_path / "f.parquet")
    assert load(tmp_path / "f.parquet").rejected == {"item_id is a rounded number; export ids as text": 1}
    assert stored()[-1][:2] == ("v", "4006381333931")


def test_ids_of_mixed_json_types_are_text(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(
        '{"user_id": 7, "item_id": "A", "occurred_at": 1580702706}\n\n'
        '{"user_id": "x", "item_id": 5.0, "occurred_at": "2020-02-03T04:05:07Z"}\n'
        '{"user_id": ["no"], "item_id": "A", "occurred_at": "2020-02-03"}\n'
    )
    assert load(path).rejected == {"missing user_id": 1}
    assert [row[:2] for row in stored()] == [("7", "A"), ("x", "5")]


def test_progress_starts_at_zero_and_ends_at_one(load: Load, shop: Path) -> None:
    seen: list[tuple[str, float]] = []
    load(shop, **AS_PURCHASES, progress=lambda what, share: seen.append((what, share)))
    assert seen[0] == ("read", 0.0)
    assert seen[-1] == ("done", 1.0)
    assert [share for _, share in seen] == sorted(share for _, share in seen)


def test_a_constant_replaces_a_column(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("user_id,item_id,kind\nu,i,view\n")
    load(path, constants={"occurred_at": "2020-01-01", "kind": "cart", "value": "3"})
    assert stored() == [("u", "i", "cart", 3.0, datetime(2020, 1, 1, tzinfo=UTC))]


def test_an_interrupted_import_writes_nothing(
    load: Load, stored: Stored, shop: Path, database: Database, space: Space
) -> None:
    def break_off(what: str, share: float) -> None:
        if what == "write events":  # users and items are written by then
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(shop, **AS_PURCHASES, progress=break_off)
    with database.connect() as conn:
        assert items.count(conn, space.key) == 0
    assert stored() == []


def test_an_invalid_space_name_is_refused(database: Database, shop: Path) -> None:
    with pytest.raises(InputError, match="expected a space name"):
        import_events(database, "No Such Name", shop, columns=COLUMNS)
