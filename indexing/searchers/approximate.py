"""ApproximateSearcher: a FAISS index, with exact search over the subset where a filter is narrow.

Filtered approximate search collapses (HNSW recall 1.0 -> 0.29 at 1% selectivity), so few allowed rows are searched
exactly. Of more, the lists of an IVF index are read by what they hold of them (`probing`), a graph gets its effort
raised by 1 / selectivity, and a short answer is searched again exactly.
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
from indexing.searchers.mask_cache import Remembered
from indexing.searchers.probing import Counts, Lists, rows_to_hold
from indexing.searchers.search_strategy import went

SUBSET_ROWS = 20_000
SUBSET_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Filter:
    """What a mask means for one index. Exactly one of `subset` and `selector` is there."""

    matching: int
    subset: Rows | None = None  # few rows: to be searched exactly
    selector: faiss.IDSelector | None = None
    per_list: Counts | None = None  # allowed rows of each list of an IVF index
    n_held: int = 0  # of them, that the lists read hold together


@dataclass(frozen=True, eq=False)
class ApproximateSearcher:
    """`index` over `vectors`; `effort` is nprobe for IVF and efSearch for HNSW. The index is never changed.

    A quantised index estimates scores: its best k x `refine` are scored again in float32; 0: its scores are true.
    """

    index: faiss.Index
    vectors: Matrix  # raw, perhaps memory-mapped
    effort: int
    factors: Matrix | None = None  # as for ExactSearcher
    refine: int = 0
    filters: bool = True  # False: this index ignores selectors, so that a filtered search is exact
    _made: Remembered[Filter] = field(default_factory=Remembered)

    @cached_property
    def exact(self) -> ExactSearcher:
        return ExactSearcher(self.vectors, self.factors)

    @cached_property
    def _unfiltered(self) -> faiss.SearchParameters:
        return parameters(self.index, self.effort, None)

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        width = k * self.refine if self.refine else k
        if width >= len(self.vectors) // 2:
            went("exact")
            return self.exact.search(queries, k, allowed)
        least = width if is_graph(self.index) else 1  # a graph finds no more than its effort

        def scan(asked: Filter | None) -> Found:
            if asked is not None:
                return self._filtered(queries, k, asked, least)
            params = self._unfiltered if least <= self.effort else parameters(self.index, least, None)
            return self._approximate(queries, k, params)

        return searched(self.exact, queries, k, allowed, self.plan, scan)

    def _filtered(self, queries: Matrix, k: int, asked: Filter, least: int) -> Found:
        if self._lists is None or asked.per_list is None:
            effort = max(math.ceil(self.effort * len(self.vectors) / asked.matching), least)
            return self._approximate(queries, k, parameters(self.index, effort, asked.selector))
        width = k * max(self.refine, 1)
        return self._refined(
            queries, k, self._lists.search(queries, width, asked.per_list, asked.selector, asked.n_held)
        )

    @property
    def exactly(self) -> ExactSearcher:
        """What this one is measured against."""
        return self.exact

    def plan(self, allowed: Mask) -> Filter:
        """How to search with a mask; kept with masks that cannot be written to."""
        return self._made.get(allowed, self._fresh)

    def _fresh(self, allowed: Mask) -> Filter:
        allowed = allowed[: len(self.vectors)]
        matching = int(np.count_nonzero(allowed))
        if not self.filters or matching <= max(SUBSET_ROWS, SUBSET_SHARE * len(allowed)):
            return Filter(matching, subset=np.flatnonzero(allowed))
        if self._lists is None:
            return Filter(matching, selector=bitmap(allowed))
        per_list = self._lists.allowed(allowed)
        n_held = rows_to_hold(self.effort * len(self.vectors) / self.index.nlist, per_list, self._lists.sizes)
        return Filter(matching, selector=bitmap(allowed), per_list=per_list, n_held=n_held)

    @cached_property
    def _lists(self) -> Lists | None:
        return Lists(self.index, len(self.vectors)) if isinstance(self.index, faiss.IndexIVF) else None

    def _approximate(self, queries: Matrix, k: int, params: faiss.SearchParameters) -> Found:
        return self._refined(queries, k, called(self.index, queries, k * max(self.refine, 1), params))

    def _refined(self, queries: Matrix, k: int, found: Found) -> Found:
        """The best k by true score of what the index found, which estimates scores where it is quantised."""
        if not self.refine:
            return found
        rows = found[1]
        scores = self.exact.scores(queries, rows)
        if len(queries) == 1:  # the live path: plain indexing takes a fifth of take_along_axis
            best = (-scores[0]).argsort(kind="stable")[:k]
            return scores[:, best], rows[:, best]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def raw(self, queries: Matrix, k: int, allowed: Mask) -> Found:
        """What the index itself finds, its scores as it estimates them. RuntimeError where FAISS has no such filter."""
        effort = max(2 * self.effort, 16 * k)
        return self.index.search(queries, k, params=parameters(self.index, effort, bitmap(allowed)))


class Plan(Protocol):
    """How to search with a mask: the rows of `subset` exactly, or an index for those `matching`."""

    @property
    def matching(self) -> int: ...
    @property
    def subset(self) -> Rows | None: ...


Planned = TypeVar("Planned", bound=Plan)


def searched(
    exact: ExactSearcher,
    queries: Matrix,
    k: int,
    allowed: Mask | None,
    plan: Callable[[Mask], Planned],
    scan: Callable[[Planned | None], Found],
) -> Found:
    """What `scan` finds of an index, without a filter or as planned for one, or the rows of the plan exactly."""
    if allowed is None:
        went("ann")
        return _completed(exact, queries, k, None, k, scan(None))
    asked = plan(allowed)
    if asked.subset is not None:
        went("subset")
        return exact.among(queries, k, asked.subset)
    went("filtered ann")
    return _completed(exact, queries, k, allowed, min(k, asked.matching), scan(asked))


def _completed(exact: ExactSearcher, queries: Matrix, k: int, allowed: Mask | None, wanted: int, found: Found) -> Found:
    """The answer, or an exact one for the queries that got fewer than `wanted`; missing rows come last."""
    scores, rows = found
    # the live path is one query, of which numpy's minimum takes ten times as long
    if wanted and (rows[0, wanted - 1] < 0 if len(rows) == 1 else rows[:, wanted - 1].min(initial=0) < 0):
        went("fallback")
        short = np.flatnonzero(rows[:, wanted - 1] < 0)
        scores[short], rows[short] = exact.search(queries[short], k, allowed)
    return scores, rows


def called(index: faiss.Index, queries: Matrix, k: int, params: faiss.SearchParameters) -> Found:
    """`index.search` without what its Python wrapper looks at beside the width, 3 of 15 us of a short search."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.shape[1] != index.d:  # FAISS would read what is behind them
        raise ValueError(f"expected queries of {index.d} dimensions, got {queries.shape[1]}")
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    index.search_c(len(queries), faiss.swig_ptr(queries), k, faiss.swig_ptr(scores), faiss.swig_ptr(rows), params)
    return scores, rows


def is_graph(index: faiss.Index) -> bool:
    return isinstance(index, faiss.IndexHNSW)


def bitmap(allowed: Mask) -> faiss.IDSelector:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def parameters(index: faiss.Index, effort: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
    options = {} if selector is None else {"sel": selector}
    if is_graph(index):
        return faiss.SearchParametersHNSW(efSearch=effort, **options)
    return faiss.SearchParametersIVF(nprobe=min(effort, index.nlist), **options)
