"""Cells of a column as the type a field wants; a cell that cannot be read is null."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import orjson
import polars as pl

from engine.catalogue.attribute_types import FALSE, TRUE
from engine.errors import InputError
from engine.importing.sheets.sheet import Column
from engine.values.ids import normalise_id

UNIT = "\x1f"  # between categories on their way to PostgreSQL; no category has it
PLAIN = r"^[!-~](?:[ -~]*[!-~])?$"  # an id in its normal form already: ASCII that prints, no space around it
AS_TEXT = r'^="([^"]*)"$'  # what keeps a spreadsheet from taking a code for a number
EXACT = 2**53  # from there on float64 does not hold every integer
TIME = (
    r"^\s*(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<clock>\d{2}:\d{2}(?::\d{2})?)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?\s*$"
)


def ids(column: Column, missing: Collection[str] = ()) -> pl.Series:
    """Ids as text in their normal form, whatever stands beside them. ="007" of a CSV is 007.

    Blank is missing, and so are those of `missing`.
    """
    text = texts(column)
    if column.is_text:
        text = text.str.replace(AS_TEXT, "$1")
    text = normal_ids(text)
    return _without(text, text.is_in(["", *missing]))


def normal_ids(text: pl.Series) -> pl.Series:
    """Each text as `normal_id` has it; most are so already."""
    text = text.str.replace(r"^(-?[0-9]+)\.0$", "$1")
    odd = text.filter(~text.str.contains(PLAIN)).unique()
    if odd.is_empty():
        return text
    return text.replace(odd, pl.Series([normalise_id(each) for each in odd], dtype=pl.String))


def texts(column: Column) -> pl.Series:
    """Scalars as text; blank stays blank. InputError for a column of lists, structs, bytes or durations."""
    series = column.series
    if column.is_json:
        return pl.Series(series.name, [_scalar(cell) for cell in series], pl.String)
    if series.dtype.is_float():
        return _float_text(series)
    if series.dtype.is_decimal():
        return series.cast(pl.String).str.replace(r"\.0+$", "")
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Duration):
        raise InputError(f"column {series.name!r} holds {series.dtype}; expected text or numbers")
    return series.cast(pl.String)


def words(column: Column) -> pl.Series:
    """Text where blank counts as missing."""
    text = texts(column)
    return _without(text, text.str.strip_chars() == "")


def numbers(column: Column) -> pl.Series:
    """Float64; unreadable is null."""
    series = column.series
    if not column.is_json and (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return series.cast(pl.Float64)
    return texts(column).str.strip_chars().cast(pl.Float64, strict=False)


def flags(column: Column) -> pl.Series:
    """Booleans, from true/false, yes/no, 1/0; unreadable is null."""
    if column.series.dtype == pl.Boolean:
        return column.series
    text = texts(column).str.strip_chars().str.to_lowercase()
    return pl.select(pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False)).to_series()


def lists(column: Column, separators: Sequence[str] = ()) -> pl.Series:
    """Lists of text, from lists or from text separated by `|`; an empty list is null.

    `separators` stand in the place of `|`, and within the elements of lists too.
    """
    series = column.series
    if column.is_json:
        series = pl.Series(series.name, [_parts(cell) for cell in series], pl.List(pl.String))
    elif isinstance(series.dtype, pl.List) and not series.dtype.inner.is_nested():
        series = series.cast(pl.List(pl.String))
    else:
        series = texts(column).reshape((-1, 1)).cast(pl.List(pl.String)) if separators else texts(column).str.split("|")
    if separators:
        joined = series.list.join(separators[0], ignore_nulls=True)
        pattern = "|".join(re.escape(each) for each in sorted(separators, key=len, reverse=True))
        series = joined.str.replace_all(pattern, UNIT).str.split(UNIT)
    frame = pl.DataFrame({"list": series}).select(
        pl.col("list").list.eval(pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != ""))
    )
    return frame.select(pl.when(pl.col("list").list.len() > 0).then(pl.col("list")))["list"]


def _float_text(series: pl.Series) -> pl.Series:
    """Whole numbers without a point; those that float64 does not hold exactly as 1.23e+17, as Python writes them."""
    whole = (series == series.floor()) & (series.abs() < EXACT)
    return pl.DataFrame({"cell": series.fill_nan(None), "whole": whole}).select(
        pl.when("whole")
        .then(pl.col("cell").cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(pl.col("cell").cast(pl.String).str.replace(r"e([0-9])", "e+$1"))
    )["cell"]


def iso(text: pl.Series) -> pl.Series:
    """Moments in UTC, to the microsecond, of ISO 8601; what has no zone is UTC, unreadable is null."""
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(TIME)).unnest("text")
    clock = pl.col("clock").fill_null("00:00")
    full = pl.col("date") + " " + pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)
    digits = pl.col("zone").str.replace_all(r"[Zz:+-]", "").str.pad_end(4, "0")
    minutes = digits.str.head(2).cast(pl.Int64) * 60 + digits.str.tail(2).cast(pl.Int64)
    signed = pl.when(pl.col("zone").str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    fraction = pl.col("fraction").str.pad_end(6, "0").str.head(6).cast(pl.Int64).fill_null(0)
    moment = full.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    shifted = moment + pl.duration(microseconds=fraction, time_unit="us") - pl.duration(minutes=signed, time_unit="us")
    return parts.select(shifted.dt.replace_time_zone("UTC").alias("at"))["at"]


def _without(text: pl.Series, none: pl.Series) -> pl.Series:
    return pl.select(pl.when(~none).then(text)).to_series()


def _scalar(cell: str | None) -> str | None:
    """The text of a scalar in JSON; null for a list or an object."""
    value = load(cell)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _parts(cell: str | None) -> list[str] | None:
    value = load(cell)
    if isinstance(value, list):
        return [str(part) for part in value if part is not None]
    text = _scalar(cell)
    return None if text is None else text.split("|")


def load(cell: str | None) -> object:
    """The value of a cell of JSON text; None also for one that JSON cannot hold."""
    return None if cell in (None, "NaN") else orjson.loads(cell)
