"""Boosted searches by the searcher behind a view; other searchers are searched plainly, see
`engine.recommending.values.boosted_search`."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet

import numpy as np

from engine.deadline import needs_more_work
from engine.recommending.values.boosts import Boost
from engine.recommending.values.searcher import Found, Mask, Scorer
from engine.values.vectors import Matrix
from indexing.boosted import int8_boosted
from indexing.live.delta import MergedSearcher
from indexing.live.recall_sampler import SampledSearcher
from indexing.searchers import search_strategy
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import MeasurableSearcher, MetricSearcher, query_vectors

QUICK_FLOATS = 2**23  # in 8 bits: read in a few tenths of a millisecond, should all have to be read


def search_boosted(
    searcher: Scorer | MeasurableSearcher | None,
    query: Matrix,
    k: int,
    allowed: Mask | None,
    boost: Boost,
    excluded: AbstractSet[int] = frozenset(),
) -> Found | None:
    """Plain scores (1, m) and rows (1, m) of the `k` best rows by boosted score, in no order, for a raw (1, dim) query.

    `excluded` rows do not count, but may be among those found. None: this searcher has no boosted search.
    """
    if isinstance(searcher, SampledSearcher):
        started = time.perf_counter()
        found = search_boosted(searcher.inner, query, k, allowed, boost, excluded)
        if found is not None:
            strategy = search_strategy.last_strategy()
            searcher.sampler.observe(searcher.space, strategy, time.perf_counter() - started)
        return found
    if isinstance(searcher, MergedSearcher):
        return _merged(searcher, query, k, allowed, boost, excluded)
    if not isinstance(searcher, MetricSearcher):
        return None
    inner, scaled = searcher.inner, query_vectors(query, searcher.metric)
    if isinstance(inner, Int8Searcher):
        if inner.vectors.size > QUICK_FLOATS:
            needs_more_work()
        return int8_boosted.search_boosted(inner, scaled, k, allowed, boost, excluded)
    if isinstance(inner, ExactSearcher):
        search_strategy.record_strategy("exact")
        n_rows = len(inner.vectors)
        subset = np.arange(n_rows) if allowed is None else np.flatnonzero(allowed[:n_rows])
        return int8_boosted.best_of_rows(inner, scaled, k + len(excluded), subset, boost)
    return None


def _merged(
    searcher: MergedSearcher,
    query: Matrix,
    k: int,
    allowed: Mask | None,
    boost: Boost,
    excluded: AbstractSet[int],
) -> Found | None:
    """The best of the main index without the rows that the delta replaces, and of the delta."""
    found = search_boosted(searcher.main, query, min(k, searcher.n_main), searcher.inside(allowed), boost, excluded)
    if found is None:
        return None
    beside, products = searcher.rows, query_vectors(query, searcher.metric)[0] @ searcher.scaled.T
    if allowed is not None:
        kept = allowed[beside]
        beside, products = beside[kept], products[kept]
    scores, rows = np.concatenate([found[0][0], products]), np.concatenate([found[1][0], beside])
    wider = k + len(excluded)
    if len(rows) > wider:
        best = np.argpartition(-boost.of_rows(rows, scores), wider - 1)[:wider]
        scores, rows = scores[best], rows[best]
    return scores[None], rows[None]
