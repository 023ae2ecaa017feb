"""Moments written as numbers: read only where the number can be one moment of our time.

The units are far apart: each number is a time of 1990 to the end of next year in one of them at most, so what is out of
all of them, as a day number of 1970 or an amount, is no time and not silently one of 1970.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FIRST_YEAR = 1990
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXCEL_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)  # of its day numbers since March 1900
DAY_US = 86_400_000_000
LEAP_SECOND = re.compile(
    r"(?P<before>.*\d[T ]\s*\d\d:\d\d:)60(?P<after>(?:[.,]\d+)?\s*(?:Z|[+-][\d:]+)?\s*)", re.IGNORECASE
)
CALENDAR_DAYS = "days written as YYYYMMDD"
EXCEL_DAYS = "days of Excel"


@dataclass(frozen=True)
class Unit:
    """A number of `low` to below `high` is so many times `us` microseconds after `zero`; DAYS are read by digits."""

    name: str
    low: float
    high: float
    us: float = 0.0
    zero: datetime = EPOCH


def units_at(now: datetime) -> tuple[Unit, ...]:
    """What numbers are read as at this moment."""
    end = now.year + 2  # the first year that is none any more
    low, high = (datetime(year, 1, 1, tzinfo=UTC) for year in (FIRST_YEAR, end))
    since = {
        "seconds since 1970": 1e6,
        "milliseconds since 1970": 1e3,
        "microseconds since 1970": 1.0,
        "nanoseconds since 1970": 1e-3,
    }
    of_epoch = [Unit(name, _us(low, EPOCH) / us, _us(high, EPOCH) / us, us) for name, us in since.items()]
    excel = Unit(EXCEL_DAYS, _us(low, EXCEL_EPOCH) / DAY_US, _us(high, EXCEL_EPOCH) / DAY_US, DAY_US, EXCEL_EPOCH)
    return (*of_epoch, Unit(CALENDAR_DAYS, FIRST_YEAR * 10_000, end * 10_000), excel)


def read_number(number: float, now: datetime) -> datetime | None:
    """The moment of one number alone, which says too little to be a day of Excel; None where it is no time."""
    for unit in units_at(now):
        if unit.low <= number < unit.high and unit.name != EXCEL_DAYS:
            if unit.name != CALENDAR_DAYS:
                return unit.zero + timedelta(microseconds=round(number * unit.us))
            try:
                return datetime.strptime(f"{number:.0f}", "%Y%m%d").replace(tzinfo=UTC) if number % 1 == 0 else None
            except ValueError:  # no such day
                return None
    return None


def split_leap_second(text: str) -> tuple[str, timedelta]:
    """A time of ISO 8601 without a leap second, and what to add to it: 23:59:60 is the first moment of the next day."""
    found = LEAP_SECOND.fullmatch(text)
    if found is None:
        return text, timedelta(0)
    return f"{found['before']}59{found['after']}", timedelta(seconds=1)


def accepted_formats(now: datetime, *, column: bool = False) -> str:
    """What is read as a time, for messages and help."""
    excel = f", days of Excel such as {(now - EXCEL_EPOCH).days}, all rows of a file alike" if column else ""
    return (
        f"ISO 8601 such as {now:%Y-%m-%d}T12:30:00+01:00, or a number of {FIRST_YEAR} to {now.year + 1}: seconds, "
        f"milliseconds, microseconds or nanoseconds since 1970, days such as {now:%Y%m%d}{excel}"
    )


def _us(moment: datetime, zero: datetime) -> float:
    return (moment - zero) / timedelta(microseconds=1)
