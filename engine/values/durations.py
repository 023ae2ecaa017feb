"""Durations as text: a number and a unit of s, m, h, d or w, such as `90s`, `12h`, `1.5h` and `30d`; and times relative
to the moment of a request, such as `now` and `now-30d`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from engine.errors import InputError, short_repr

SECOND_US = 1_000_000
UNITS_US: Mapping[str, int] = MappingProxyType(
    {"s": SECOND_US, "m": 60 * SECOND_US, "h": 3600 * SECOND_US, "d": 86_400 * SECOND_US, "w": 604_800 * SECOND_US}
)
MAX_US = 36_500 * UNITS_US["d"]  # a hundred years: a time minus such a duration stays a time
DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([smhdw])", re.ASCII)
EXPECTED = "expected a duration of a number above 0 and a unit of s, m, h, d or w, such as 90s, 12h or 30d"


def parse_duration(text: object, loc: tuple[str | int, ...]) -> int:
    """Microseconds, from 1 to MAX_US; InputError for anything else."""
    match = DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError(f"{EXPECTED}; got {short_repr(text)}", loc=loc)
    duration_us = round(float(match[1]) * UNITS_US[match[2]])
    if not 1 <= duration_us <= MAX_US:
        raise InputError(f"{EXPECTED}, at most {MAX_US // UNITS_US['d']}d; got {short_repr(text)}", loc=loc)
    return duration_us


def parse_now(text: object, loc: tuple[str | int, ...]) -> int | None:
    """The microseconds that `now`, `now-30d` or `now+12h` add to the present; None for a value that is none of them.

    InputError for text that starts so and has no duration.
    """
    if not isinstance(text, str) or not (text == "now" or text.startswith(("now-", "now+"))):
        return None
    if text == "now":
        return 0
    duration_us = parse_duration(text[4:], loc)
    return duration_us if text[3] == "+" else -duration_us
