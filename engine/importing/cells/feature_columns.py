"""Parsing of feature columns: a column of numbers, of categories, or of lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from engine.errors import InputError
from engine.importing.cells import cells
from engine.importing.sheets.sheet import Column as SheetColumn
from engine.importing.sheets.sheet import Sheet
from engine.values.features import MISSING_WORDS, Column

NUMERIC_SHARE = 0.9  # a column with this share of numbers is numeric, and its other cells are mistakes
MAX_CATEGORIES = 1000


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Feature columns and their (n, n_columns) values, NaN for a missing value."""

    columns: tuple[Column, ...]
    values: npt.NDArray[np.float64]
    unreadable: Mapping[tuple[str, int], str]  # (column, row) -> text in a numeric column; infinite in `values`


def read_feature_columns(
    sheet: Sheet,
    names: Sequence[str],
    *,
    categorical: Sequence[str] = (),
    known: Mapping[str, Column] | None = None,
    strict: bool = True,
) -> FeatureTable:
    """The columns `names` of a sheet; a column in `known`, from earlier records, keeps its kind.

    Raises InputError for lists of different lengths; with `strict` also for text in a numeric column and for too many
    categories.
    """
    unreadable: dict[tuple[str, int], str] = {}
    columns: list[Column] = []
    blocks: list[npt.NDArray[np.float64]] = []
    for name in names:
        source = sheet.column(name)
        if source.series.dtype in (pl.List, pl.Array) or (name not in categorical and _may_be_lists(source)):
            block = _from_lists(source)
            parts = [Column(f"{name}.{index}", None, name) for index in range(block.shape[1])]
            columns, blocks = columns + parts, [*blocks, block]
            continue
        stored = (known or {}).get(name)
        if strict or stored is None:
            column, values = _numeric_or_categorical(source, name, name in categorical, stored)
        else:
            column, values = _leniently(source, stored, unreadable)
        columns, blocks = [*columns, column], [*blocks, values[:, None]]
    if not columns:
        raise InputError(f"{sheet.name} has no feature column; columns found: {', '.join(sheet.frame.columns)}")
    return FeatureTable(tuple(columns), np.concatenate(blocks, axis=1), unreadable)


def _leniently(
    source: SheetColumn, stored: Column, unreadable: dict[tuple[str, int], str]
) -> tuple[Column, npt.NDArray[np.float64]]:
    """A stored column with any content: new categories follow the stored ones, text in a numeric column is infinite."""
    text, blank = _text_and_blanks(source)
    if stored.categories is not None:
        return _encode_categories(stored.name, text.set(blank, None), stored.categories)
    if source.series.dtype.is_temporal():
        values = np.full(len(text), np.nan)
    else:
        values = cells.parse_numbers(source).cast(pl.Float64).to_numpy().astype(np.float64)
    wrong_rows = np.flatnonzero(~blank.to_numpy() & ~np.isfinite(values))
    values[wrong_rows] = np.inf
    values[blank.to_numpy()] = np.nan
    unreadable.update({(stored.name, row): str(text[row]) for row in wrong_rows.tolist()})
    return stored, values


def _may_be_lists(source: SheetColumn) -> bool:
    """Whether JSON text contains more than numbers; a column of integers beyond float64 is JSON text too."""
    return source.is_json and not source.series.drop_nulls().str.contains(r"^-?\d").all()


def _numeric_or_categorical(
    source: SheetColumn, name: str, categorical: bool, stored: Column | None
) -> tuple[Column, npt.NDArray[np.float64]]:
    series = source.series
    if series.dtype.is_temporal():
        raise InputError(f"column {name!r} contains times, which are not features; leave it out with --ignore {name}")
    text, blank = _text_and_blanks(source)
    numbers = cells.parse_numbers(source)
    unreadable = ~blank & (numbers.is_null() | numbers.is_nan())
    if stored is not None:
        categorical = stored.categories is not None
    elif not categorical:
        present = int((~blank).sum())
        is_mostly_text = present > 0 and int(unreadable.sum()) > (1 - NUMERIC_SHARE) * present
        categorical = series.dtype == pl.Boolean or is_mostly_text
    if not categorical:
        _check_readable(name, text, unreadable)
        values = numbers.cast(pl.Float64).set(blank, None).to_numpy().astype(np.float64)
        return stored or Column(name), np.where(blank.to_numpy(), np.nan, values)
    return _categorical(name, text.set(blank, None), stored)


def _text_and_blanks(source: SheetColumn) -> tuple[pl.Series, pl.Series]:
    """The cells as text, and a mask of cells without a value."""
    text = cells.to_text(source)
    return text, text.str.strip_chars().str.to_lowercase().is_in(list(MISSING_WORDS)) | text.is_null()


def _check_readable(name: str, text: pl.Series, unreadable: pl.Series) -> None:
    if unreadable.any():
        row = unreadable.arg_true()[0]
        raise InputError(
            f"column {name!r} is numeric, got {text[row]!r} in row {row + 1}; empty the cell, leave the column out "
            f"with --ignore {name}, or read it as categories with --categorical {name}"
        )


def _categorical(name: str, text: pl.Series, stored: Column | None) -> tuple[Column, npt.NDArray[np.float64]]:
    """Stored categories keep their index, new ones follow them."""
    column, values = _encode_categories(name, text, () if stored is None else stored.categories or ())
    n = len(column.categories or ())
    if n > MAX_CATEGORIES:
        raise InputError(
            f"column {name!r} has {n:,} different texts, expected at most {MAX_CATEGORIES:,} categories; "
            f"if it identifies the records give --id {name}, else leave it out with --ignore {name}"
        )
    return column, values


def _encode_categories(name: str, text: pl.Series, stored: Sequence[str]) -> tuple[Column, npt.NDArray[np.float64]]:
    categories = (*stored, *sorted(set(text.drop_nulls().to_list()) - set(stored)))
    index_of = {each: float(index) for index, each in enumerate(categories)}
    values = np.array([index_of.get(cell, np.nan) for cell in text.to_list()], np.float64)
    return Column(name, categories), values


def _from_lists(source: SheetColumn) -> npt.NDArray[np.float64]:
    name = source.series.name
    rows = source.series.to_list()
    try:
        rows = [orjson.loads(row) if isinstance(row, str) else row for row in rows]
        values = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"expected a list of equally many numbers in every row of column {name!r}") from None
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"expected a list of equally many numbers in every row of column {name!r}")
    return values
