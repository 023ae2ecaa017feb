"""Timestamps written as numbers: a number is read as a time only if exactly one unit makes it a plausible date.

The units are far apart: a number is a time from 1990 to the end of next year in at most one of them. A number that is
out of range in every unit (a day count since 1970, an amount of money) is rejected instead of becoming a date in 1970.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FIRST_YEAR = 1990
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXCEL_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)  # day 0 of Excel's day numbers since March 1900
DAY_US = 86_400_000_000
LEAP_SECOND = re.compile(
    r"(?P<before>.*\d[T ]\s*\d\d:\d\d:)60(?P<after>(?:[.,]\d+)?\s*(?:Z|[+-][\d:]+)?\s*)", re.IGNORECASE
)
CALENDAR_DAYS = "days written as YYYYMMDD"
EXCEL_DAYS = "days of Excel"


@dataclass(frozen=True)
class Unit:
    """Numbers in [low, high) count units of `unit_us` microseconds since `epoch`; CALENDAR_DAYS are read by digits."""

    name: str
    low: float
    high: float
    unit_us: float = 0.0
    epoch: datetime = EPOCH


def units_at(now: datetime) -> tuple[Unit, ...]:
    """The units in which numbers are read at the time `now`."""
    end_year = now.year + 2  # exclusive
    low, high = (datetime(year, 1, 1, tzinfo=UTC) for year in (FIRST_YEAR, end_year))
    since_epoch = {
        "seconds since 1970": 1e6,
        "milliseconds since 1970": 1e3,
        "microseconds since 1970": 1.0,
        "nanoseconds since 1970": 1e-3,
    }
    units = [Unit(name, _us(low, EPOCH) / us, _us(high, EPOCH) / us, us) for name, us in since_epoch.items()]
    excel = Unit(EXCEL_DAYS, _us(low, EXCEL_EPOCH) / DAY_US, _us(high, EXCEL_EPOCH) / DAY_US, DAY_US, EXCEL_EPOCH)
    return (*units, Unit(CALENDAR_DAYS, FIRST_YEAR * 10_000, end_year * 10_000), excel)


def read_number(number: float, now: datetime) -> datetime | None:
    """The time that one number stands for, or None. Excel days are accepted only for whole columns, not here."""
    for unit in units_at(now):
        if unit.low <= number < unit.high and unit.name != EXCEL_DAYS:
            if unit.name != CALENDAR_DAYS:
                return unit.epoch + timedelta(microseconds=round(number * unit.unit_us))
            try:
                return datetime.strptime(f"{number:.0f}", "%Y%m%d").replace(tzinfo=UTC) if number % 1 == 0 else None
            except ValueError:  # no such day in the calendar
                return None
    return None


def split_leap_second(text: str) -> tuple[str, timedelta]:
    """ISO 8601 text without a leap second, and the time to add to it: 23:59:60 is the start of the next day."""
    match = LEAP_SECOND.fullmatch(text)
    if match is None:
        return text, timedelta(0)
    return f"{match['before']}59{match['after']}", timedelta(seconds=1)


def accepted_formats(now: datetime, *, column: bool = False) -> str:
    """The accepted forms of a time, for messages and help; `column` adds the forms accepted for a whole column."""
    excel = f", days of Excel such as {(now - EXCEL_EPOCH).days}, all rows of a file alike" if column else ""
    return (
        f"ISO 8601 such as {now:%Y-%m-%d}T12:30:00+01:00, or a number of {FIRST_YEAR} to {now.year + 1}: seconds, "
        f"milliseconds, microseconds or nanoseconds since 1970, days such as {now:%Y%m%d}{excel}"
    )


def _us(moment: datetime, epoch: datetime) -> float:
    return (moment - epoch) / timedelta(microseconds=1)
