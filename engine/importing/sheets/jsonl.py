"""JSON Lines: one object per line. A column with values of one type keeps the type, another becomes JSON text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import polars as pl

INT64 = 2**63
NOT_FINITE = "NaN"  # stands for a value with NaN or an infinity, which JSON cannot represent


def read(path: Path) -> tuple[pl.DataFrame, frozenset[str]]:
    """The rows as columns, and the names of the columns that contain JSON text. ValueError names a broken line."""
    lines = enumerate(path.read_bytes().splitlines(), 1)
    rows = [_parse(line, number) for number, line in lines if line and not line.isspace()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: list[pl.Series] = []
    json_columns: set[str] = set()
    for name in names:
        series, is_json = _column(name, [row.get(name) for row in rows])
        columns.append(series)
        if is_json:
            json_columns.add(name)
    return pl.DataFrame(columns), frozenset(json_columns)


def dump(value: object) -> str | None:
    """The JSON text of a value; None for null, NOT_FINITE when it contains NaN or an infinity."""
    if value is None:
        return None
    if not _is_finite(value):
        return NOT_FINITE
    return json.dumps(value, ensure_ascii=False, default=_json_default)


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = _parse_leniently(line, number)
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not a JSON object")
    return row


def _parse_leniently(line: bytes, number: int) -> object:
    """Parse with Python's json, which accepts NaN; the row of a NaN is rejected later."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
        json.dumps(row, ensure_ascii=False).encode()  # raises for a lone surrogate, which is not valid text
    except UnicodeDecodeError:
        raise ValueError(f"line {number} is not UTF-8; save the file as UTF-8 and try again") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number} is broken: {error}") from None
    return row


def _column(name: str, values: Sequence[Any]) -> tuple[pl.Series, bool]:
    """The column, and whether it contains JSON text."""
    types = {type(value) for value in values} - {type(None)}
    if not types or types == {str}:
        return pl.Series(name, values, pl.String), False
    if types == {bool}:
        return pl.Series(name, values, pl.Boolean), False
    if types == {int} and all(value is None or -INT64 <= value < INT64 for value in values):
        return pl.Series(name, values, pl.Int64), False
    if types <= {int, float} and not any(isinstance(value, int) and not _fits_float64(value) for value in values):
        return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64), False
    if types == {list} and all(type(part) is str for value in values if value for part in value):
        return pl.Series(name, values, pl.List(pl.String)), False
    return pl.Series(name, [dump(value) for value in values], pl.String), True


def _fits_float64(value: int) -> bool:
    """Whether float64 represents the integer exactly."""
    try:
        return float(value) == value
    except OverflowError:
        return False


def _is_finite(value: object) -> bool:
    if isinstance(value, float | int):
        try:
            return math.isfinite(value)
        except OverflowError:  # an integer beyond the range of float64
            return False
    if isinstance(value, dict):
        return all(_is_finite(part) for part in value.values())
    return all(_is_finite(part) for part in value) if isinstance(value, list) else True


def _json_default(value: object) -> object:
    """For values of Parquet columns that JSON has no type for."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise ValueError(f"a {type(value).__name__} is not a JSON value")
