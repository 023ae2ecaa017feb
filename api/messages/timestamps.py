"""Moments in a body: ISO 8601, or a number that can be one moment of our time only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from engine.errors import short_repr
from engine.values import numeric_timestamps

OCCURRED_AT = (
    "ISO 8601, UTC if it has no offset; or a number of 1990 to next year: seconds, milliseconds, microseconds or "
    "nanoseconds since 1970, or a day as 20261101; now if left away"
)


def _read(value: Any) -> Any:
    """What is neither a number nor text is left to pydantic."""
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
    """Text that is no number, leap seconds too, which pydantic does not read; None where it is no time."""
    plain, more = numeric_timestamps.split_leap_second(value)
    try:
        return TEXT.validate_python(plain) + more
    except (ValidationError, OverflowError):
        return None


TEXT = TypeAdapter(datetime)
Moment = Annotated[datetime, BeforeValidator(_read)]
