"""Moments in a body: ISO 8601, or a number that can be one moment of our time only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from engine.errors import shown
from engine.values import plausible_times

OCCURRED_AT = (
    "ISO 8601, UTC if it has no offset; or a number of 1990 to next year: seconds, milliseconds, microseconds or "
    "nanoseconds since 1970, or a day as 20261101; now if left away"
)


def _read(value: Any) -> Any:
    """Text that is no number is left to pydantic."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _text(value)
    now = datetime.now(UTC)
    at = plausible_times.read(number, now)
    if at is None:
        raise ValueError(f"expected {plausible_times.said(now)}; got {shown(value)}")
    return at


def _text(value: Any) -> Any:
    """Left to pydantic, but for a leap second, which it does not read."""
    if not isinstance(value, str):
        return value
    plain, more = plausible_times.without_leap(value)
    if not more:
        return value
    try:
        return TEXT.validate_python(plain) + more
    except (ValidationError, OverflowError):
        return value


TEXT = TypeAdapter(datetime)
Moment = Annotated[datetime, BeforeValidator(_read)]
