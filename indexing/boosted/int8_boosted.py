"""Boosted search of an `Int8Searcher`: the compiled scan, or all allowed rows exactly where these are few."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache

import numpy as np

from engine.deadline import needs_more_work
from engine.recommending.values.boosts import Boost
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.exact import ExactSearcher, Rows
from indexing.searchers.int8_lists import build_int8_lists, read_only_contiguous
from indexing.searchers.int8_searcher import DEPTH_POWER, MIN_ROWS_PER_K, NO_MASK, Int8Searcher
from indexing.searchers.recall import RECALL_K
from indexing.searchers.search_strategy import record_strategy

NO_ROWS: AbstractSet[int] = frozenset()
NOTHING = read_only_contiguous(np.empty(0, np.float32))


def search_boosted(
    searcher: Int8Searcher,
    query: Matrix,
    k: int,
    allowed: Mask | None,
    boost: Boost,
    excluded: AbstractSet[int] = NO_ROWS,
) -> Found:
    """Plain scores (1, m) and rows (1, m) of the `k` best rows by boosted score, for a scaled (1, dim) query.

    `excluded` rows do not count, but may be among those found. The scan leaves them out, because a search for as many
    more rows reads many more lists.
    """
    n_rows, wider = len(searcher.vectors), k + len(excluded)
    plan = None if allowed is None else searcher.plan(allowed)
    if plan is not None and plan.subset is not None:
        record_strategy("subset")
        return best_of_rows(searcher.exact, query, wider, plan.subset, boost)
    if MIN_ROWS_PER_K * wider >= n_rows:
        record_strategy("exact")
        subset = np.arange(n_rows) if plan is None else np.flatnonzero(plan.allowed)
        return best_of_rows(searcher.exact, query, wider, subset, boost)
    record_strategy("boosted")
    scores, rows = np.empty(k, np.float32), np.empty(k, np.int64)
    left_out = np.array(sorted(excluded), np.int64)
    addends = NOTHING if boost.addends is None else boost.addends
    if plan is None:
        n_to_read = max(searcher.effort, MIN_ROWS_PER_K * k * searcher.index.nlist / n_rows)
        limits = (searcher.index.sizes, float(n_to_read), RECALL_K, DEPTH_POWER, NO_MASK, left_out)
    else:
        n_to_read = max(plan.n_to_read, MIN_ROWS_PER_K * k)
        limits = (plan.per_list, float(n_to_read), RECALL_K, DEPTH_POWER, plan.allowed, left_out)
    factor, addend = boost.largest
    of_rows = (boost.factors, addends, np.float32(factor), np.float32(addend))
    _compiled()(np.array(query[0], np.float32), *searcher.compiled_arrays, limits, of_rows, k, scores, rows)
    n = int(np.count_nonzero(rows >= 0))
    return scores[None, :n], rows[None, :n]


def best_of_rows(exact: ExactSearcher, query: Matrix, k: int, subset: Rows, boost: Boost) -> Found:
    """The `k` best of these rows, in no order."""
    scores = exact.scores_of(np.ascontiguousarray(query[0], np.float32), subset)
    if len(subset) <= k:
        return scores[None], subset[None]
    best = np.argpartition(-boost.of_rows(subset, scores), k - 1)[:k]
    return scores[None, best], subset[None, best]


@cache
def _compiled() -> Callable[..., None]:
    """The compiled search, once it is compiled: that takes seconds where the disk has no copy of it."""
    needs_more_work()
    from indexing.boosted import boosted_scan  # imports numba, which only a search of int8 lists needs

    vectors, ones = np.eye(4, dtype=np.float32), read_only_contiguous(np.ones(4, np.float32))
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:1]), vectors, effort=1)
    left_out = np.empty(0, np.int64)
    limits, of_rows = (
        (searcher.index.sizes, 1.0, RECALL_K, DEPTH_POWER, NO_MASK, left_out),
        (ones, NOTHING, ones[0], ones[0]),
    )
    found = np.empty(1, np.float32), np.empty(1, np.int64)
    boosted_scan.search_boosted(np.ones(4, np.float32), *searcher.compiled_arrays, limits, of_rows, 1, *found)
    return boosted_scan.search_boosted


def compile_loops() -> None:
    """Compile the loops or load them from the disk cache, so that the first boosted search is fast."""
    _compiled()
