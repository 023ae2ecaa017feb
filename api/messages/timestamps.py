"""Timestamps in a body: ISO 8601, or a number with exactly one plausible meaning as a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from engine.errors import short_repr
from engine.values import numeric_timestamps

OCCURRED_AT = (
    "ISO 8601, in UTC without an offset; or a number that means a time from 1990 to next year: seconds, milliseconds, "
    "microseconds or nanoseconds since 1970, or a day such as 20261101; default: now"
)


def _read(value: Any) -> Any:
    """pydantic validates values that are neither numbers nor text."""
    now = datetime.now(UTC)
    try:
        at = numeric_timestamps.read_number(float(value), now)
    except (TypeError, ValueError, OverflowError):
        if not isinstance(value, str):
            return value
        at = _text(value)
    if at is None:
        raise ValueError(f"expected {numeric_timestamps.accepted_formats(now)}; got {short_repr(value)}")
    return at


def _text(value: str) -> datetime | None:
    """The time of text that is not a number, also with a leap second, which pydantic rejects; None for other text."""
    plain, more = numeric_timestamps.split_leap_second(value)
    try:
        return TEXT.validate_python(plain) + more
    except (ValidationError, OverflowError):
        return None


TEXT = TypeAdapter(datetime)
Moment = Annotated[datetime, BeforeValidator(_read)]
