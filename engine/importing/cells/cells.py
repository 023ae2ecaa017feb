"""Parsing of a column for a field: ids, text, numbers, booleans, lists, ISO times. An unreadable cell becomes null."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import orjson
import polars as pl

from engine.catalogue.attribute_types import FALSE, TRUE
from engine.errors import InputError
from engine.importing.sheets.sheet import Column
from engine.values.ids import normalise_id

SEPARATOR = "\x1f"  # the unit separator of ASCII, which no category contains
NORMAL_ASCII_ID = r"^[!-~](?:[ -~]*[!-~])?$"  # printable ASCII without space around it is in normal form
TEXT_FORMULA = r'^="([^"]*)"$'  # ="007": exports write it so that a spreadsheet keeps a code as text
EXACT = 2**53  # float64 does not represent every integer from here on
ISO_TIME = (
    r"^\s*(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<clock>\d{2}:\d{2}(?::\d{2})?)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?\s*$"
)


def parse_ids(column: Column, missing: Collection[str] = ()) -> pl.Series:
    """Ids as text in normal form; an id does not depend on the other cells. ="007" of a CSV is 007.

    Null for a blank cell and for an id among `missing`.
    """
    text = to_text(column)
    if column.is_text:
        text = text.str.replace(TEXT_FORMULA, "$1")
    text = normalise_ids(text)
    return _null_where(text, text.is_in(["", *missing]))


def normalise_ids(text: pl.Series) -> pl.Series:
    """`normalise_id` of each text. Most ids are plain ASCII, so only the distinct others are processed in Python."""
    text = text.str.replace(r"^(-?[0-9]+)\.0$", "$1")
    others = text.filter(~text.str.contains(NORMAL_ASCII_ID)).unique()
    if others.is_empty():
        return text
    return text.replace(others, pl.Series([normalise_id(each) for each in others], dtype=pl.String))


def to_text(column: Column) -> pl.Series:
    """Scalars as text; a blank cell stays blank. InputError for a column of lists, structs, bytes or durations."""
    series = column.series
    if column.is_json:
        return pl.Series(series.name, [_scalar_text(cell) for cell in series], pl.String)
    if series.dtype.is_float():
        return _float_text(series)
    if series.dtype.is_decimal():
        return series.cast(pl.String).str.replace(r"\.0+$", "")
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Duration):
        raise InputError(f"column {series.name!r} contains {series.dtype}; expected text or numbers")
    return series.cast(pl.String)


def parse_text(column: Column) -> pl.Series:
    """Text; null for a blank cell."""
    text = to_text(column)
    return _null_where(text, text.str.strip_chars() == "")


def parse_numbers(column: Column) -> pl.Series:
    """Float64; null for an unreadable cell."""
    series = column.series
    if not column.is_json and (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return series.cast(pl.Float64)
    return to_text(column).str.strip_chars().cast(pl.Float64, strict=False)


def parse_booleans(column: Column) -> pl.Series:
    """Booleans, from true/false, yes/no, 1/0; null for an unreadable cell."""
    if column.series.dtype == pl.Boolean:
        return column.series
    text = to_text(column).str.strip_chars().str.to_lowercase()
    return pl.select(pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False)).to_series()


def parse_lists(column: Column, separators: Sequence[str] = ()) -> pl.Series:
    """Lists of text, from lists or from text separated by `|`; null for an empty list.

    `separators` replace `|`, and also split the elements of lists.
    """
    series = column.series
    if column.is_json:
        series = pl.Series(series.name, [_json_list(cell) for cell in series], pl.List(pl.String))
    elif isinstance(series.dtype, pl.List) and not series.dtype.inner.is_nested():
        series = series.cast(pl.List(pl.String))
    else:
        text = to_text(column)
        series = text.reshape((-1, 1)).cast(pl.List(pl.String)) if separators else text.str.split("|")
    if separators:
        joined = series.list.join(separators[0], ignore_nulls=True)
        pattern = "|".join(re.escape(each) for each in sorted(separators, key=len, reverse=True))
        series = joined.str.replace_all(pattern, SEPARATOR).str.split(SEPARATOR)
    frame = pl.DataFrame({"list": series}).select(
        pl.col("list").list.eval(pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != ""))
    )
    return frame.select(pl.when(pl.col("list").list.len() > 0).then(pl.col("list")))["list"]


def _float_text(series: pl.Series) -> pl.Series:
    """Whole numbers without a point; those beyond the exact range of float64 as 1.23e+17, the notation of Python."""
    whole = (series == series.floor()) & (series.abs() < EXACT)
    return pl.DataFrame({"cell": series.fill_nan(None), "whole": whole}).select(
        pl.when("whole")
        .then(pl.col("cell").cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(pl.col("cell").cast(pl.String).str.replace(r"e([0-9])", "e+$1"))
    )["cell"]


def parse_iso_times(text: pl.Series) -> pl.Series:
    """ISO 8601 text as times in UTC with microseconds. A time without a zone is UTC; null for other text."""
    parts = pl.DataFrame({"text": text}).select(pl.col("text").str.extract_groups(ISO_TIME)).unnest("text")
    clock = pl.col("clock").fill_null("00:00")
    full = pl.col("date") + " " + pl.when(clock.str.len_bytes() == 5).then(clock + ":00").otherwise(clock)
    digits = pl.col("zone").str.replace_all(r"[Zz:+-]", "").str.pad_end(4, "0")
    minutes = digits.str.head(2).cast(pl.Int64) * 60 + digits.str.tail(2).cast(pl.Int64)
    offset = pl.when(pl.col("zone").str.starts_with("-")).then(-minutes).otherwise(minutes).fill_null(0)
    fraction = pl.col("fraction").str.pad_end(6, "0").str.head(6).cast(pl.Int64).fill_null(0)
    local = full.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    in_utc = local + pl.duration(microseconds=fraction, time_unit="us") - pl.duration(minutes=offset, time_unit="us")
    return parts.select(in_utc.dt.replace_time_zone("UTC").alias("at"))["at"]


def _null_where(text: pl.Series, mask: pl.Series) -> pl.Series:
    return pl.select(pl.when(~mask).then(text)).to_series()


def _scalar_text(cell: str | None) -> str | None:
    """The text of a JSON scalar; None for a list or an object."""
    value = load_json(cell)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def _json_list(cell: str | None) -> list[str] | None:
    value = load_json(cell)
    if isinstance(value, list):
        return [str(part) for part in value if part is not None]
    text = _scalar_text(cell)
    return None if text is None else text.split("|")


def load_json(cell: str | None) -> object:
    """The value of a cell of JSON text; None also for NaN, which JSON cannot represent."""
    return None if cell in (None, "NaN") else orjson.loads(cell)
