"""Columns of a sheet as feature columns: numbers, categories, or a list of numbers in every cell."""

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

MOSTLY = 0.9  # a column with this share of numbers is meant to be numeric, and the rest is a mistake
MOST_CATEGORIES = 1000


@dataclass(frozen=True, eq=False)
class Measured:
    """Feature columns and their (n, n_columns) values, NaN where missing."""

    columns: tuple[Column, ...]
    values: npt.NDArray[np.float64]
    unread: Mapping[tuple[str, int], str]  # (column, row): text where a number belongs, infinite in `values`


def measure(
    sheet: Sheet,
    names: Sequence[str],
    *,
    categorical: Sequence[str] = (),
    known: Mapping[str, Column] | None = None,
    strict: bool = True,
) -> Measured:
    """The columns `names` of a sheet; `known` are those of the records before, whose kind stays.

    Raises InputError for lists of different lengths, and where it is `strict` for text in a numeric column and too many
    categories.
    """
    unread: dict[tuple[str, int], str] = {}
    columns: list[Column] = []
    blocks: list[npt.NDArray[np.float64]] = []
    for name in names:
        source = sheet.column(name)
        if source.series.dtype in (pl.List, pl.Array) or (name not in categorical and _holds_lists(source)):
            block = _lists(source)
            parts = [Column(f"{name}.{at}", None, name) for at in range(block.shape[1])]
            columns, blocks = columns + parts, [*blocks, block]
            continue
        before = (known or {}).get(name)
        if strict or before is None:
            made, values = _one(source, name, name in categorical, before)
        else:
            made, values = _as_known(source, before, unread)
        columns, blocks = [*columns, made], [*blocks, values[:, None]]
    if not columns:
        raise InputError(f"{sheet.name} has no column to measure; columns found: {', '.join(sheet.frame.columns)}")
    return Measured(tuple(columns), np.concatenate(blocks, axis=1), unread)


def _as_known(
    source: SheetColumn, before: Column, unread: dict[tuple[str, int], str]
) -> tuple[Column, npt.NDArray[np.float64]]:
    """A known column whatever it holds: new categories behind the known ones, and infinity for what is no number."""
    text, blank = _blanks(source)
    if before.categories is not None:
        return _placed(before.name, text.set(blank, None), before.categories)
    if source.series.dtype.is_temporal():
        values = np.full(len(text), np.nan)
    else:
        values = cells.numbers(source).cast(pl.Float64).to_numpy().astype(np.float64)
    wrong = np.flatnonzero(~blank.to_numpy() & ~np.isfinite(values))
    values[wrong] = np.inf
    values[blank.to_numpy()] = np.nan
    unread.update({(before.name, row): str(text[row]) for row in wrong.tolist()})
    return before, values


def _holds_lists(source: SheetColumn) -> bool:
    """Or anything else but numbers, of which JSON text keeps those that float64 does not hold."""
    return source.is_json and not source.series.drop_nulls().str.contains(r"^-?\d").all()


def _one(
    source: SheetColumn, name: str, categorical: bool, before: Column | None
) -> tuple[Column, npt.NDArray[np.float64]]:
    series = source.series
    if series.dtype.is_temporal():
        raise InputError(f"column {name!r} holds times, which are no measure; leave it out with --ignore {name}")
    text, blank = _blanks(source)
    numbers = cells.numbers(source)
    unread = ~blank & (numbers.is_null() | numbers.is_nan())
    if before is not None:
        categorical = before.categories is not None
    elif not categorical:
        present = int((~blank).sum())
        categorical = series.dtype == pl.Boolean or (present > 0 and int(unread.sum()) > (1 - MOSTLY) * present)
    if not categorical:
        _check_read(name, text, unread)
        values = numbers.cast(pl.Float64).set(blank, None).to_numpy().astype(np.float64)
        return before or Column(name), np.where(blank.to_numpy(), np.nan, values)
    return _categories(name, text.set(blank, None), before)


def _blanks(source: SheetColumn) -> tuple[pl.Series, pl.Series]:
    """The cells as text, and which of them hold nothing."""
    text = cells.texts(source)
    return text, text.str.strip_chars().str.to_lowercase().is_in(list(MISSING_WORDS)) | text.is_null()


def _check_read(name: str, text: pl.Series, unread: pl.Series) -> None:
    if unread.any():
        row = unread.arg_true()[0]
        raise InputError(
            f"column {name!r} is numeric, got {text[row]!r} in row {row + 1}; empty the cell, leave the column out "
            f"with --ignore {name}, or take it as text with --categorical {name}"
        )


def _categories(name: str, text: pl.Series, before: Column | None) -> tuple[Column, npt.NDArray[np.float64]]:
    """Known categories keep their place, new ones come after them."""
    made, values = _placed(name, text, () if before is None else before.categories or ())
    n = len(made.categories or ())
    if n > MOST_CATEGORIES:
        raise InputError(
            f"column {name!r} has {n:,} different texts, expected at most {MOST_CATEGORIES:,} categories; "
            f"if it names the records give it as --id {name}, else leave it out with --ignore {name}"
        )
    return made, values


def _placed(name: str, text: pl.Series, old: Sequence[str]) -> tuple[Column, npt.NDArray[np.float64]]:
    names = (*old, *sorted(set(text.drop_nulls().to_list()) - set(old)))
    places = {each: float(place) for place, each in enumerate(names)}
    values = np.array([places.get(cell, np.nan) for cell in text.to_list()], np.float64)
    return Column(name, names), values


def _lists(source: SheetColumn) -> npt.NDArray[np.float64]:
    name = source.series.name
    rows = source.series.to_list()
    try:
        rows = [orjson.loads(row) if isinstance(row, str) else row for row in rows]
        values = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"column {name!r} holds lists; expected as many numbers in every row") from None
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"column {name!r} holds lists; expected as many numbers in every row")
    return values
