"""Preprocessing: fitted scaling, one-hot and imputation, as arrays that travel with the model. Pure numpy.

The figures are those of scikit-learn's StandardScaler, SimpleImputer(mean) and OneHotEncoder; columns that share a
unit (pixels of one image, parts of one embedding) are divided by one number, so that their proportions stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.features import Column, Features, Values, check_finite, column_from_json
from engine.vectors import Matrix

FLAT = 1e-9  # a spread below this share of the column's size is rounding: the column is constant
FARTHEST = 1e9  # scales from the mean; what is farther is taken as that far, so that no square leaves float32
NARROW = 1e3  # means within this many scales lose nothing to float32 that matters
SMALL, LARGE = 1e-30, 1e150  # of scales: what float32 has an inverse of; of values: what float64 has a square of
SHOWN = 5
AGAIN = "import again with --replace"


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """values -> (n, width) float32: (value - mean) / scale for numbers, 0 or 1 for each category, 0 for missing."""

    columns: tuple[Column, ...]
    mean: npt.NDArray[np.float64]  # (n_columns,), 0 where categorical
    scale: npt.NDArray[np.float64]  # (n_columns,), 1 where categorical

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """Where each column stands in the prepared matrix."""
        ends = np.cumsum([1 if c.categories is None else len(c.categories) for c in self.columns]).tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))

    @property
    def width(self) -> int:
        return self.blocks[-1].stop

    @cached_property
    def all_numeric(self) -> bool:
        return all(column.categories is None for column in self.columns)

    def apply(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(n, n_columns) float32 or float64 -> (n, width) float32. InputError for an infinity or another width."""
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise InputError(f"expected rows of {len(self.columns)} columns, got shape {values.shape}", loc=("values",))
        with np.errstate(all="ignore"):
            whole = bool(np.isfinite(values.sum()))  # one pass: a NaN or an infinity shows in the sum
        if not whole:
            check_finite(self.columns, values)
        scaled = self._scaled(values)
        if not whole:
            scaled[np.isnan(scaled)] = 0
        if self.all_numeric:
            return scaled
        out = np.zeros((len(values), self.width), np.float32)
        for at, (column, block) in enumerate(zip(self.columns, self.blocks, strict=True)):
            if column.categories is None:
                out[:, block.start] = scaled[:, at]
                continue
            rows = np.flatnonzero(~np.isnan(values[:, at]))
            out[rows, block.start + values[rows, at].astype(np.int64)] = 1
        return out

    def _scaled(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(value - mean) / scale; in float32 where that is what came in and the means allow it."""
        near = (np.abs(self.mean) / NARROW < self.scale) & (self.scale > SMALL)
        with np.errstate(over="ignore"):
            if values.dtype == np.float32 and near.all():
                scaled = values - self.mean.astype(np.float32)
                scaled *= (1 / self.scale).astype(np.float32)
            else:
                scaled = ((values - self.mean) / self.scale).astype(np.float32)
        return np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)

    def invert(self, prepared: Matrix) -> Values:
        """(n, width) -> (n, n_columns) values: the most likely category, numbers in their own unit."""
        out = np.empty((len(prepared), len(self.columns)))
        for at, (column, block) in enumerate(zip(self.columns, self.blocks, strict=True)):
            if column.categories is None:
                out[:, at] = prepared[:, block.start].astype(np.float64) * self.scale[at] + self.mean[at]
            else:
                out[:, at] = prepared[:, block].argmax(axis=1)
        return out

    def by_column(self, squared: Matrix) -> Matrix:
        """(n, width) squared differences summed to (n, n_columns)."""
        if self.all_numeric:
            return squared
        return np.add.reduceat(squared, [block.start for block in self.blocks], axis=1)


def fit(features: Features, *, keep_constant: bool = False) -> Preprocessing:
    """Means and scales of the records.

    Raises InputError for one record, an infinity, a column without a value, and, unless `keep_constant`, for columns
    that have one value in every record. Columns of one unit count as one, so a border of black pixels is no error.
    """
    if len(features) < 2:
        raise InputError(f"expected at least 2 records to learn from, got {len(features)}")
    values, columns = features.values, features.columns
    check_finite(columns, values)
    filled = np.asarray((~np.isnan(values)).any(axis=0))
    empty = [c.name for c, there in zip(columns, filled, strict=True) if not there]
    if empty:
        raise InputError(f"{_names(empty)} no value in any record to learn from; {AGAIN} --ignore {empty[0]}")
    mean, spread = _mean_and_spread(values)
    flat = np.asarray(spread <= FLAT * np.maximum(np.abs(mean), 1e-300))
    _check_constant(columns, flat, keep_constant)
    numeric = np.array([column.categories is None for column in columns])
    scale = np.where(numeric & ~flat, spread, 1.0)
    for unit in {column.unit for column in columns} - {None}:
        shared = np.array([column.unit == unit for column in columns])
        scale[shared] = max(float(np.sqrt(np.mean(spread[shared] ** 2))), FLAT)
    return Preprocessing(columns, np.where(numeric, mean, 0.0), scale)


def restore(columns: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.NDArray]) -> Preprocessing:
    return Preprocessing(tuple(column_from_json(each) for each in columns), arrays["mean"], arrays["scale"])


def _mean_and_spread(values: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each column, (n_columns,) both; columns whose squares leave float64 are measured by their largest value."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    largest = np.nanmax(np.abs(values), axis=0)
    far = (largest > LARGE) | ((largest < 1 / LARGE) & (largest > 0))
    if far.any():
        shares = values[:, far] / largest[far]
        mean[far], spread[far] = np.nanmean(shares, axis=0) * largest[far], np.nanstd(shares, axis=0) * largest[far]
    return mean, spread


def _check_constant(columns: Sequence[Column], flat: npt.NDArray[np.bool_], keep: bool) -> None:
    constant = [c.name for c, still in zip(columns, flat, strict=True) if still and c.unit is None]
    if flat.all():
        raise InputError("every column is constant; there is nothing to learn")
    if constant and not keep:
        raise InputError(
            f"{_names(constant)} the same value in every record and nothing to say; {AGAIN} "
            f"--ignore {constant[0]}, or train with --keep-constant"
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"column {shown} has" if len(names) == 1 else f"columns {shown}{more} have"
