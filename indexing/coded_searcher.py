"""CodedSearcher: `CodedLists` searched by compiled loops, with exact search where that reads less.

As `ApproximateSearcher` does with lists of FAISS, in half of its time; with a filter, lists are read by what they hold
of it, for which `probing` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.recommend import Found, Mask
from engine.vectors import Matrix
from indexing.approximate import FEWER, completed
from indexing.coded import CodedLists, Rows, coded, unwritable
from indexing.exact import ExactSearcher
from indexing.probing import FEW
from indexing.remembered import Remembered
from indexing.strategy import went

MORE = 0.5  # of k, scored in float32 beside the best k by code; a quarter loses .001 of recall
LEAST_MORE = 10
# Rows of a list that are read in the time of one that is picked out of the whole matrix: 57 of 8 dimensions, 13 of 64,
# 5 of 256, 3 to 6 of 1,024 and more; nearly these and so many more for each dimension.
PICKED, PICKED_OF_ONE = 4, 500
EVERYTHING = unwritable(np.empty(0, bool))


@dataclass(frozen=True, eq=False)
class Filter:
    """What a mask means for these lists."""

    matching: int
    allowed: Mask
    wanted: int  # allowed rows that the lists read have to hold
    held: Rows  # allowed rows of each list
    subset: Rows | None = None  # few rows: to be searched exactly


@dataclass(frozen=True, eq=False)
class CodedSearcher:
    """The `effort` nearest lists of `index` over `vectors` are read. Scores are true ones."""

    index: CodedLists
    vectors: Matrix  # (n, dim) raw, perhaps memory-mapped
    effort: int
    factors: Matrix | None = None  # as for ExactSearcher
    filters: bool = True  # False: they failed their test here, so that a filtered search is exact
    _made: Remembered[Filter] = field(default_factory=Remembered)

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
        if self._width(k) >= len(self.vectors) // 2:
            went("exact")
            return self.exact.search(queries, k, allowed)
        if allowed is None:
            went("ann")
            return completed(self.exact, queries, k, None, k, self._scanned(queries, k, None))
        asked = self.plan(allowed)
        if asked.subset is not None:
            went("subset")
            return self.exact.among(queries, k, asked.subset)
        went("filtered ann")
        found = self._scanned(queries, k, asked)
        return completed(self.exact, queries, k, allowed, min(k, asked.matching), found)

    def raw(self, queries: Matrix, k: int, allowed: Mask) -> Found:
        """What the lists themselves find."""
        return self._scanned(queries, k, self._of_lists(allowed))

    def plan(self, allowed: Mask) -> Filter:
        """How to search with a mask; kept with masks that cannot be written to."""
        return self._made.get(allowed, self._fresh)

    def _fresh(self, allowed: Mask) -> Filter:
        asked = self._of_lists(allowed)
        read = asked.wanted * len(self.vectors) / max(asked.matching, 1)
        if self.filters and asked.matching * (PICKED + PICKED_OF_ONE / self.vectors.shape[1]) > read:
            return asked
        return Filter(asked.matching, asked.allowed, 0, asked.held, subset=np.flatnonzero(asked.allowed))

    def _of_lists(self, allowed: Mask) -> Filter:
        allowed = unwritable(allowed[: len(self.vectors)])
        held = unwritable(np.bincount(self.index.list_of[allowed], minlength=self.index.nlist))
        matching = int(held.sum())
        share = matching / len(self.vectors)
        wanted = math.ceil(self.effort * len(self.vectors) / self.index.nlist * share**FEWER)
        return Filter(matching, allowed, wanted, held)

    def _scanned(self, queries: Matrix, k: int, asked: Filter | None) -> Found:
        flags = queries.flags
        if queries.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):  # see `unwritable`
            queries = np.array(queries, np.float32, order="C")
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"expected queries of {self.vectors.shape[1]} dimensions, got {queries.shape[1]}")
        width, nlist = self._width(k), self.index.nlist
        if asked is None:
            n_lists = max(self.effort, math.ceil(2 * width * nlist / len(self.vectors)))
            read = (self.index.sizes, n_lists, 0, EVERYTHING)
        else:
            n_held = max(asked.wanted, 2 * width)
            read = (asked.held, 2 * math.ceil(n_held * nlist / max(asked.matching, 1)) + FEW, n_held, asked.allowed)
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        search, arrays = self._loop
        search(queries, *arrays, *read, k, width, scores, rows)
        return scores, rows

    @cached_property
    def _loop(self) -> tuple[Callable[..., None], tuple[npt.NDArray, ...]]:
        """The compiled search and what it reads of every query."""
        from indexing import scan  # numba is for those who search such lists

        factors = np.empty(0, np.float32) if self.factors is None else self.factors
        return scan.search, (*self.index.state().values(), self.vectors, unwritable(factors))

    def _width(self, k: int) -> int:
        """How many are scored in float32 for k."""
        return k + max(int(MORE * k), LEAST_MORE)


def compile_loops() -> None:
    """Or have them read from where they were kept: seconds that a first search would take longer."""
    vectors = np.eye(4, dtype=np.float32).repeat(16, axis=0)
    CodedSearcher(coded(vectors, None, vectors[::16]), vectors, effort=1).search(vectors[:1], 1)
