"""Int8Lists: an inverted file whose lists store each row as its difference from the list's centroid, in 8-bit codes.

The lists are the lists of a FAISS IVF index. The differences are small, so 8 bits preserve the order of all but close
neighbours: half as many rows again as were asked for, scored once more in float32, contain the true best. A block of 32
rows is stored dimension pair by dimension pair, as `simd_products` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
import numpy.typing as npt

from engine.errors import CorruptGeneration
from engine.values.vectors import Matrix, Scalar, read_only
from indexing.searchers.metric import BLOCK, TINY, scale

BLOCK_ROWS = 32
LARGEST = 127
STEP_BYTES = 2**25  # of float32 rows that are encoded at a time
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Int8Lists:
    """Read-only arrays, perhaps memory-mapped. A list starts at a whole block and pads its last block with row -1."""

    centroids: Matrix  # (blocks of lists, columns, 32) float32; columns: dimensions, rounded up to an even number
    starts: Rows  # (nlist + 1,) the first block of each list
    codes: npt.NDArray[np.int8]  # (blocks, columns / 2, 32, 2)
    scales: Matrix  # (blocks, 32) float32: difference from the centroid = code x scale
    ids: npt.NDArray[np.int32]  # (blocks x 32,)

    def __post_init__(self) -> None:
        for name, array in self.state().items():
            object.__setattr__(self, name, read_only_contiguous(array))

    @property
    def nlist(self) -> int:
        return len(self.starts) - 1

    def state(self) -> Mapping[str, npt.NDArray]:
        return {name: getattr(self, name) for name in ("centroids", "starts", "codes", "scales", "ids")}

    def check(self, n_rows: int, dim: int) -> None:
        """CorruptGeneration unless these are lists of `n_rows` vectors; the compiled loops do not check bounds."""
        blocks, columns, _ = self.centroids.shape
        rows = self.ids[self.ids >= 0]
        consistent = (
            columns == dim + dim % 2
            and blocks == -(-self.nlist // BLOCK_ROWS)
            and self.codes.shape == (self.starts[-1], columns // 2, BLOCK_ROWS, 2)
            and self.scales.shape == (len(self.codes), BLOCK_ROWS)
            and len(self.ids) == self.scales.size
            and (np.diff(self.starts, prepend=0) >= 0).all()
            and len(rows) == n_rows
            and (np.bincount(rows, minlength=n_rows) == 1).all()
        )
        if not consistent:
            raise CorruptGeneration(f"expected lists of {n_rows} vectors of {dim} dimensions, got others")

    def list_centroids(self, dim: int) -> Matrix:
        """(nlist, dim) the centroids that the lists were built with."""
        return self.centroids.transpose(0, 2, 1).reshape(-1, self.centroids.shape[1])[: self.nlist, :dim]

    @cached_property
    def sizes(self) -> Rows:
        """(nlist,) rows in each list."""
        return read_only_contiguous(np.bincount(self.list_of, minlength=self.nlist))

    @cached_property
    def list_of(self) -> npt.NDArray[np.int32]:
        """(n_rows,) the list of each row."""
        used = self.ids >= 0
        list_of = np.empty(int(used.sum()), np.int32)
        blocks = np.repeat(np.arange(self.nlist, dtype=np.int32), np.diff(self.starts))
        list_of[self.ids[used]] = np.repeat(blocks, BLOCK_ROWS)[used]
        return list_of


def read_only_contiguous(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """A contiguous read-only view. Numba compiles a loop for each array type, so every caller passes this one type."""
    return read_only(np.ascontiguousarray(array))


def build_int8_lists(vectors: Matrix, factors: Matrix | None, centroids: Matrix) -> Int8Lists:
    """Put each row of `vectors` x `factors`, (n, dim), into the list of its best centroid of (nlist, dim)."""
    list_of = _assign(vectors, factors, centroids)
    sizes = np.bincount(list_of, minlength=len(centroids))
    starts = np.concatenate([[0], np.cumsum(-(-sizes // BLOCK_ROWS))])
    ids = _ids_by_list(list_of, sizes, starts)
    columns = vectors.shape[1] + vectors.shape[1] % 2
    codes = np.empty((len(ids) // BLOCK_ROWS, columns // 2, BLOCK_ROWS, 2), np.int8)
    scales = np.empty((len(codes), BLOCK_ROWS), np.float32)
    step = max(1, STEP_BYTES // (4 * columns * BLOCK_ROWS))
    for first in range(0, len(codes), step):
        part = slice(first, first + step)
        rows = ids[first * BLOCK_ROWS : (first + step) * BLOCK_ROWS]
        used = rows >= 0
        used_rows = rows[used]
        block = scale(vectors[used_rows], None if factors is None else factors[used_rows])
        differences = np.zeros((len(rows), columns), np.float32)
        differences[used, : vectors.shape[1]] = block - centroids[list_of[used_rows]]
        units = np.maximum(np.abs(differences).max(axis=1), TINY) / LARGEST
        numbers = np.rint(differences / units[:, None]).astype(np.int8)
        codes[part] = numbers.reshape(-1, BLOCK_ROWS, columns // 2, 2).transpose(0, 2, 1, 3)
        scales[part] = units.reshape(-1, BLOCK_ROWS)
    return Int8Lists(_centroid_blocks(centroids, columns), starts, codes, scales, ids)


def _ids_by_list(list_of: npt.NDArray[np.int32], sizes: Rows, starts: Rows) -> npt.NDArray[np.int32]:
    """(blocks x 32,) the rows, list by list; -1 pads the last block of each list."""
    ids = np.full(int(starts[-1]) * BLOCK_ROWS, -1, np.int32)
    before = np.cumsum(sizes) - sizes
    positions = np.arange(len(list_of)) + np.repeat(starts[:-1] * BLOCK_ROWS - before, sizes)
    ids[positions] = np.argsort(list_of, kind="stable")
    return ids


def _assign(vectors: Matrix, factors: Matrix | None, centroids: Matrix) -> npt.NDArray[np.int32]:
    """(n,) the centroid with the largest product with each row."""
    quantizer = faiss.IndexFlatIP(centroids.shape[1])
    quantizer.add(np.ascontiguousarray(centroids))
    list_of = np.empty(len(vectors), np.int32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        block = scale(vectors[part], None if factors is None else factors[part])
        list_of[part] = np.maximum(quantizer.search(block, 1)[1][:, 0], 0)  # FAISS returns -1 for NaN
    return list_of


def _centroid_blocks(centroids: Matrix, columns: int) -> Matrix:
    """(blocks, columns, 32), padded with zeros."""
    nlist, dim = centroids.shape
    padded = np.zeros((-(-nlist // BLOCK_ROWS) * BLOCK_ROWS, columns), np.float32)
    padded[:nlist, :dim] = centroids
    return np.ascontiguousarray(padded.reshape(-1, BLOCK_ROWS, columns).transpose(0, 2, 1))
