"""Attributes: the columns that no field takes, as one JSON object per row."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import polars as pl

from engine.errors import InputError
from engine.importing.fields import ATTRIBUTE
from engine.importing.jsonl import NOT_FINITE, dump
from engine.importing.rejects import Check
from engine.importing.sheet import Column

CODE = r"^(-?0\d|\+|-?\d{19})"  # a postcode, a telephone or an article number: text, not a quantity


def attribute_columns(source: Mapping[str, Column]) -> dict[str, Column]:
    """The `attributes.NAME` fields of a file as JSON scalars, or as JSON text where a cell is a list or an object."""
    return {field: _json_ready(column) for field, column in source.items() if field.startswith(ATTRIBUTE)}


def attribute_checks(columns: Mapping[str, Column]) -> list[Check]:
    """Why a row is rejected for its attributes: JSON has no NaN, PostgreSQL's text no NUL."""
    checks = []
    for field, column in columns.items():
        cell = pl.col(field)
        if column.series.dtype.is_float():
            checks.append((f"{field} is not finite", ~cell.is_finite()))
        elif column.series.dtype == pl.String:
            if column.is_json:
                checks.append((f"{field} is not finite", cell == NOT_FINITE))
            nul = cell.str.contains("\\u0000" if column.is_json else "\x00", literal=True)
            checks.append((f"{field} holds NUL", nul))
    return checks


def json_objects(frame: pl.DataFrame, columns: Mapping[str, Column]) -> list[str | None]:
    """The attributes of each row of `frame` as JSON text; nulls are left out, a row without any is None."""
    cells = {
        field.removeprefix(ATTRIBUTE): [None if cell is None else orjson.Fragment(cell) for cell in frame[field]]
        if column.is_json
        else frame[field].to_list()
        for field, column in columns.items()
    }
    if not cells:
        return [None] * frame.height
    texts: list[str | None] = []
    for row in zip(*cells.values(), strict=True):
        present = {name: cell for name, cell in zip(cells, row, strict=True) if cell is not None}
        texts.append(orjson.dumps(present).decode() if present else None)
    return texts


def _json_ready(column: Column) -> Column:
    series, dtype = column.series, column.series.dtype
    if column.is_json:
        return column
    if column.is_text:
        return Column(_typed(series))
    if dtype == pl.Float32:
        return Column(series.cast(pl.String).cast(pl.Float64))  # 2.55 stays 2.55
    if isinstance(dtype, pl.Decimal):
        whole = series.cast(pl.Int64, strict=False)  # float64 does not hold an integer of 18 digits
        is_whole = dtype.scale == 0 and whole.null_count() == series.null_count()
        return Column(whole if is_whole else series.cast(pl.Float64))
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.String):
        return Column(series)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return Column(series.cast(pl.String))
    if dtype == pl.Null:
        return Column(series.cast(pl.String))
    try:
        return Column(pl.Series(series.name, [dump(value) for value in series.to_list()], pl.String), is_json=True)
    except ValueError:
        raise InputError(f"column {series.name!r} holds {dtype}, which is not a JSON value") from None


def _typed(text: pl.Series) -> pl.Series:
    """Numbers or booleans where every cell of a text file's column is one."""
    present = text.drop_nulls()
    if present.is_empty() or present.str.contains(CODE).any():
        return text
    for dtype in (pl.Int64, pl.Float64):
        if present.cast(dtype, strict=False).null_count() == 0:
            return text.cast(dtype)
    if present.is_in(["true", "false", "True", "False"]).all():
        return text.str.to_lowercase() == "true"
    return text
