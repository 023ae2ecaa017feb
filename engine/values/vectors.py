"""Vectors: ids with a read-only (n, dim) float32 matrix, their lengths, and the checks of vectors from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.values.ids import IdMap

Matrix = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)
EPSILON = 1e-12  # replaces a length of zero in divisions
MIN_SAFE_LENGTH, MAX_SAFE_LENGTH = 1e-15, 1e15  # squares and products of such lengths stay well within float32
MAX_QUERY_LENGTH, MAX_ITEM_LENGTH = 1e30, 1e7  # under the inner product; float32 holds the product of the two


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """A read-only view; the caller's array stays writeable."""
    view = array.view()
    view.flags.writeable = False
    return view


def row_lengths(matrix: Matrix) -> npt.NDArray[np.float64]:
    """(n,) Euclidean lengths of the rows; rows whose squares overflow or underflow float32 are computed in float64."""
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
    is_extreme = ~((squares > MIN_SAFE_LENGTH**2) & (squares < MAX_SAFE_LENGTH**2))
    if is_extreme.any():
        squares[is_extreme] = (matrix[is_extreme].astype(np.float64) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(squares))


def normalise_rows(matrix: Matrix) -> Matrix:
    """Rows scaled to unit length, (n, dim) float32; a zero row stays zero."""
    lengths = row_lengths(matrix)
    lengths[lengths == 0] = 1
    if ((lengths > MIN_SAFE_LENGTH) & (lengths < MAX_SAFE_LENGTH)).all():
        return np.asarray(matrix / lengths.astype(np.float32)[:, None], dtype=np.float32)
    return np.asarray(matrix / lengths[:, None], dtype=np.float32)


def rescale_extremes(matrix: Matrix) -> Matrix:
    """The same directions, (n, dim); rows too long or too short for safe products are scaled by a power of two."""
    lengths = row_lengths(matrix)
    is_extreme = (lengths > 0) & ~((lengths > MIN_SAFE_LENGTH) & (lengths < MAX_SAFE_LENGTH))
    if not is_extreme.any():
        return matrix
    rescaled = matrix.copy()
    rescaled[is_extreme] = np.ldexp(matrix[is_extreme].astype(np.float64), -np.frexp(lengths[is_extreme])[1][:, None])
    return rescaled


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
    """Return `values` as one (dim,) float32 vector; InputError for a wrong dimension, NaN, infinity or zero length."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # OverflowError: an integer beyond float64
        raise InputError("a vector is a list of numbers", loc=loc) from None
    if vector.ndim != 1 or len(vector) != dim:
        raise InputError(f"expected {dim} dimensions, got shape {vector.shape}", loc=loc)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinity, which is rejected below
        narrow = vector.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InputError("a vector has only finite float32 numbers, got NaN or infinity", loc=loc)
    if not narrow.any():
        raise InputError("a zero vector has no direction to search in", loc=loc)
    return narrow


def check_length(vector: Matrix, largest: float, loc: tuple[str | int, ...] = ("vector",)) -> Matrix:
    """Return the (dim,) vector if its length is in [1 / largest, largest]; else InputError. For the inner product."""
    length = float(row_lengths(vector[None])[0])
    if not 1 / largest <= length <= largest:
        raise InputError(
            f"this model ranks by inner product, whose values must fit float32: expected a length of "
            f"{1 / largest:.0e} to {largest:.0e}, got {length:.1e}; scale the vector",
            loc=loc,
        )
    return vector


def check_vectors(values: object, dim: int, loc: tuple[str | int, ...] = ("vectors",)) -> Matrix:
    """Return `values` as (n, dim) float32; InputError for a wrong dimension, NaN or infinity. Zero rows are allowed."""
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
