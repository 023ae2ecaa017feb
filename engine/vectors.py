"""Vectors: ids and a read-only (n, dim) float32 matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.ids import IdMap

Matrix = npt.NDArray[np.float32]
Kind = TypeVar("Kind", bound=np.generic)
SMALLEST = 1e-12  # in place of a length of zero


def read_only(array: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """A read-only view; the caller's array keeps its own flags."""
    view = array.view()
    view.flags.writeable = False
    return view


def unit(matrix: Matrix) -> Matrix:
    """Rows of unit length, (n, dim); a row of zeros stays one."""
    return np.asarray(matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), SMALLEST), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Vectors:
    ids: IdMap
    matrix: Matrix

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.matrix.dtype != np.float32 or len(self.matrix) != len(self.ids):
            raise InputError(
                f"expected a ({len(self.ids)}, dim) float32 matrix, got {self.matrix.shape} {self.matrix.dtype}"
            )
        object.__setattr__(self, "matrix", read_only(self.matrix))

    @property
    def dim(self) -> int:
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.ids)


def check_vector(values: object, dim: int, loc: tuple[str | int, ...] = ("vector",)) -> Matrix:
    """One (dim,) float32 vector from outside; InputError for a wrong dimension, NaN, infinity or zero length."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # OverflowError: an integer past float64
        raise InputError("a vector is a list of numbers", loc=loc) from None
    if vector.ndim != 1 or len(vector) != dim:
        raise InputError(f"expected {dim} dimensions, got shape {vector.shape}", loc=loc)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        narrow = vector.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InputError("a vector has only finite float32 numbers, got NaN or infinity", loc=loc)
    if not narrow.any():
        raise InputError("a zero vector has no direction to search in", loc=loc)
    return narrow


def check_vectors(values: object, dim: int, loc: tuple[str | int, ...] = ("vectors",)) -> Matrix:
    """(n, dim) float32 vectors from outside; InputError for a wrong dimension, NaN or infinity. Zeros may be."""
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"expected rows of {dim} numbers each", loc=loc) from None
    if matrix.ndim != 2 or matrix.shape[1] != dim:
        raise InputError(f"expected rows of {dim} dimensions, got shape {matrix.shape}", loc=loc)
    with np.errstate(over="ignore"):
        narrow = matrix.astype(np.float32)
    bad = ~np.isfinite(narrow).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"vector {row} has NaN or infinity; expected finite float32 numbers", loc=(*loc, row))
    return narrow
