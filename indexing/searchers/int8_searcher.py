"""CodedSearcher: `CodedLists` searched by compiled loops, or the rows of a filter exactly where that reads less.

As `ApproximateSearcher` does with lists of FAISS, in half of its time. With a filter, lists are read by what they hold
of it, for which `probing` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import faiss
import numpy as np
import numpy.typing as npt

from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.approximate import searched
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import CodedLists, Rows, coded, unwritable
from indexing.searchers.mask_cache import Remembered
from indexing.searchers.probing import likely, rows_to_hold
from indexing.searchers.recall import RECALL_K
from indexing.searchers.search_strategy import went

# Rows of a list that are read in the time of one that is picked out of the whole matrix: 57 of 8 dimensions, 13 of 64,
# 5 of 256, 3 to 6 of 1,024 and more; nearly these and so many more for each dimension.
PICKED, PICKED_OF_ONE = 4, 500
DEEPER = 0.3  # power of k by which more lists are read for more than the effort was found for
ROWS_OF_K = 8  # that lists have to hold, at least
SHARED = 64  # queries that are shared out among threads
EVERYTHING = unwritable(np.empty(0, bool))


@dataclass(frozen=True, eq=False)
class Filtered:
    """How to search these lists with a mask."""

    matching: int
    allowed: Mask
    n_held: int  # allowed rows that the lists read have to hold
    held: Rows  # allowed rows of each list
    subset: Rows | None = None  # to be searched exactly in place of the lists


@dataclass(frozen=True, eq=False)
class CodedSearcher:
    """The `effort` nearest lists of `index` over `vectors` are read. Scores are true ones."""

    index: CodedLists
    vectors: Matrix  # (n, dim) raw, perhaps memory-mapped
    effort: int
    factors: Matrix | None = None  # as for ExactSearcher
    filters: bool = True  # False: they failed their test here, so that a filtered search is exact
    _made: Remembered[Filtered] = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", unwritable(np.asarray(self.vectors, dtype=np.float32)))

    @cached_property
    def exact(self) -> ExactSearcher:
        return ExactSearcher(self.vectors, self.factors)

    @property
    def exactly(self) -> ExactSearcher:
        """What this one is measured against."""
        return self.exact

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        if ROWS_OF_K * k >= len(self.vectors):
            went("exact")
            return self.exact.search(queries, k, allowed)
        return searched(self.exact, queries, k, allowed, self.plan, lambda asked: self._scanned(queries, k, asked))

    def raw(self, queries: Matrix, k: int, allowed: Mask) -> Found:
        """What the lists themselves find."""
        return self._scanned(queries, k, self._of_lists(allowed))

    def plan(self, allowed: Mask) -> Filtered:
        """How to search with a mask; kept with masks that cannot be written to."""
        return self._made.get(allowed, self._fresh)

    def _fresh(self, allowed: Mask) -> Filtered:
        asked = self._of_lists(allowed)
        of_one = self.index.sizes[asked.held > 0].sum() / max(asked.matching, 1)  # read for each that is allowed
        picked = PICKED + PICKED_OF_ONE / self.vectors.shape[1]
        if self.filters and asked.matching * picked > asked.n_held * of_one:
            return asked
        return Filtered(asked.matching, asked.allowed, 0, asked.held, subset=np.flatnonzero(asked.allowed))

    def _of_lists(self, allowed: Mask) -> Filtered:
        allowed = unwritable(np.asarray(allowed[: len(self.vectors)], bool))
        held = unwritable(np.bincount(self.index.list_of[allowed], minlength=self.index.nlist))
        read = self.effort * len(self.vectors) / self.index.nlist
        return Filtered(int(held.sum()), allowed, rows_to_hold(read, held, self.index.sizes), held)

    def _scanned(self, queries: Matrix, k: int, asked: Filtered | None) -> Found:
        flags = queries.flags
        if queries.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):  # see `unwritable`
            queries = np.array(queries, np.float32, order="C")
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"expected queries of {self.vectors.shape[1]} dimensions, got {queries.shape[1]}")
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        (search, arrays), read = self._loop, self._read(k, asked)

        def part(which: slice) -> None:
            search(queries[which], *arrays, read, k, scores[which], rows[which])

        if len(queries) < SHARED or (threads := faiss.omp_get_max_threads()) == 1:
            part(slice(None))
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, (slice(at, at + SHARED) for at in range(0, len(queries), SHARED))))
        return scores, rows

    def _read(self, k: int, asked: Filtered | None) -> tuple[Rows, int, int, Mask]:
        """What each list holds, how many lists are read and how many rows those have to hold, and what is allowed."""
        deeper = max(k / RECALL_K, 1) ** DEEPER
        of_list = len(self.vectors) / self.index.nlist
        if asked is None:
            return self.index.sizes, math.ceil(max(self.effort * deeper, ROWS_OF_K * k / of_list)), 0, EVERYTHING
        n_held = math.ceil(max(asked.n_held * deeper, ROWS_OF_K * k))
        return asked.held, likely(n_held, asked.matching, self.index.nlist), n_held, asked.allowed

    @cached_property
    def _loop(self) -> tuple[Callable[..., None], tuple[tuple[npt.NDArray, ...], Matrix, Matrix]]:
        """The compiled search and what it reads of every query."""
        from indexing.searchers import int8_scan  # numba is for those who search such lists

        index, factors = self.index, np.empty(0, np.float32) if self.factors is None else self.factors
        lists = (index.centroids, index.starts, index.codes, index.scales, index.ids)
        return int8_scan.search, (lists, self.vectors, unwritable(factors))


def compile_loops() -> None:
    """Make the first search as quick as others: loops take seconds to be compiled, and one to be read from disk."""
    vectors = np.eye(4, dtype=np.float32).repeat(16, axis=0)
    CodedSearcher(coded(vectors, None, vectors[::16]), vectors, effort=1).search(vectors[:1], 1)
