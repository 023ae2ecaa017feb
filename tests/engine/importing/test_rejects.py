"""Bad rows are rejected with a reason, and the other rows are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import ImportSummary, ReadingOptions

Load = Callable[..., ImportSummary]
Stored = Callable[[], list[tuple[Any, ...]]]

GOOD: dict[str, Any] = {"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "kind": "view", "value": 1.0}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"user_id": None}, "missing user_id"),
    ({"user_id": "  "}, "missing user_id"),
    ({"user_id": "a\x00b"}, "user_id contains a NUL character"),
    ({"user_id": "x" * 257}, "user_id is longer than 256 bytes"),
    ({"user_id": "é" * 129}, "user_id is longer than 256 bytes"),
    ({"item_id": None}, "missing item_id"),
    ({"item_id": "a\x00b"}, "item_id contains a NUL character"),
    ({"item_id": "x" * 257}, "item_id is longer than 256 bytes"),
    ({"event_id": "x" * 257}, "event_id is longer than 256 bytes"),
    ({"kind": " "}, "missing kind"),
    ({"kind": "a\x00b"}, "kind contains a NUL character"),
    ({"occurred_at": None}, "missing occurred_at"),
    ({"occurred_at": "yesterday"}, "unreadable occurred_at"),
    ({"occurred_at": "12/1/2010 8:26"}, "unreadable occurred_at"),
    ({"occurred_at": "2020-02-30"}, "unreadable occurred_at"),
    ({"occurred_at": "2020-02-03T25:00:00"}, "unreadable occurred_at"),
    ({"occurred_at": "nan"}, "unreadable occurred_at"),
    ({"occurred_at": "2026-01-02 00:00:01"}, "occurred_at in the future"),
    ({"occurred_at": "9999-12-31"}, "occurred_at in the future"),
    ({"occurred_at": "1969-12-31"}, "occurred_at before 1970"),
    ({"value": float("nan")}, "value is not a finite number"),
    ({"value": float("inf")}, "value is not a finite number"),
    ({"value": 1e39}, "value is not a finite number"),
    ({"value": 0.0}, "value is zero"),
    ({"value": 1e-60}, "value is zero"),
    ({"value": -1.0}, "value is negative, but kind is not a purchase"),
    ({"title": "a\x00b"}, "title contains a NUL character"),
    ({"categories": "a\x1fb"}, "categories contain a control character"),
    ({"attributes.price": float("nan")}, "attributes.price is not a finite number"),
    ({"attributes.colour": "a\x00b"}, "attributes.colour contains a NUL character"),
]


@pytest.mark.parametrize(("change", "reason"), BAD, ids=[f"{next(iter(c))}-{n}" for n, (c, _) in enumerate(BAD)])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_bad_row_is_counted_and_the_good_one_written(
    load: Load, stored: Stored, tmp_path: Path, change: dict[str, Any], reason: str, suffix: str
) -> None:
    path = tmp_path / f"rows{suffix}"
    frame = pl.DataFrame([GOOD, GOOD | change], infer_schema_length=None)
    if suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    summary = load(path)
    assert summary.rejected == {reason: 1}
    assert (summary.read, summary.written) == (2, 1)
    assert (summary.samples[0].reason, summary.samples[0].row) == (reason, 2)
    assert len(stored()) == 1


def test_text_in_the_column_of_values_is_rejected(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id,occurred_at,value\nu,i,2020-01-01,many\nu,i,2020-01-01,\nu,i,2020-01-01,2\n")
    summary = load(path)
    assert summary.rejected == {"value is not a number": 1}
    assert summary.written == 2  # an empty value is 1


def test_a_value_may_have_a_decimal_comma_and_thousands_when_the_options_say_so(
    load: Load, stored: Stored, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        'user_id,item_id,occurred_at,value\nu,i,2020-01-01,"2,50"\nu,i,2020-01-02,1.234\nu,i,2020-01-03,+2\n'
    )
    load(path)
    assert [row[3] for row in stored()] == [2.5, pytest.approx(1.234), 2]
    load(path, reading=ReadingOptions(decimal="comma"))
    assert 1234 in [row[3] for row in stored()]


def test_nan_in_jsonl_is_rejected_with_its_row(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "attributes.tags": {"a": [1, NaN]}}\n'
        '{"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "value": Infinity}\n'
        '{"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "attributes.tags": {"a": "\\u0000"}}\n'
        '{"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "attributes.tags": {"a": [1, 2]}}\n'
    )
    summary = load(path)
    assert summary.rejected == {
        "attributes.tags is not a finite number": 1,
        "value is not a finite number": 1,
        "attributes.tags contains a NUL character": 1,
    }
    assert summary.written == 1


def test_the_first_three_of_each_reason_are_shown(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id,occurred_at\n" + ",i,2020-01-01\n" * 5 + "u,,2020-01-01\n")
    summary = load(path)
    assert summary.rejected == {"missing user_id": 5, "missing item_id": 1}
    assert [(sample.reason, sample.row) for sample in summary.samples] == [
        ("missing user_id", 1),
        ("missing user_id", 2),
        ("missing user_id", 3),
        ("missing item_id", 6),
    ]
    assert summary.samples[0].values == {"user_id": None, "item_id": "i", "occurred_at": "2020-01-01"}


MESSY = (
    '{"user_id": "u", "item_id": "i", "occurred_at": "2020-01-01", "tags": {"a": 1}, "list": ["x", "y"]}\n'
    '{"user_id": null, "item_id": "j", "occurred_at": "2020-01-01", "tags": {"a": 2}, "list": ["z", "w"]}\n'
)


def test_rejected_rows_can_be_written_in_every_format(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(MESSY)
    for name in ("bad.jsonl", "bad.parquet", "bad.csv", "bad.tsv"):
        load(path, rejects=tmp_path / name)
    line = orjson.loads((tmp_path / "bad.jsonl").read_bytes())
    assert line == {
        "item_id": "j",
        "occurred_at": "2020-01-01",
        "tags": {"a": 2},
        "list": ["z", "w"],
        "reason": "missing user_id",
    }
    assert pl.read_parquet(tmp_path / "bad.parquet")["reason"].to_list() == ["missing user_id"]
    assert (tmp_path / "bad.csv").read_text().splitlines()[1] == ',j,2020-01-01,"{""a"": 2}",z|w,missing user_id'
    assert pl.read_csv(tmp_path / "bad.tsv", separator="\t")["item_id"].to_list() == ["j"]


def test_a_rejects_file_that_cannot_be_written_stops_the_import_before_it_starts(
    load: Load, stored: Stored, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(MESSY)
    for target, message in (
        (path, "another name"),
        (tmp_path / "no" / "bad.csv", "does not exist"),
        (tmp_path / "x", "ending"),
    ):
        with pytest.raises(InputError, match=message):
            load(path, rejects=target)
    assert stored() == []
    assert path.read_text() == MESSY


def test_rejected_rows_of_odd_types_can_be_written(load: Load, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"user_id": [None, "u"], "item_id": "i", "occurred_at": "2020-01-01", "row_": 1, "reason": "old"}
    )
    odd = frame.with_columns(picture=pl.lit(b"\xff"), wait=pl.duration(seconds=5), parts=pl.struct(a=1))
    odd.write_parquet(tmp_path / "odd.parquet")
    for name in ("bad.csv", "bad.jsonl", "bad.parquet"):
        assert load(tmp_path / "odd.parquet", rejects=tmp_path / name).rejected == {"missing user_id": 1}
    assert pl.read_csv(tmp_path / "bad.csv")["reason"].to_list() == ["missing user_id"]
    assert pl.read_parquet(tmp_path / "bad.parquet").columns == odd.columns


def test_without_rejected_rows_the_rejects_file_has_only_a_header(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("user_id,item_id,occurred_at\nu,i,2020-01-01\n")
    load(path, rejects=tmp_path / "bad.csv")
    assert (tmp_path / "bad.csv").read_text() == "user_id,item_id,occurred_at,reason\n"
