"""Typed cells: conversion of a column to the type of its attribute, and votes for a type when none is known.

`engine.catalogue.attribute_types.coerce` converts one value. This file does the same for a whole column; only texts in
unusual formats are converted one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import orjson
import polars as pl

from engine.catalogue import attribute_types as types
from engine.catalogue.attribute_types import AttributeType
from engine.catalogue.number_text import EITHER, LOOSE, PLAIN, SHORT_ZERO, Decimal, is_decimal_comma, parse_number
from engine.errors import InputError
from engine.importing.cells import cells
from engine.importing.cells.cells import EXACT
from engine.importing.sheets.jsonl import NOT_FINITE as JSON_NOT_FINITE
from engine.importing.sheets.jsonl import dump
from engine.importing.sheets.sheet import Column

POINT_AND_THREE_DIGITS = r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$"  # 1.234
NOT_FINITE = r"^(?i)[+-]?(nan|inf|infinity)$"


@dataclass(frozen=True, eq=False)
class ConvertedColumn:
    """`column` has JSON values, null for an `unfit` cell. `unusual` marks numbers in an unusual format, as €12."""

    column: Column
    unfit: pl.Series
    unusual: pl.Series


def count_type_votes(column: Column, decimal: Decimal | None = None) -> dict[AttributeType, int]:
    """The number of cells of a column that vote for each type."""
    series, dtype = column.series, column.series.dtype
    present = int(series.len() - series.null_count())
    if column.is_text:
        return _votes_of_text(series.drop_nulls(), decimal)
    if column.is_json:
        return _votes_of_json(series.drop_nulls())
    if dtype.is_numeric():
        return {"number": present}
    if dtype == pl.Boolean:
        return {"boolean": present}
    if dtype.is_temporal() and dtype != pl.Duration:
        return {"time": present}
    if dtype in (pl.List, pl.Array):
        return {"list": present}
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        text = series.cast(pl.String).drop_nulls()
        text = text.filter(~_is_missing(text))
        return {"time": (n_times := _n_times(text)), "text": text.len() - n_times}
    return {"any": present} if dtype != pl.Null else {}


def convert(column: Column, kind: AttributeType, decimal: Decimal | None = None) -> ConvertedColumn:
    """Each cell as a value of `kind`; a blank cell is missing unless `kind` is text or any."""
    series, dtype = column.series, column.series.dtype
    is_string = dtype == pl.String and not column.is_json
    if kind == "number" and is_string:
        return _to_numbers(series, decimal)
    if kind == "boolean" and is_string:
        present = series.set(_is_blank(series), None)
        return _converted(present, Column(cells.parse_booleans(Column(present))))
    if kind == "list" and (is_string or dtype.is_numeric()):
        lists = cells.parse_lists(Column(cells.to_text(column))) if is_string else series.reshape((-1, 1))
        json = [None if each is None else dump(list(each)) for each in lists.to_list()]
        missing = series.is_null() | (_is_blank(series) if is_string else series.is_null())
        json_column = Column(pl.Series(series.name, json, pl.String).set(missing, None), True)
        return _converted(series.set(missing, None), json_column)
    if kind == "text" and not column.is_json and (dtype.is_numeric() or dtype == pl.Boolean):
        return _converted(series, Column(cells.to_text(column)))
    if kind == "time" and is_string:
        column = Column(series.set(_is_blank(series), None))
    json_column = to_json_column(column)
    if kind == "any" or kind == _type_of_dtype(column):
        return _converted(json_column.series, json_column)
    return _convert_distinct(json_column, kind, decimal)


def parse_numbers(column: Column, decimal: Decimal | None = None) -> pl.Series:
    """Float64, of text also in unusual formats that mean one number; null for an unreadable cell."""
    plain = cells.parse_numbers(column)
    if not column.is_text:
        return plain
    converted = _to_numbers(column.series, decimal).column.series.cast(pl.Float64, strict=False)
    return plain.fill_null(converted) if decimal is None else converted.fill_null(plain)


def to_json_column(column: Column) -> Column:
    """Scalars as JSON scalars; JSON text for a cell that is a list, an object or a time."""
    series, dtype = column.series, column.series.dtype
    if column.is_json or dtype in (pl.String, pl.Boolean):
        return Column(series, column.is_json)
    if dtype == pl.Float32:
        return Column(series.cast(pl.String).cast(pl.Float64))  # through text, so that 2.55 stays 2.55
    if isinstance(dtype, pl.Decimal):
        integers = series.cast(pl.Int64, strict=False)  # float64 does not represent an integer of 18 digits
        is_whole = dtype.scale == 0 and integers.null_count() == series.null_count()
        return Column(integers if is_whole else series.cast(pl.Float64))
    if dtype.is_numeric():
        return Column(series)
    if isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
        return Column(series.cast(pl.String))
    try:
        return Column(pl.Series(series.name, [dump(value) for value in series.to_list()], pl.String), is_json=True)
    except ValueError:
        raise InputError(f"column {series.name!r} contains {dtype}, which is not a JSON value") from None


def _type_of_dtype(column: Column) -> AttributeType | None:
    """The attribute type of every cell by the dtype of the column; None when the dtype does not tell."""
    if column.is_json:
        return None
    dtype = column.series.dtype
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.List, pl.Array):
        return "list"
    if dtype in (pl.Date, pl.Datetime):
        return "time"
    if dtype == pl.Boolean:
        return "boolean"
    return "text" if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum | pl.Null) else None


def _votes_of_text(text: pl.Series, decimal: Decimal | None) -> dict[AttributeType, int]:
    """Votes of a text file. A number votes for number, except codes: 007, postcodes."""
    not_finite = text.str.contains(NOT_FINITE)  # votes for number; JSON cannot represent it, so its row is rejected
    n_not_finite, text = int(not_finite.sum()), text.filter(~not_finite & ~_is_missing(text))
    plain, short_zero = text.str.contains(PLAIN), text.str.contains(SHORT_ZERO)
    loose = text.filter(~plain & ~short_zero & text.str.contains(LOOSE))
    n_loose_numbers = sum(n for each, n in loose.value_counts().iter_rows() if parse_number(each, decimal) is not None)
    n_numbers = n_not_finite + int(plain.sum()) + n_loose_numbers
    if loose.str.contains(r"^0[0-9]{3,}$").any():
        n_digits = text.filter(text.str.contains(r"^[0-9]+$")).str.len_bytes()
        if n_digits.n_unique() == 1:  # postcodes and article numbers have one width
            n_numbers -= int((plain & text.str.contains("^[0-9]+$")).sum())
    booleans = int(text.str.to_lowercase().is_in(["true", "false"]).sum())
    votes: dict[AttributeType, int] = {"number": max(0, n_numbers), "boolean": booleans, "time": _n_times(text)}
    return votes | {"text": n_not_finite + text.len() - sum(votes.values())}


def _votes_of_json(text: pl.Series) -> dict[AttributeType, int]:
    votes = Counter(types.vote(cells.load_json(each)) for each in text)
    return {kind: n for kind, n in votes.items() if kind is not None}


def _n_times(text: pl.Series) -> int:
    return int(text.str.contains(f"^(?:{types.TIME.pattern})$").sum())


def _is_missing(text: pl.Series) -> pl.Series:
    """Blank, or a text that stands for a missing value, such as N/A."""
    return text.str.strip_chars().str.to_lowercase().is_in(["", *types.NULL_WORDS])


def _is_blank(text: pl.Series) -> pl.Series:
    return text.str.strip_chars() == ""


def _converted(original: pl.Series, column: Column) -> ConvertedColumn:
    all_false = pl.repeat(False, original.len(), dtype=pl.Boolean, eager=True)
    return ConvertedColumn(column, original.is_not_null() & column.series.is_null(), all_false)


def _to_numbers(text: pl.Series, decimal: Decimal | None) -> ConvertedColumn:
    """Plain numbers are converted at once, each distinct other text in Python."""
    text = text.str.strip_chars()
    text = text.set(text == "", None)
    plain = text.str.contains(PLAIN).fill_null(False)
    if decimal == "comma":
        plain &= ~text.str.contains(EITHER).fill_null(False)
    others = text.filter(~plain & text.is_not_null()).unique()
    loose = others.filter(others.str.contains(LOOSE)).to_list()
    parsed = {each: parse_number(each, decimal) for each in loose} | {
        each: float(each) for each in others.filter(others.str.contains(NOT_FINITE)).to_list()
    }
    if decimal is None and any(is_decimal_comma(each) for each in loose):
        plain &= ~text.str.contains(POINT_AND_THREE_DIGITS).fill_null(
            False
        )  # 1.234 is ambiguous in a column with 12,50
    unusual = {each: value for each, value in parsed.items() if value is not None}
    all_integers = not text.filter(plain).str.contains("[.eE]").any() and all(
        type(value) is int for value in unusual.values()
    )
    column = _exact_numbers(text, plain, unusual, all_integers)
    all_false = pl.repeat(False, text.len(), dtype=pl.Boolean, eager=True)
    is_unusual = text.is_in(list(unusual)) & ~plain if unusual else all_false
    return ConvertedColumn(column, text.is_not_null() & column.series.is_null(), is_unusual.fill_null(False))


def _exact_numbers(text: pl.Series, plain: pl.Series, unusual: dict[str, int | float], all_integers: bool) -> Column:
    dtype = pl.Int64 if all_integers else pl.Float64
    numbers = text.set(~plain, None).cast(dtype)
    if unusual:
        values = pl.Series(list(unusual.values()), dtype=dtype, strict=False)
        numbers = numbers.zip_with(plain, text.replace_strict(list(unusual), values, default=None, return_dtype=dtype))
    if not all_integers and (numbers.abs() >= EXACT).any():
        integers = text.str.contains("^-?[0-9]+$") & plain
        exact = pl.Series(
            [None if n is None else dump(n) if n - n == 0 else JSON_NOT_FINITE for n in numbers], dtype=pl.String
        )
        return Column(text.zip_with(integers.fill_null(False), exact), is_json=True)
    return Column(numbers)


def _convert_distinct(column: Column, kind: AttributeType, decimal: Decimal | None) -> ConvertedColumn:
    """Apply `engine.catalogue.attribute_types.coerce` to each distinct cell."""
    series = column.series
    json_of: dict[object, str] = {}
    for each in series.drop_nulls().unique().to_list():
        value = cells.load_json(each) if column.is_json else each
        converted = None if value is None else types.coerce(kind, value, decimal)
        if converted is not None:
            json_of[each] = orjson.dumps(converted).decode()
        elif column.is_json and each == JSON_NOT_FINITE:
            json_of[each] = JSON_NOT_FINITE  # stays, so that its row is rejected
    if not json_of:
        text = pl.repeat(None, series.len(), dtype=pl.String, eager=True)
    else:
        text = series.replace_strict(json_of, default=None, return_dtype=pl.String)
    return _converted(series, Column(text.alias(series.name), is_json=True))
