"""Values as filters compare them: each JSON value has a kind (number, text, bool, time) and an exact scalar."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from engine.catalogue.attribute_types import TIME
from engine.errors import InputError, short_repr
from engine.values.items import MAX_TEXT_BYTES
from engine.values.numeric_timestamps import split_leap_second

Kind = Literal["number", "text", "bool", "time", "numbers", "texts"]  # numbers, texts: elements of a list
Scalar = float | int | str | bool  # int: an integer that float64 cannot represent; all other numbers are floats
Loc = tuple[str | int, ...]

KIND_NAMES: Mapping[Kind, str] = {
    "number": "numbers",
    "text": "text",
    "bool": "true or false",
    "time": "times",
    "numbers": "lists of numbers",
    "texts": "lists of text",
}
LIST_KINDS: Mapping[Kind, Kind] = {"number": "numbers", "text": "texts"}
MIN_INT, MAX_INT = -(2**63), 2**64 - 1  # range of integers in attributes


def comparables(value: object) -> list[tuple[Kind, Scalar]]:
    """The kind and scalar of a JSON value, or of each element of a list; empty if the value cannot be compared."""
    if isinstance(value, bool):
        return [("bool", value)]
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return [("text", value)]
    if isinstance(value, list | tuple):
        pairs = [pair for each in value if isinstance(each, int | float | str) for pair in comparables(each)]
        return [("numbers" if kind == "number" else "texts", each) for kind, each in pairs if kind != "bool"]
    return []


def _number(value: int | float) -> list[tuple[Kind, Scalar]]:
    """A float, or the integer itself where float64 would round a 64-bit integer to an equal neighbour."""
    try:
        number = float(value)
    except OverflowError:  # an integer beyond float64
        return []
    is_exact = number == value or not MIN_INT <= value <= MAX_INT
    return [("number", number if is_exact else value)]


def fold_case(value: Scalar, match_case: bool | None) -> Scalar:
    """The value, with text case-folded if `match_case` is false."""
    return value.casefold() if match_case is False and isinstance(value, str) else value


def parse_time(value: object, loc: Loc) -> float:
    """Microseconds since 1970 UTC of ISO 8601 text; InputError for any other value."""
    try:
        text, leap = split_leap_second(str(value))
        at = datetime.fromisoformat(text) + leap
        return float(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6))
    except (ValueError, OverflowError, RecursionError):
        raise InputError(f"expected a time such as 2026-03-01T12:00:00Z, got {short_repr(value)}", loc=loc) from None


def parse_moment(text: str) -> float | None:
    """Microseconds since 1970 UTC of text that is a date, or a date and a time; None for other text.

    Text without a time zone is UTC.
    """
    if not text[:4].isdigit() or not TIME.fullmatch(text):
        return None
    day, clock = text.strip()[:10], text.strip()[10:].replace(" ", "").upper().removeprefix("T")
    try:
        return parse_time(f"{day}T{clock}" if clock[:1].isdigit() else f"{day}T00:00{clock}", ())
    except InputError:  # no such day in the calendar
        return None


def check_filter_text(text: str, loc: Loc) -> None:
    """Raise InputError for text that cannot be stored, and so cannot match."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError("expected valid Unicode, got a lone surrogate", loc=loc) from None
    if size > MAX_TEXT_BYTES:
        raise InputError(f"text has at most {MAX_TEXT_BYTES} bytes of UTF-8, got {size}", loc=loc)
