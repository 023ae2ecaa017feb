"""Vectors: ids and a read-only (n, dim) float32 matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.values.ids import IdMap

Matrix = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)
EPSILON = 1e-12  # in place of a length of zero
MIN_SAFE_LENGTH, MAX_SAFE_LENGTH = 1e-15, 1e15  # lengths whose squares and products float32 holds with room to spare
MAX_QUERY_LENGTH, MAX_ITEM_LENGTH = (
    1e30,
    1e7,
)  # largest lengths of queries and of items where length counts: float32 holds their products


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """A read-only view; the caller's array keeps its own flags."""
    view = array.view()
    view.flags.writeable = False
    return view


def row_lengths(matrix: Matrix) -> npt.NDArray[np.float64]:
    """(n,) of the rows, right for every finite float32: where its squares leave float32, in float64."""
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
    far = ~((squares > MIN_SAFE_LENGTH**2) & (squares < MAX_SAFE_LENGTH**2))
    if far.any():
        squares[far] = (matrix[far].astype(np.float64) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(squares))


def normalise_rows(matrix: Matrix) -> Matrix:
    """Rows of unit length, (n, dim) float32, however long or short they were; a row of zeros stays one."""
    long = row_lengths(matrix)
    long[long == 0] = 1
    if ((long > MIN_SAFE_LENGTH) & (long < MAX_SAFE_LENGTH)).all():
        return np.asarray(matrix / long.astype(np.float32)[:, None], dtype=np.float32)
    return np.asarray(matrix / long[:, None], dtype=np.float32)


def rescale_extremes(matrix: Matrix) -> Matrix:
    """The same directions, (n, dim): rows too long or short for products are multiplied with a power of two."""
    long = row_lengths(matrix)
    far = (long > 0) & ~((long > MIN_SAFE_LENGTH) & (long < MAX_SAFE_LENGTH))
    if not far.any():
        return matrix
    made = matrix.copy()
    made[far] = np.ldexp(matrix[far].astype(np.float64), -np.frexp(long[far])[1][:, None])
    return made


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


def check_length(vector: Matrix, largest: float, loc: tuple[str | int, ...] = ("vector",)) -> Matrix:
    """The (dim,) vector; InputError where its length says something and is not of 1 / largest to largest."""
    length = float(row_lengths(vector[None])[0])
    if not 1 / largest <= length <= largest:
        raise InputError(
            f"the length of a vector counts here, and its products must fit float32: expected a length of "
            f"{1 / largest:.0e} to {largest:.0e}, got {length:.1e}; scale the vector",
            loc=loc,
        )
    return vector


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
