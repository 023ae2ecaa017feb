"""A file that cannot be imported raises an error of one sentence, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import InputError
from engine.importing import ImportSummary

Load = Callable[..., ImportSummary]
Stored = Callable[[], list[tuple[Any, ...]]]

HEADER = b"user_id,item_id,occurred_at\n"
ROW = b"u,i,2020-01-01\n"
FILES: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "empty.csv is empty"),
    ("empty.parquet", b"", "empty.parquet is empty"),
    ("header.csv", HEADER, "header.csv has no rows"),
    ("blank.jsonl", b"\n\n", "blank.jsonl has no rows"),
    ("short.csv", HEADER + ROW + b"u,i\n", "cannot be read as CSV: CSV parse error: Row #3: Expected 3 columns, got 2"),
    ("long.csv", HEADER + ROW + b"u,i,2020-01-01,x\n", "Row #3: Expected 3 columns, got 4"),
    ("latin.csv", HEADER + "ü,i,2020-01-01\n".encode("latin-1"), "latin.csv cannot be read as CSV: it is not UTF-8"),
    ("utf16.csv", (HEADER + ROW).decode().encode("utf-16"), "it is not UTF-8"),
    ("quote.csv", HEADER + ROW + b'u,i,"2020-01-01\nv,i,2020-01-01\n', "a quote is opened and never closed"),
    ("twice.csv", b"user_id,user_id,item_id,occurred_at\nu,v,i,2020-01-01\n", "two columns called user_id"),
    ("broken.jsonl", b'{"user_id": "u"}\n{"user_id": \n', "line 2 is broken"),
    ("list.jsonl", b'{"user_id": "u"}\n["u"]\n', "line 2 is not a JSON object"),
    ("latin.jsonl", '{"user_id": "ü"}\n'.encode("latin-1"), "line 1 is not UTF-8"),
    ("surrogate.jsonl", b'{"user_id": "\\ud800"}\n', "line 1 is broken"),
    ("notes.txt", b"hello", r"expected a file ending in \.csv, \.tsv, \.parquet, \.jsonl, \.ndjson, got notes\.txt"),
    ("noise.parquet", b"PAR1 this is not a parquet file", "noise.parquet cannot be read as PARQUET"),
    ("noise.csv", bytes(range(256)) * 8, "noise.csv"),
    (
        "columns.csv",
        b"who,what,occurred_at\nu,i,2020\n",
        "no column for user_id, item_id; columns found: who, what, occ",
    ),
    ("nested.jsonl", b'{"user_id": ["u"], "item_id": "i", "occurred_at": 1}\n', "'user_id' contains List"),
]


@pytest.mark.parametrize(("name", "content", "message"), FILES, ids=[name for name, _, _ in FILES])
def test_a_bad_file_is_refused_in_one_sentence(
    load: Load, stored: Stored, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert stored() == []


def test_a_truncated_parquet_file_is_refused(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    pl.DataFrame({"user_id": ["u"] * 999, "item_id": "i", "occurred_at": "2020-01-01"}).write_parquet(path)
    whole = path.read_bytes()
    for size in (4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.parquet cannot be read as PARQUET"):
            load(path)
    path.write_bytes(whole[:50] + bytes(40) + whole[90:])
    with pytest.raises(InputError, match=r"cut\.parquet"):
        load(path)
    assert stored() == []


@pytest.mark.parametrize("field", ["user_id", "occurred_at", "value", "title", "categories"])
@pytest.mark.parametrize(
    "cell", [pl.lit(b"\xff"), pl.duration(seconds=5), pl.struct(a=1)], ids=["bytes", "span", "struct"]
)
def test_a_column_of_the_wrong_kind_is_named(load: Load, tmp_path: Path, field: str, cell: pl.Expr) -> None:
    path = tmp_path / "odd.parquet"
    frame = pl.DataFrame({"user_id": ["u"], "item_id": "i", "occurred_at": "2020-01-01"})
    frame.with_columns(cell.alias(field)).write_parquet(path)
    with pytest.raises(InputError, match=f"column '{field}' contains"):
        load(path)


def test_decimals_wider_than_usual_are_numbers(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "wide.parquet"
    wide = pa.array([Decimal("1.5")], pa.decimal256(50, 2))
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["i"], "occurred_at": ["2020-01-01"], "value": wide}), path)
    load(path)
    assert stored()[0][3] == 1.5


def test_a_missing_file_and_a_folder_are_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv does not exist"):
        load(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv is a folder"):
        load(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"user": "who"}}, "no field 'user'; fields: event_id, user_id, item_id, kind"),
        ({"constants": {"colour": "red"}}, "no field 'colour'"),
        ({"columns": {"attributes.": "who"}}, "no field 'attributes.'"),
        ({"columns": {"user_id": "whom"}}, "no column 'whom' for user_id; columns found: who, what, when"),
        ({"columns": {"user_id": "who"}, "constants": {"user_id": "u"}}, "user_id has both"),
    ],
)
def test_a_wrong_mapping_is_refused(load: Load, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("who,what,when\nu,i,2020-01-01\n")
    with pytest.raises(InputError, match=message):
        load(path, **options)
