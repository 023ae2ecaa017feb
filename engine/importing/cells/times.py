"""Times of a column: text by ISO 8601 or a format that is given, numbers in the one unit that most of them fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from engine.importing.cells.cells import iso, texts
from engine.importing.cells.date_format import formatted
from engine.importing.sheets.sheet import Column
from engine.values.numeric_timestamps import CALENDAR_DAYS, Unit, accepted_formats, units_at

UNREADABLE = "unreadable occurred_at"
NO_TIME = "occurred_at is a number, and no time in the unit of the file"


@dataclass(frozen=True, eq=False)
class Times:
    """`at` is null where a cell is no time; `misfit` where it is a number and none, or in another unit than most.

    `unit` is that of the numbers, with an example: what stands in the file, and the moment it was read as.
    """

    at: pl.Series
    misfit: pl.Series
    unit: str | None = None
    example: tuple[str, datetime] | None = None

    def notes(self, rejected: Mapping[str, int], now: datetime) -> tuple[str, ...]:
        """What numbers were read as, and what is read, where some time of a file was `rejected`."""
        found = []
        if self.unit is not None and self.example is not None:
            cell, at = self.example
            found.append(f"occurred_at was read as {self.unit}, such as {cell} as {at:%Y-%m-%d %H:%M:%S}")
        if rejected.keys() & {UNREADABLE, NO_TIME}:
            found.append(
                f"occurred_at is {accepted_formats(now, column=True)}; another writing: --date-format '%d.%m.%Y %H:%M'"
            )
        return tuple(found)


def times(column: Column, now: datetime, date_format: str | None = None) -> Times:
    """Moments in UTC, to the microsecond; what has no zone is UTC. Unreadable is null."""
    series = column.series
    none = pl.repeat(False, series.len(), dtype=pl.Boolean, eager=True)
    if isinstance(series.dtype, pl.Datetime):
        zoned = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series.dt.replace_time_zone("UTC")
        return Times(zoned.dt.cast_time_unit("us"), none)
    if series.dtype == pl.Date:
        return Times(series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), none)
    if date_format is not None:
        return Times(formatted(texts(column), date_format), none)
    if not column.is_json and series.dtype.is_numeric():
        return _numbers(column, series.cast(pl.Float64), now)
    text = texts(column)
    read = iso(text)
    left = read.is_null() & text.is_not_null()
    if not left.any():
        return Times(read, none)
    found = _numbers(column, text.set(~left, None).str.strip_chars().cast(pl.Float64, strict=False), now)
    return Times(read.zip_with(~left, found.at), found.misfit, found.unit, found.example)


def _numbers(column: Column, numbers: pl.Series, now: datetime) -> Times:
    """As the unit that most numbers fit; the others are misfits."""
    numbers = numbers.fill_nan(None)
    fits = {unit: _moments(numbers, unit) for unit in units_at(now)}
    counts = {unit: int(at.len() - at.null_count()) for unit, at in fits.items()}
    unit = max(counts, key=lambda each: counts[each])
    at = fits[unit]
    misfit = numbers.is_not_null() & at.is_null()
    if counts[unit] == 0:
        return Times(at, misfit)
    row = at.is_not_null().arg_true()[0]
    return Times(at, misfit, unit.name, (str(column.series[row]), at[row]))


def _moments(numbers: pl.Series, unit: Unit) -> pl.Series:
    """Each number that is a time in this unit, else null."""
    inside = numbers.set(~numbers.is_between(unit.low, unit.high, closed="left"), None)
    if unit.name == CALENDAR_DAYS:
        digits = inside.set(inside != inside.floor(), None).cast(pl.Int64).cast(pl.String)
        days = digits.str.to_date("%Y%m%d", strict=False)
        return days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    epoch_us = round(unit.epoch.timestamp() * 1e6)
    return ((inside * unit.unit_us).round().cast(pl.Int64) + epoch_us).cast(pl.Datetime("us", "UTC"))
