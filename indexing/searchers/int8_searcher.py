"""Int8Searcher: searches `Int8Lists` with compiled loops, or the allowed rows exactly where that reads less.

It does what `ApproximateSearcher` does with FAISS lists, in half of the time. `probing` explains which lists a filtered
search reads.
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
from indexing.searchers.approximate import search_planned
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import Int8Lists, Rows, build_int8_lists, read_only_contiguous
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.probing import allowed_per_list, allowed_rows_to_read, expected_lists
from indexing.searchers.recall import RECALL_K
from indexing.searchers.search_strategy import record_strategy

# Rows of a list that are read in the time that one row picked from the whole matrix takes: 57 at 8 dimensions, 13 at
# 64, 5 at 256, 3 to 6 at 1,024 and more. GATHER_COST + GATHER_COST_PER_DIM / dim fits these.
GATHER_COST, GATHER_COST_PER_DIM = 4, 500
DEPTH_POWER = 0.3  # for k beyond RECALL_K, the number of lists grows with this power of k
MIN_ROWS_PER_K = 8  # rows that the lists read must hold, per k
PARALLEL_QUERIES = 64  # from so many queries on, threads share them in parts of this size
NO_MASK = read_only_contiguous(np.empty(0, bool))


@dataclass(frozen=True, eq=False)
class Int8Plan:
    """How to search these lists with a mask."""

    matching: int
    allowed: Mask
    n_to_read: int  # allowed rows that the lists read must hold
    per_list: Rows  # allowed rows of each list
    subset: Rows | None = None  # search these exactly instead of the lists


@dataclass(frozen=True, eq=False)
class Int8Searcher:
    """Reads the `effort` nearest lists of `index` over `vectors`. Returns true scores."""

    index: Int8Lists
    vectors: Matrix  # (n, dim) raw, perhaps memory-mapped
    effort: int
    factors: Matrix | None = None  # as for ExactSearcher
    filters: bool = True  # False: the filter self-test failed, so a filtered search is exact
    _plans: MaskCache[Int8Plan] = field(default_factory=MaskCache)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", read_only_contiguous(np.asarray(self.vectors, dtype=np.float32)))

    @cached_property
    def exact(self) -> ExactSearcher:
        return ExactSearcher(self.vectors, self.factors)

    @property
    def exact_reference(self) -> ExactSearcher:
        """Exact search over the same vectors; recall is measured against it."""
        return self.exact

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        if MIN_ROWS_PER_K * k >= len(self.vectors):
            record_strategy("exact")
            return self.exact.search(queries, k, allowed)
        return search_planned(self.exact, queries, k, allowed, self.plan, lambda plan: self._scan(queries, k, plan))

    def search_only_index(self, queries: Matrix, k: int, allowed: Mask) -> Found:
        """The filtered answer of the lists alone."""
        return self._scan(queries, k, self._plan_of_lists(allowed))

    def plan(self, allowed: Mask) -> Int8Plan:
        """How to search with a mask; cached for read-only masks."""
        return self._plans.get(allowed, self._new_plan)

    def _new_plan(self, allowed: Mask) -> Int8Plan:
        plan = self._plan_of_lists(allowed)
        # rows that are read from the lists for each allowed row
        rows_per_allowed = self.index.sizes[plan.per_list > 0].sum() / max(plan.matching, 1)
        gather_cost = GATHER_COST + GATHER_COST_PER_DIM / self.vectors.shape[1]
        if self.filters and plan.matching * gather_cost > plan.n_to_read * rows_per_allowed:
            return plan
        return Int8Plan(plan.matching, plan.allowed, 0, plan.per_list, subset=np.flatnonzero(plan.allowed))

    def _plan_of_lists(self, allowed: Mask) -> Int8Plan:
        allowed = read_only_contiguous(np.asarray(allowed[: len(self.vectors)], bool))
        per_list = read_only_contiguous(allowed_per_list(allowed, self.index.list_of, self.index.sizes))
        n_unfiltered = self.effort * len(self.vectors) / self.index.nlist
        n_to_read = allowed_rows_to_read(n_unfiltered, per_list, self.index.sizes)
        return Int8Plan(int(per_list.sum()), allowed, n_to_read, per_list)

    def _scan(self, queries: Matrix, k: int, plan: Int8Plan | None) -> Found:
        flags = queries.flags
        if queries.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):  # as compiled, see int8_lists
            queries = np.array(queries, np.float32, order="C")
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"expected queries of {self.vectors.shape[1]} dimensions, got {queries.shape[1]}")
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        (search, arrays), limits = self._compiled, self._limits(k, plan)

        def search_part(part: slice) -> None:
            search(queries[part], *arrays, limits, k, scores[part], rows[part])

        if len(queries) < PARALLEL_QUERIES or (threads := faiss.omp_get_max_threads()) == 1:
            search_part(slice(None))
        else:
            starts = range(0, len(queries), PARALLEL_QUERIES)
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(search_part, (slice(start, start + PARALLEL_QUERIES) for start in starts)))
        return scores, rows

    @property
    def compiled_arrays(self) -> tuple[tuple[npt.NDArray, ...], Matrix, Matrix]:
        """The arrays that a compiled search reads: lists, vectors and factors."""
        return self._compiled[1]

    def _limits(self, k: int, plan: Int8Plan | None) -> tuple[Rows, int, int, Mask]:
        """The `limits` of `int8_scan.search`: rows of each list, lists to read, rows to read, mask."""
        depth = max(k / RECALL_K, 1) ** DEPTH_POWER
        rows_per_list = len(self.vectors) / self.index.nlist
        if plan is None:
            n_lists = math.ceil(max(self.effort * depth, MIN_ROWS_PER_K * k / rows_per_list))
            return self.index.sizes, n_lists, 0, NO_MASK
        n_to_read = math.ceil(max(plan.n_to_read * depth, MIN_ROWS_PER_K * k))
        return plan.per_list, expected_lists(n_to_read, plan.matching, self.index.nlist), n_to_read, plan.allowed

    @cached_property
    def _compiled(self) -> tuple[Callable[..., None], tuple[tuple[npt.NDArray, ...], Matrix, Matrix]]:
        """The compiled search and the arrays that every query reads."""
        from indexing.searchers import int8_scan  # imports numba, which only a search of int8 lists needs

        index, factors = self.index, np.empty(0, np.float32) if self.factors is None else self.factors
        lists = (index.centroids, index.starts, index.codes, index.scales, index.ids)
        return int8_scan.search, (lists, self.vectors, read_only_contiguous(factors))


def compile_loops() -> None:
    """Compile the loops (seconds) or load them from the disk cache (a second), so that the first search is fast."""
    vectors = np.eye(4, dtype=np.float32).repeat(16, axis=0)
    Int8Searcher(build_int8_lists(vectors, None, vectors[::16]), vectors, effort=1).search(vectors[:1], 1)
