"""Date formats: times as strptime writes them."""

from __future__ import annotations

import re

import polars as pl

from engine.errors import InputError

DIRECTIVES = "YymbBdjHIpMSfzaA%"  # of strptime; a zone by its name is ambiguous, a number is read without a format


def check_format(date_format: str) -> str:
    """InputError for a format that does not say the day, or asks for what cannot be read."""
    found = re.findall("%(.?)", date_format)
    if unknown := [each for each in found if each not in DIRECTIVES or not each]:
        raise InputError(
            f"a date format has the directives {' '.join('%' + each for each in DIRECTIVES)} of strptime, got "
            f"%{unknown[0]} in {date_format!r}"
        )
    if not ({"Y", "y"} & set(found) and ({"j"} & set(found) or ({"m", "b", "B"} & set(found) and "d" in found))):
        raise InputError(f"expected a date format with year, month and day, as %d.%m.%Y %H:%M, got {date_format!r}")
    if re.search(r"(?<!\.)%f", date_format):
        raise InputError(f"%f follows a point, as in %S.%f, in the date format {date_format!r}")
    return date_format


def formatted(text: pl.Series, date_format: str) -> pl.Series:
    """Moments in UTC, to the microsecond; what has no zone is UTC, unreadable is null."""
    chrono = check_format(date_format).replace(".%f", "%.f")
    read = text.str.strip_chars().str.to_datetime(chrono, time_unit="us", strict=False)
    zone = isinstance(read.dtype, pl.Datetime) and read.dtype.time_zone
    return read.dt.convert_time_zone("UTC") if zone else read.dt.replace_time_zone("UTC")
