"""Preprocessing: fitted scaling, one-hot encoding and imputation, stored as arrays of the model. Pure numpy.

The results equal scikit-learn's StandardScaler, SimpleImputer(mean) and OneHotEncoder. Columns that share a
unit (pixels of an image, parts of an embedding) share one scale, which keeps their proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.values.features import Column, Features, Values, check_finite, column_from_json
from engine.values.vectors import Matrix

Mask = npt.NDArray[np.bool_]

FLAT = 1e-9  # a spread below this share of the column's size is rounding: the column is constant
MAX_SCALED = 1e9  # scales from the mean; larger values are clipped, so that their squares stay within float32
MAX_FLOAT32_MEAN = 1e3  # scales; float32 represents means up to this precisely enough
SMALL = 1e-30  # float32 represents the inverse of every scale above this
LARGE = 1e150  # float64 represents the square of every value below this
CHANGED = 1e-6  # share of its size by which a constant must differ to count as changed; less is rounding
SHOWN = 5
AGAIN = "import again with --replace"


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """values -> (n, width) float32: (value - mean) / scale for numbers, 0 or 1 for each category, 0 for missing.

    A `dropped` column was constant in training: it has no prepared columns, and is decoded as its constant.
    """

    columns: tuple[Column, ...]
    mean: npt.NDArray[np.float64]  # (n_columns,), 0 where categorical; the constant of a dropped column
    scale: npt.NDArray[np.float64]  # (n_columns,), 1 where categorical
    dropped: Mask  # (n_columns,)
    seen: Mask  # (categories of all columns,) whether a training record has it
    missing: npt.NDArray[np.float64] | None = None  # (n_columns,) share of the training records; None in older models

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """The slice of each column in the prepared matrix."""
        widths = [1 if c.categories is None else len(c.categories) for c in self.columns]
        ends = np.cumsum(np.where(self.dropped, 0, widths)).tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))

    @cached_property
    def seen_of(self) -> tuple[Mask, ...]:
        """For each column, which of its categories were seen in training; empty for numbers."""
        sizes = [0 if column.categories is None else len(column.categories) for column in self.columns]
        return tuple(np.split(self.seen, np.cumsum(sizes)[:-1]))

    @property
    def width(self) -> int:
        return self.blocks[-1].stop

    @cached_property
    def straight(self) -> bool:
        """Whether the prepared columns are the original columns: all numeric, none dropped."""
        return all(column.categories is None for column in self.columns) and not self.dropped.any()

    def apply(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(n, n_columns) float32 or float64 -> (n, width) float32. InputError for an infinity or another width."""
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise InputError(f"expected rows of {len(self.columns)} columns, got shape {values.shape}", loc=("values",))
        with np.errstate(all="ignore"):
            is_finite = bool(np.isfinite(values.sum()))  # one pass: the sum is finite only if every value is
        if not is_finite:
            check_finite(self.columns, values)
        scaled = self._scaled(values)
        if not is_finite:
            scaled[np.isnan(scaled)] = 0
        if self.straight:
            return scaled
        out = np.zeros((len(values), self.width), np.float32)
        for at, (column, block) in enumerate(zip(self.columns, self.blocks, strict=True)):
            if self.dropped[at]:
                continue
            if column.categories is None:
                out[:, block.start] = scaled[:, at]
                continue
            rows = np.flatnonzero(values[:, at] < len(column.categories))  # False for missing (NaN) and unseen ones
            out[rows, block.start + values[rows, at].astype(np.int64)] = 1
        return out

    def unseen(self, values: npt.NDArray[np.floating]) -> Mask:
        """(n, n_columns) whether a cell is unseen: an infinity, or a category that no training record had."""
        mask = np.isinf(values)
        for at, seen in enumerate(self.seen_of):
            if len(seen):
                rows = np.flatnonzero(~np.isnan(values[:, at]))
                categories = values[rows, at].astype(np.int64)
                mask[rows, at] = ~np.append(seen, False)[np.minimum(categories, len(seen))]
        return mask

    def changed_constants(self, values: npt.NDArray[np.floating]) -> Mask:
        """(n, n_columns) whether a number of a dropped column differs from the constant of the column."""
        mask = np.zeros(values.shape, bool)
        for at in np.flatnonzero(self.dropped):
            if self.columns[at].categories is None:
                change = np.abs(values[:, at] - self.mean[at])
                mask[:, at] = np.isfinite(change) & (change > CHANGED * max(abs(self.mean[at]), CHANGED))
        return mask

    def state(self) -> dict[str, npt.NDArray]:
        arrays: dict[str, npt.NDArray] = {"mean": self.mean, "scale": self.scale}
        arrays |= {"dropped": self.dropped.astype(np.uint8), "seen": self.seen.astype(np.uint8)}
        return arrays if self.missing is None else arrays | {"missing": self.missing}

    def _scaled(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(value - mean) / scale; in float32 if the input is float32 and the means do not lose precision."""
        is_exact = (np.abs(self.mean) / MAX_FLOAT32_MEAN < self.scale) & (self.scale > SMALL)
        with np.errstate(over="ignore"):
            if values.dtype == np.float32 and is_exact.all():
                scaled = values - self.mean.astype(np.float32)
                scaled *= (1 / self.scale).astype(np.float32)
            else:
                scaled = ((values - self.mean) / self.scale).astype(np.float32)
        return np.clip(scaled, -MAX_SCALED, MAX_SCALED, out=scaled)

    def invert(self, prepared: Matrix) -> Values:
        """(n, width) -> (n, n_columns) values: the most likely category, numbers in their own unit."""
        out = np.empty((len(prepared), len(self.columns)))
        for at, (column, block) in enumerate(zip(self.columns, self.blocks, strict=True)):
            if self.dropped[at]:
                out[:, at] = self.mean[at]
            elif column.categories is None:
                out[:, at] = prepared[:, block.start].astype(np.float64) * self.scale[at] + self.mean[at]
            else:
                out[:, at] = prepared[:, block].argmax(axis=1)
        return out

    def by_column(self, squared: Matrix) -> Matrix:
        """(n, width) squared differences summed to (n, n_columns); 0 for dropped columns."""
        if self.straight:
            return squared
        present = ~self.dropped
        out = np.zeros((len(squared), len(self.columns)), np.float32)
        starts = [block.start for block, is_present in zip(self.blocks, present, strict=True) if is_present]
        out[:, present] = np.add.reduceat(squared, starts, axis=1)
        return out


def fit(features: Features, *, keep_constant: bool = False) -> Preprocessing:
    """Fit means and scales to the records.

    A constant column is dropped unless `keep_constant`, or it has a unit: a border of black pixels is kept. Raises
    InputError for fewer than 2 records, an infinity, a column without values, and if all columns are constant.
    """
    if len(features) < 2:
        raise InputError(f"expected at least 2 records to learn from, got {len(features)}")
    values, columns = features.values, features.columns
    check_finite(columns, values)
    has_values = np.asarray((~np.isnan(values)).any(axis=0))
    empty = [column.name for column, any_value in zip(columns, has_values, strict=True) if not any_value]
    if empty:
        raise InputError(f"{_names(empty)} no value in any record to learn from; {AGAIN} --ignore {empty[0]}")
    mean, spread = _mean_and_spread(values)
    flat = np.asarray(spread <= FLAT * np.maximum(np.abs(mean), 1e-300))
    if flat.all():
        raise InputError("every column is constant; there is nothing to learn")
    dropped = flat & np.array([column.unit is None and not keep_constant for column in columns])
    numeric = np.array([column.categories is None for column in columns])
    scale = np.where(numeric & ~flat, spread, 1.0)
    for unit in {column.unit for column in columns} - {None}:
        shared = np.array([column.unit == unit for column in columns])
        scale[shared] = max(float(np.sqrt(np.mean(spread[shared] ** 2))), FLAT)
    centre, missing = np.where(numeric | dropped, mean, 0.0), np.isnan(values).mean(axis=0)
    return Preprocessing(columns, centre, scale, dropped, _seen(columns, values), missing)


def restore(columns: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.NDArray]) -> Preprocessing:
    """Restore from `state()`. Older models have no `dropped`, `seen` and `missing`."""
    known = tuple(column_from_json(each) for each in columns)
    n_categories = sum(len(column.categories or ()) for column in known)
    dropped = arrays.get("dropped", np.zeros(len(known), bool)).astype(bool)
    seen = arrays.get("seen", np.ones(n_categories, bool)).astype(bool)
    return Preprocessing(known, arrays["mean"], arrays["scale"], dropped, seen, arrays.get("missing"))


def dropped_message(preprocessing: Preprocessing) -> str | None:
    """A sentence that names the dropped columns; None if there are none."""
    names = [preprocessing.columns[at].name for at in np.flatnonzero(preprocessing.dropped)]
    if not names:
        return None
    return f"{_names(names)} one value in every record: not learnt from, and restored when a vector is decoded"


def _seen(columns: Sequence[Column], values: Values) -> Mask:
    """(categories of all columns,) whether any record has the category."""
    masks = [np.zeros(0, bool)]
    for at, column in enumerate(columns):
        if column.categories is not None:
            categories = values[~np.isnan(values[:, at]), at].astype(np.int64)
            masks.append(np.bincount(categories, minlength=len(column.categories)) > 0)
    return np.concatenate(masks)


def _mean_and_spread(values: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each column, (n_columns,); columns whose squares overflow are rescaled first."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    largest = np.nanmax(np.abs(values), axis=0)
    rescaled = (largest > LARGE) | ((largest < 1 / LARGE) & (largest > 0))
    if rescaled.any():
        unit = largest[rescaled]
        shares = values[:, rescaled] / unit
        mean[rescaled], spread[rescaled] = np.nanmean(shares, axis=0) * unit, np.nanstd(shares, axis=0) * unit
    return mean, spread


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"column {shown} has" if len(names) == 1 else f"columns {shown}{more} have"
