"""Times of a file: how they are parsed, and what the summary reports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import ImportSummary, ReadingOptions

Load = Callable[..., ImportSummary]
Stored = Callable[[], list[tuple[Any, ...]]]


@pytest.fixture
def times(load: Load, stored: Stored, tmp_path: Path) -> Callable[..., tuple[list[str], ImportSummary]]:
    """The parsed times of a column, and the summary."""

    def rows(cells: list[Any], suffix: str = ".csv", **reading: Any) -> tuple[list[str], ImportSummary]:
        frame = pl.DataFrame({"user_id": "u", "item_id": "i", "occurred_at": pl.Series(cells)})
        path = tmp_path / f"times{suffix}"
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        summary = load(path, reading=ReadingOptions(**reading))
        return [f"{row[4]:%Y-%m-%d %H:%M:%S}" for row in stored()], summary

    return rows


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("cells", "moments", "unit"),
    [
        ([20251101, 20251102], ["2025-11-01 00:00:00", "2025-11-02 00:00:00"], "days written as YYYYMMDD"),
        ([45000.0, 45000.5], ["2023-03-15 00:00:00", "2023-03-15 12:00:00"], "days of Excel"),
        ([1580702706, 1580702707], ["2020-02-03 04:05:06", "2020-02-03 04:05:07"], "seconds since 1970"),
        ([1580702706000], ["2020-02-03 04:05:06"], "milliseconds since 1970"),
    ],
)
def test_numbers_of_one_unit_are_times_and_the_unit_is_reported(
    times: Any, suffix: str, cells: list[float], moments: list[str], unit: str
) -> None:
    found, summary = times(cells, suffix)
    assert found == moments
    assert summary.rejected == {}
    [note] = summary.notes
    assert note.startswith(f"occurred_at was read as {unit}, such as ")
    assert note.endswith(f" as {moments[0]}")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("cells", [[12], [86_400.0], [0], [19791231], [4_000_000_000]])
def test_a_number_outside_all_units_is_rejected_and_the_accepted_formats_are_reported(
    times: Any, suffix: str, cells: list[float]
) -> None:
    found, summary = times(cells, suffix)
    assert found == []
    assert summary.rejected == {"occurred_at is a number, but not a time in the unit of the file": 1}
    [note] = summary.notes
    assert "ISO 8601 such as 2026-01-01T12:30:00+01:00, or a number of 1990 to 2027: seconds, milliseconds" in note
    assert "days of Excel such as 46023, all rows of a file alike; for another format give" in note


def test_a_number_that_is_not_in_the_unit_of_most_is_rejected(times: Any) -> None:
    found, summary = times([20251101, 20251102, 45000, 20251131])
    assert found == ["2025-11-01 00:00:00", "2025-11-02 00:00:00"]
    assert summary.rejected == {"occurred_at is a number, but not a time in the unit of the file": 2}


def test_days_before_1990_are_accepted_as_text(times: Any) -> None:
    assert times(["1971-05-06", "20251101"])[0] == ["1971-05-06 00:00:00", "2025-11-01 00:00:00"]


@pytest.mark.parametrize(
    ("date_format", "cell", "moment"),
    [
        ("%d.%m.%Y %H:%M", "01.11.2025 12:30", "2025-11-01 12:30:00"),
        ("%m/%d/%Y %I:%M %p", "1/2/2025 3:04 PM", "2025-01-02 15:04:00"),
        ("%d.%m.%y", "01.11.25", "2025-11-01 00:00:00"),
        ("%d.%m.%Y %H:%M %z", "01.11.2025 12:30 +0100", "2025-11-01 11:30:00"),
        ("%Y%m%d%H%M%S", "20251101123000", "2025-11-01 12:30:00"),
    ],
)
def test_times_are_parsed_with_a_given_format(times: Any, date_format: str, cell: str, moment: str) -> None:
    found, summary = times([cell, "2025-11-01T00:00:00"], date_format=date_format)
    assert found == [moment]
    assert summary.rejected == {"unreadable occurred_at": 1}


def test_a_format_applies_to_a_column_of_numbers_too(times: Any) -> None:
    assert times([202511011230], ".parquet", date_format="%Y%m%d%H%M")[0] == ["2025-11-01 12:30:00"]


@pytest.mark.parametrize(
    ("date_format", "message"),
    [
        ("%d.%m.", "expected a date format with year, month and day"),
        ("when", "expected a date format with year, month and day"),
        ("%Y-%m-%d %Z", "got %Z in '%Y-%m-%d %Z'"),
        ("%s", "got %s in '%s'"),
        ("%Y%m%d %f", "expected a point before %f"),
        ("%Y-%m-%d%", "got % in"),
    ],
)
def test_an_invalid_format_is_refused_before_the_file_is_read(date_format: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReadingOptions(date_format=date_format)


def test_a_fraction_of_a_second_is_parsed_with_a_format(load: Load, stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text("user_id,item_id,occurred_at\nu,i,01/11/2025 10:00:01.5\n")
    load(path, reading=ReadingOptions(date_format="%d/%m/%Y %H:%M:%S.%f"))
    assert stored()[0][4] == datetime(2025, 11, 1, 10, 0, 1, 500_000, tzinfo=UTC)
