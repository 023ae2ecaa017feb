"""Date formats: parsing times by a strptime format."""

from __future__ import annotations

import re

import polars as pl

from engine.errors import InputError

DIRECTIVES = "YymbBdjHIpMSfzaA%"  # of strptime; not %Z (zone names are ambiguous) and %s (numbers need no format)


def check_date_format(date_format: str) -> str:
    """The format itself; InputError when it has no full date or an unsupported directive."""
    directives = re.findall("%(.?)", date_format)
    if unknown := [each for each in directives if each not in DIRECTIVES or not each]:
        raise InputError(
            f"expected the strptime directives {' '.join('%' + each for each in DIRECTIVES)} in a date format, got "
            f"%{unknown[0]} in {date_format!r}"
        )
    present = set(directives)
    if not ({"Y", "y"} & present and ("j" in present or ({"m", "b", "B"} & present and "d" in present))):
        raise InputError(
            f"expected a date format with year, month and day, such as %d.%m.%Y %H:%M, got {date_format!r}"
        )
    if re.search(r"(?<!\.)%f", date_format):
        raise InputError(f"expected a point before %f, such as %S.%f, in the date format {date_format!r}")
    return date_format


def parse_formatted(text: pl.Series, date_format: str) -> pl.Series:
    """Times in UTC with microseconds. A time without a zone is UTC; null for text that does not match the format."""
    chrono_format = check_date_format(date_format).replace(".%f", "%.f")
    times = text.str.strip_chars().str.to_datetime(chrono_format, time_unit="us", strict=False)
    has_zone = isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone
    return times.dt.convert_time_zone("UTC") if has_zone else times.dt.replace_time_zone("UTC")
