"""ApproximateSearcher: a FAISS index, with exact search over the allowed rows where a filter is narrow.

Filtered approximate search collapses (HNSW recall 1.0 -> 0.29 at 1% selectivity). A filter that allows few rows is
therefore searched exactly. For a wider filter, an IVF index reads lists by the number of allowed rows in them
(`probing`), and the effort of a graph is multiplied by 1 / selectivity. A query that gets fewer rows than exist is
searched again exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeVar

import faiss
import numpy as np

from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.exact import ExactSearcher, Rows
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.probing import Counts, IvfLists, allowed_rows_to_read
from indexing.searchers.search_strategy import record_strategy

SUBSET_ROWS = 20_000
SUBSET_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class FilterPlan:
    """How to search this index with a mask. Exactly one of `subset` and `selector` is set."""

    matching: int
    subset: Rows | None = None  # few rows: search them exactly
    selector: faiss.IDSelector | None = None
    per_list: Counts | None = None  # allowed rows in each list of an IVF index
    n_to_read: int = 0  # allowed rows to read from the lists


@dataclass(frozen=True, eq=False)
class ApproximateSearcher:
    """`index` over `vectors`; `effort` is nprobe for IVF and efSearch for HNSW. The index is never changed.

    A quantised index estimates scores: its best k x `refine` rows are scored again in float32. `refine` is 0 where the
    scores of the index are true.
    """

    index: faiss.Index
    vectors: Matrix  # raw, perhaps memory-mapped
    effort: int
    factors: Matrix | None = None  # as for ExactSearcher
    refine: int = 0
    filters: bool = True  # False: this index ignores selectors, so a filtered search is exact
    _plans: MaskCache[FilterPlan] = field(default_factory=MaskCache)

    @cached_property
    def exact(self) -> ExactSearcher:
        return ExactSearcher(self.vectors, self.factors)

    @cached_property
    def _unfiltered(self) -> faiss.SearchParameters:
        return search_parameters(self.index, self.effort, None)

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        width = k * self.refine if self.refine else k
        if width >= len(self.vectors) // 2:
            record_strategy("exact")
            return self.exact.search(queries, k, allowed)
        min_effort = width if is_graph(self.index) else 1  # a graph returns at most `effort` rows

        def scan(plan: FilterPlan | None) -> Found:
            if plan is not None:
                return self._filtered(queries, k, plan, min_effort)
            params = self._unfiltered if min_effort <= self.effort else search_parameters(self.index, min_effort, None)
            return self._approximate(queries, k, params)

        return search_planned(self.exact, queries, k, allowed, self.plan, scan)

    def _filtered(self, queries: Matrix, k: int, plan: FilterPlan, min_effort: int) -> Found:
        if self._lists is None or plan.per_list is None:
            effort = max(math.ceil(self.effort * len(self.vectors) / plan.matching), min_effort)
            return self._approximate(queries, k, search_parameters(self.index, effort, plan.selector))
        width = k * max(self.refine, 1)
        return self._refined(
            queries, k, self._lists.search(queries, width, plan.per_list, plan.selector, plan.n_to_read)
        )

    @property
    def exact_reference(self) -> ExactSearcher:
        """Exact search over the same vectors; recall is measured against it."""
        return self.exact

    def plan(self, allowed: Mask) -> FilterPlan:
        """How to search with a mask; cached for read-only masks."""
        return self._plans.get(allowed, self._new_plan)

    def _new_plan(self, allowed: Mask) -> FilterPlan:
        allowed = allowed[: len(self.vectors)]
        matching = int(np.count_nonzero(allowed))
        if not self.filters or matching <= max(SUBSET_ROWS, SUBSET_SHARE * len(allowed)):
            return FilterPlan(matching, subset=np.flatnonzero(allowed))
        if self._lists is None:
            return FilterPlan(matching, selector=bitmap_selector(allowed))
        per_list = self._lists.allowed_per_list(allowed)
        n_unfiltered = self.effort * len(self.vectors) / self.index.nlist
        n_to_read = allowed_rows_to_read(n_unfiltered, per_list, self._lists.sizes)
        return FilterPlan(matching, selector=bitmap_selector(allowed), per_list=per_list, n_to_read=n_to_read)

    @cached_property
    def _lists(self) -> IvfLists | None:
        return IvfLists(self.index, len(self.vectors)) if isinstance(self.index, faiss.IndexIVF) else None

    def _approximate(self, queries: Matrix, k: int, params: faiss.SearchParameters) -> Found:
        return self._refined(queries, k, search_index(self.index, queries, k * max(self.refine, 1), params))

    def _refined(self, queries: Matrix, k: int, found: Found) -> Found:
        """The best k of the rows that the index found, by true score; a quantised index only estimates scores."""
        if not self.refine:
            return found
        rows = found[1]
        scores = self.exact.scores(queries, rows)
        if len(queries) == 1:  # the live path: plain indexing takes a fifth of the time of take_along_axis
            best = (-scores[0]).argsort(kind="stable")[:k]
            return scores[:, best], rows[:, best]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def search_only_index(self, queries: Matrix, k: int, allowed: Mask) -> Found:
        """The filtered answer of the index alone, with estimated scores; RuntimeError if FAISS has no such filter."""
        effort = max(2 * self.effort, 16 * k)
        return self.index.search(queries, k, params=search_parameters(self.index, effort, bitmap_selector(allowed)))


class Plan(Protocol):
    """How to search with a mask: exactly over the rows of `subset`, or by the index for `matching` rows."""

    @property
    def matching(self) -> int: ...
    @property
    def subset(self) -> Rows | None: ...


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def search_planned(
    exact: ExactSearcher,
    queries: Matrix,
    k: int,
    allowed: Mask | None,
    make_plan: Callable[[Mask], AnyPlan],
    scan: Callable[[AnyPlan | None], Found],
) -> Found:
    """Search by `scan`, or exactly over the subset of the plan. `scan` gets None where there is no filter."""
    if allowed is None:
        record_strategy("ann")
        return _complete(exact, queries, k, None, k, scan(None))
    plan = make_plan(allowed)
    if plan.subset is not None:
        record_strategy("subset")
        return exact.search_rows(queries, k, plan.subset)
    record_strategy("filtered ann")
    return _complete(exact, queries, k, allowed, min(k, plan.matching), scan(plan))


def _complete(
    exact: ExactSearcher, queries: Matrix, k: int, allowed: Mask | None, n_expected: int, found: Found
) -> Found:
    """`found`, with an exact answer for each query that got fewer than `n_expected` rows; missing rows come last."""
    scores, rows = found
    # the live path has one query, for which numpy's min takes ten times as long as an index
    if n_expected and (rows[0, n_expected - 1] < 0 if len(rows) == 1 else rows[:, n_expected - 1].min(initial=0) < 0):
        record_strategy("fallback")
        short = np.flatnonzero(rows[:, n_expected - 1] < 0)
        scores[short], rows[short] = exact.search(queries[short], k, allowed)
    return scores, rows


def search_index(index: faiss.Index, queries: Matrix, k: int, params: faiss.SearchParameters) -> Found:
    """`index.search` without the argument checks of its Python wrapper, which take 3 of 15 us of a short search."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.shape[1] != index.d:  # FAISS would read beyond the end of the array
        raise ValueError(f"expected queries of {index.d} dimensions, got {queries.shape[1]}")
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    index.search_c(len(queries), faiss.swig_ptr(queries), k, faiss.swig_ptr(scores), faiss.swig_ptr(rows), params)
    return scores, rows


def is_graph(index: faiss.Index) -> bool:
    return isinstance(index, faiss.IndexHNSW)


def bitmap_selector(allowed: Mask) -> faiss.IDSelector:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def search_parameters(index: faiss.Index, effort: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
    options = {} if selector is None else {"sel": selector}
    if is_graph(index):
        return faiss.SearchParametersHNSW(efSearch=effort, **options)
    return faiss.SearchParametersIVF(nprobe=min(effort, index.nlist), **options)
