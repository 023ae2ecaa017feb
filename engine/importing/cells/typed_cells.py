"""Typed: a column of cells as the type of its attribute, and what a column speaks for where no type is known.

What a value is as a type is said by `attribute_types.coerce`, for one; here the same is said for a column
at once, and only of cells written in odd ways each text is asked for by itself.
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
from engine.importing.sheets.jsonl import NOT_FINITE as NAN
from engine.importing.sheets.jsonl import dump
from engine.importing.sheets.sheet import Column

POINT = r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$"  # 1.234
NOT_FINITE = r"^(?i)[+-]?(nan|inf|infinity)$"


@dataclass(frozen=True, eq=False)
class Fitted:
    """`column` is ready to be JSON, null where a cell is `unfit`. `odd`: cells that are numbers in another writing."""

    column: Column
    unfit: pl.Series
    odd: pl.Series


def votes(column: Column, decimal: Decimal | None = None) -> dict[AttributeType, int]:
    """How many cells of a column speak for each type."""
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
        text = text.filter(~_nothing(text))
        return {"time": (n_times := _n_times(text)), "text": text.len() - n_times}
    return {"any": present} if dtype != pl.Null else {}


def fit(column: Column, kind: AttributeType, decimal: Decimal | None = None) -> Fitted:
    """Each cell as a value of `kind`; a blank cell of a text file is none where text is not wanted."""
    series, dtype = column.series, column.series.dtype
    is_string = dtype == pl.String and not column.is_json
    if kind == "number" and is_string:
        return _as_numbers(series, decimal)
    if kind == "boolean" and is_string:
        given = series.set(_blank(series), None)
        return _fitted(given, Column(cells.flags(Column(given))))
    if kind == "list" and (is_string or dtype.is_numeric()):
        lists = cells.lists(Column(cells.texts(column))) if is_string else series.reshape((-1, 1))
        json = [None if each is None else dump(list(each)) for each in lists.to_list()]
        none = series.is_null() | (_blank(series) if is_string else series.is_null())
        return _fitted(series.set(none, None), Column(pl.Series(series.name, json, pl.String).set(none, None), True))
    if kind == "text" and not column.is_json and (dtype.is_numeric() or dtype == pl.Boolean):
        return _fitted(series, Column(cells.texts(column)))
    if kind == "time" and is_string:
        column = Column(series.set(_blank(series), None))
    ready = json_ready(column)
    own = _of_dtype(column)
    if kind == "any" or kind == own:
        return _fitted(ready.series, ready)
    return _by_value(ready, kind, decimal)


def numbers(column: Column, decimal: Decimal | None = None) -> pl.Series:
    """Float64, of text also in the writings that can mean one number; unreadable is null."""
    plain = cells.numbers(column)
    if not column.is_text:
        return plain
    read = _as_numbers(column.series, decimal).column
    found = read.series.cast(pl.Float64, strict=False)
    return plain.fill_null(found) if decimal is None else found.fill_null(plain)


def json_ready(column: Column) -> Column:
    """Scalars as JSON has them, or JSON text where a cell is a list, an object or a time."""
    series, dtype = column.series, column.series.dtype
    if column.is_json or dtype in (pl.String, pl.Boolean):
        return Column(series, column.is_json)
    if dtype == pl.Float32:
        return Column(series.cast(pl.String).cast(pl.Float64))  # 2.55 stays 2.55
    if isinstance(dtype, pl.Decimal):
        whole = series.cast(pl.Int64, strict=False)  # float64 does not hold an integer of 18 digits
        is_whole = dtype.scale == 0 and whole.null_count() == series.null_count()
        return Column(whole if is_whole else series.cast(pl.Float64))
    if dtype.is_numeric():
        return Column(series)
    if isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
        return Column(series.cast(pl.String))
    try:
        return Column(pl.Series(series.name, [dump(value) for value in series.to_list()], pl.String), is_json=True)
    except ValueError:
        raise InputError(f"column {series.name!r} holds {dtype}, which is not a JSON value") from None


def _of_dtype(column: Column) -> AttributeType | None:
    """The type that every cell of a column is of, by its dtype alone; time is text of one form."""
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
    """In a text file a number speaks for numbers, unless it is written as codes are: 007, a postcode, 08 everywhere."""
    endless = text.str.contains(NOT_FINITE)  # a number that JSON has not: its row is rejected
    n_endless, text = int(endless.sum()), text.filter(~endless & ~_nothing(text))
    plain, zero = text.str.contains(PLAIN), text.str.contains(SHORT_ZERO)
    loose = text.filter(~plain & ~zero & text.str.contains(LOOSE))
    read = sum(n for each, n in loose.value_counts().iter_rows() if parse_number(each, decimal) is not None)
    numbers = n_endless + int(plain.sum()) + read
    if loose.str.contains(r"^0[0-9]{3,}$").any():
        digits = text.filter(text.str.contains(r"^[0-9]+$")).str.len_bytes()
        if digits.n_unique() == 1:
            numbers -= int((plain & text.str.contains("^[0-9]+$")).sum())  # postcodes, article numbers: of one width
    booleans = int(text.str.to_lowercase().is_in(["true", "false"]).sum())
    found: dict[AttributeType, int] = {"number": max(0, numbers), "boolean": booleans, "time": _n_times(text)}
    return found | {"text": n_endless + text.len() - sum(found.values())}


def _votes_of_json(text: pl.Series) -> dict[AttributeType, int]:
    found = Counter(types.vote(cells.load(each)) for each in text)
    return {kind: n for kind, n in found.items() if kind is not None}


def _n_times(text: pl.Series) -> int:
    return int(text.str.contains(f"^(?:{types.TIME.pattern})$").sum())


def _nothing(text: pl.Series) -> pl.Series:
    return text.str.strip_chars().str.to_lowercase().is_in(["", *types.NULL_WORDS])


def _blank(text: pl.Series) -> pl.Series:
    return text.str.strip_chars() == ""


def _fitted(given: pl.Series, column: Column) -> Fitted:
    none = pl.repeat(False, given.len(), dtype=pl.Boolean, eager=True)
    return Fitted(column, given.is_not_null() & column.series.is_null(), none)


def _as_numbers(text: pl.Series, decimal: Decimal | None) -> Fitted:
    """Most cells at once; each other text by itself."""
    text = text.str.strip_chars()
    text = text.set(text == "", None)
    plain = text.str.contains(PLAIN).fill_null(False)
    if decimal == "comma":
        plain &= ~text.str.contains(EITHER).fill_null(False)
    others = text.filter(~plain & text.is_not_null()).unique()
    loose = others.filter(others.str.contains(LOOSE)).to_list()
    read = {each: parse_number(each, decimal) for each in loose} | {
        each: float(each) for each in others.filter(others.str.contains(NOT_FINITE)).to_list()
    }
    if decimal is None and any(is_decimal_comma(each) for each in loose):
        plain &= ~text.str.contains(POINT).fill_null(False)  # beside 12,50 nobody knows what 1.234 is
    odd = {each: value for each, value in read.items() if value is not None}
    whole = not text.filter(plain).str.contains("[.eE]").any() and all(type(value) is int for value in odd.values())
    column = _exactly(text, plain, odd, whole)
    is_odd = text.is_in(list(odd)) & ~plain if odd else pl.repeat(False, text.len(), dtype=pl.Boolean, eager=True)
    return Fitted(column, text.is_not_null() & column.series.is_null(), is_odd.fill_null(False))


def _exactly(text: pl.Series, plain: pl.Series, odd: dict[str, int | float], whole: bool) -> Column:
    kind = pl.Int64 if whole else pl.Float64
    numbers = text.set(~plain, None).cast(kind)
    if odd:
        made = pl.Series(list(odd.values()), dtype=kind, strict=False)
        numbers = numbers.zip_with(plain, text.replace_strict(list(odd), made, default=None, return_dtype=kind))
    if not whole and (numbers.abs() >= EXACT).any():
        integers = text.str.contains("^-?[0-9]+$") & plain
        exact = pl.Series([None if n is None else dump(n) if n - n == 0 else NAN for n in numbers], dtype=pl.String)
        return Column(text.zip_with(integers.fill_null(False), exact), is_json=True)
    return Column(numbers)


def _by_value(ready: Column, kind: AttributeType, decimal: Decimal | None) -> Fitted:
    """The way of `engine.catalogue.attribute_types.coerce` for each distinct cell."""
    series = ready.series
    read: dict[object, str] = {}
    for each in series.drop_nulls().unique().to_list():
        value = cells.load(each) if ready.is_json else each
        made = None if value is None else types.coerce(kind, value, decimal)
        if made is not None:
            read[each] = orjson.dumps(made).decode()
        elif ready.is_json and each == NAN:
            read[each] = NAN  # its row is rejected for it
    if not read:
        column = pl.repeat(None, series.len(), dtype=pl.String, eager=True)
    else:
        column = series.replace_strict(read, default=None, return_dtype=pl.String)
    return _fitted(series, Column(column.alias(series.name), is_json=True))
