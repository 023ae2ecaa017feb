"""Parsing of a column of times: text as ISO 8601 or in a given format, numbers in the unit that most of them fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from engine.importing.cells.cells import parse_iso_times, to_text
from engine.importing.cells.date_format import parse_formatted
from engine.importing.sheets.sheet import Column
from engine.values.numeric_timestamps import CALENDAR_DAYS, Unit, accepted_formats, units_at

UNREADABLE = "unreadable occurred_at"
NOT_A_TIME = "occurred_at is a number, but not a time in the unit of the file"


@dataclass(frozen=True, eq=False)
class ParsedTimes:
    """`at` is null for a cell that is not a time; `wrong_unit` is true for a number that is not a time in `unit`.

    `unit` is the unit of the numbers; `example` is a number of the file and the time that it was read as.
    """

    at: pl.Series
    wrong_unit: pl.Series
    unit: str | None = None
    example: tuple[str, datetime] | None = None

    def notes(self, rejected: Mapping[str, int], now: datetime) -> tuple[str, ...]:
        """Notes for the report: the unit of numbers, and the accepted formats when times were `rejected`."""
        notes = []
        if self.unit is not None and self.example is not None:
            cell, at = self.example
            notes.append(f"occurred_at was read as {self.unit}, such as {cell} as {at:%Y-%m-%d %H:%M:%S}")
        if rejected.keys() & {UNREADABLE, NOT_A_TIME}:
            notes.append(
                f"expected occurred_at as {accepted_formats(now, column=True)}; for another format give, for example, "
                "--date-format '%d.%m.%Y %H:%M'"
            )
        return tuple(notes)


def parse_times(column: Column, now: datetime, date_format: str | None = None) -> ParsedTimes:
    """Times in UTC with microseconds. A time without a zone is UTC; null for an unreadable cell."""
    series = column.series
    all_false = pl.repeat(False, series.len(), dtype=pl.Boolean, eager=True)
    if isinstance(series.dtype, pl.Datetime):
        in_utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series.dt.replace_time_zone("UTC")
        return ParsedTimes(in_utc.dt.cast_time_unit("us"), all_false)
    if series.dtype == pl.Date:
        return ParsedTimes(series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), all_false)
    if date_format is not None:
        return ParsedTimes(parse_formatted(to_text(column), date_format), all_false)
    if not column.is_json and series.dtype.is_numeric():
        return _from_numbers(column, series.cast(pl.Float64), now)
    text = to_text(column)
    iso_times = parse_iso_times(text)
    not_iso = iso_times.is_null() & text.is_not_null()
    if not not_iso.any():
        return ParsedTimes(iso_times, all_false)
    numbers = text.set(~not_iso, None).str.strip_chars().cast(pl.Float64, strict=False)
    from_numbers = _from_numbers(column, numbers, now)
    at = iso_times.zip_with(~not_iso, from_numbers.at)
    return ParsedTimes(at, from_numbers.wrong_unit, from_numbers.unit, from_numbers.example)


def _from_numbers(column: Column, numbers: pl.Series, now: datetime) -> ParsedTimes:
    """Numbers as times in the unit that most of them fit."""
    numbers = numbers.fill_nan(None)
    by_unit = {unit: _in_unit(numbers, unit) for unit in units_at(now)}
    counts = {unit: int(at.len() - at.null_count()) for unit, at in by_unit.items()}
    unit = max(counts, key=lambda each: counts[each])
    at = by_unit[unit]
    wrong_unit = numbers.is_not_null() & at.is_null()
    if counts[unit] == 0:
        return ParsedTimes(at, wrong_unit)
    row = at.is_not_null().arg_true()[0]
    return ParsedTimes(at, wrong_unit, unit.name, (str(column.series[row]), at[row]))


def _in_unit(numbers: pl.Series, unit: Unit) -> pl.Series:
    """Each number as a time in this unit; null for a number outside the range of the unit."""
    inside = numbers.set(~numbers.is_between(unit.low, unit.high, closed="left"), None)
    if unit.name == CALENDAR_DAYS:
        digits = inside.set(inside != inside.floor(), None).cast(pl.Int64).cast(pl.String)
        days = digits.str.to_date("%Y%m%d", strict=False)
        return days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    epoch_us = round(unit.epoch.timestamp() * 1e6)
    return ((inside * unit.unit_us).round().cast(pl.Int64) + epoch_us).cast(pl.Datetime("us", "UTC"))
