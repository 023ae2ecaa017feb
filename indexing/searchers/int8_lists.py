"""CodedLists: an inverted file whose lists hold each row's difference from their centroid in 8-bit numbers.

The same lists as those of a FAISS IVF index. What a row differs by is small, so that 8 bits keep the order of all but
neighbours, and the best half as many again as are asked for, scored once more in float32, hold the true ones. 32 rows
lie together, dimension pair by dimension pair, as `products` reads them.
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

TOGETHER = 32  # rows
LARGEST = 127
STEP_BYTES = 2**25  # of the float32 rows that are coded at a time
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CodedLists:
    """Read-only arrays, perhaps memory-mapped; a list begins at a whole block and fills its last one with row -1."""

    centroids: Matrix  # (blocks of lists, columns, 32) float32; columns: the dimensions made even
    starts: Rows  # (nlist + 1,) the first block of each list
    codes: npt.NDArray[np.int8]  # (blocks, columns / 2, 32, 2)
    scales: Matrix  # (blocks, 32) float32: what a code times this is, is what the row differs by
    ids: npt.NDArray[np.int32]  # (blocks x 32,)

    def __post_init__(self) -> None:
        for name, array in self.state().items():
            object.__setattr__(self, name, unwritable(array))

    @property
    def nlist(self) -> int:
        return len(self.starts) - 1

    def state(self) -> Mapping[str, npt.NDArray]:
        return {name: getattr(self, name) for name in ("centroids", "starts", "codes", "scales", "ids")}

    def check(self, n_rows: int, dim: int) -> None:
        """CorruptGeneration where these are not lists of so many vectors: loops would read what is not there."""
        blocks, columns, _ = self.centroids.shape
        rows = self.ids[self.ids >= 0]
        whole = (
            columns == dim + dim % 2
            and blocks == -(-self.nlist // TOGETHER)
            and self.codes.shape == (self.starts[-1], columns // 2, TOGETHER, 2)
            and self.scales.shape == (len(self.codes), TOGETHER)
            and len(self.ids) == self.scales.size
            and (np.diff(self.starts, prepend=0) >= 0).all()
            and len(rows) == n_rows
            and (np.bincount(rows, minlength=n_rows) == 1).all()
        )
        if not whole:
            raise CorruptGeneration(f"expected lists of {n_rows} vectors of {dim} dimensions, got others")

    def list_centroids(self, dim: int) -> Matrix:
        """(nlist, dim), as they were given."""
        return self.centroids.transpose(0, 2, 1).reshape(-1, self.centroids.shape[1])[: self.nlist, :dim]

    @cached_property
    def sizes(self) -> Rows:
        """Rows of each list, (nlist,)."""
        return unwritable(np.bincount(self.list_of, minlength=self.nlist))

    @cached_property
    def list_of(self) -> npt.NDArray[np.int32]:
        """The list of each row, (n_rows,)."""
        there = self.ids >= 0
        made = np.empty(int(there.sum()), np.int32)
        blocks = np.repeat(np.arange(self.nlist, dtype=np.int32), np.diff(self.starts))
        made[self.ids[there]] = np.repeat(blocks, TOGETHER)[there]
        return made


def unwritable(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """A contiguous view that cannot be written to: loops are compiled for each kind of array, so there is but one."""
    return read_only(np.ascontiguousarray(array))


def coded(vectors: Matrix, factors: Matrix | None, centroids: Matrix) -> CodedLists:
    """Each row of `vectors` x `factors`, (n, dim), in the list of that of `centroids`, (nlist, dim), it suits best."""
    list_of = _assigned(vectors, factors, centroids)
    sizes = np.bincount(list_of, minlength=len(centroids))
    starts = np.concatenate([[0], np.cumsum(-(-sizes // TOGETHER))])
    ids = _in_lists(list_of, sizes, starts)
    columns = vectors.shape[1] + vectors.shape[1] % 2
    codes = np.empty((len(ids) // TOGETHER, columns // 2, TOGETHER, 2), np.int8)
    scales = np.empty((len(codes), TOGETHER), np.float32)
    step = max(1, STEP_BYTES // (4 * columns * TOGETHER))
    for first in range(0, len(codes), step):
        part = slice(first, first + step)
        rows = ids[first * TOGETHER : (first + step) * TOGETHER]
        there = rows >= 0
        among = rows[there]
        block = scale(vectors[among], None if factors is None else factors[among])
        differences = np.zeros((len(rows), columns), np.float32)
        differences[there, : vectors.shape[1]] = block - centroids[list_of[among]]
        units = np.maximum(np.abs(differences).max(axis=1), TINY) / LARGEST
        numbers = np.rint(differences / units[:, None]).astype(np.int8)
        codes[part] = numbers.reshape(-1, TOGETHER, columns // 2, 2).transpose(0, 2, 1, 3)
        scales[part] = units.reshape(-1, TOGETHER)
    return CodedLists(_in_blocks(centroids, columns), starts, codes, scales, ids)


def _in_lists(list_of: npt.NDArray[np.int32], sizes: Rows, starts: Rows) -> npt.NDArray[np.int32]:
    """(blocks x 32,) the rows, list by list, -1 in what is left of a list's last block."""
    made = np.full(int(starts[-1]) * TOGETHER, -1, np.int32)
    before = np.cumsum(sizes) - sizes
    places = np.arange(len(list_of)) + np.repeat(starts[:-1] * TOGETHER - before, sizes)
    made[places] = np.argsort(list_of, kind="stable")
    return made


def _assigned(vectors: Matrix, factors: Matrix | None, centroids: Matrix) -> npt.NDArray[np.int32]:
    """(n,) the centroid with the largest product with each row."""
    quantizer = faiss.IndexFlatIP(centroids.shape[1])
    quantizer.add(np.ascontiguousarray(centroids))
    made = np.empty(len(vectors), np.int32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        block = scale(vectors[part], None if factors is None else factors[part])
        made[part] = np.maximum(quantizer.search(block, 1)[1][:, 0], 0)  # -1 for what is no number
    return made


def _in_blocks(centroids: Matrix, columns: int) -> Matrix:
    """(blocks, columns, 32), what is left over zero."""
    nlist, dim = centroids.shape
    made = np.zeros((-(-nlist // TOGETHER) * TOGETHER, columns), np.float32)
    made[:nlist, :dim] = centroids
    return np.ascontiguousarray(made.reshape(-1, TOGETHER, columns).transpose(0, 2, 1))
