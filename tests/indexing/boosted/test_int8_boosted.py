"""The boosted search of 8-bit lists finds the rows with the best boosted scores, as a search of all rows does."""

from __future__ import annotations

import numpy as np
import pytest

from engine.recommending.values.boosts import Boost
from indexing.boosted.int8_boosted import best_of_rows, search_boosted
from indexing.searchers.int8_lists import build_int8_lists, read_only_contiguous
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import inverse_lengths

N, DIM, K = 6000, 16, 20
DRAW = np.random.default_rng(0)
CENTRES = DRAW.normal(size=(60, DIM))
VECTORS = (CENTRES[DRAW.integers(0, 60, N)] + 0.4 * DRAW.normal(size=(N, DIM))).astype(np.float32)


def boost_of(factors: np.ndarray, addends: np.ndarray | None = None) -> Boost:
    return Boost(
        *(None if each is None else read_only_contiguous(each.astype(np.float32)) for each in (factors, addends))
    )


BOOSTS = {
    "none": boost_of(np.ones(N)),
    "bands": boost_of(1 + 0.02 * DRAW.integers(0, 20, N)),
    "few by much": boost_of(np.where(DRAW.random(N) < 0.01, 50.0, 1.0)),
    "down": boost_of(np.where(DRAW.random(N) < 0.9, 0.01, 1.0)),
    "addends": boost_of(1 + 0.1 * DRAW.integers(0, 3, N), DRAW.normal(0, 0.3, N)),
    "large addends": boost_of(np.ones(N), DRAW.normal(0, 100, N)),
}


def searcher(effort: int, cosine: bool = False) -> Int8Searcher:
    factors = inverse_lengths(VECTORS) if cosine else None
    centroids = VECTORS[DRAW.choice(N, 64, replace=False)]
    return Int8Searcher(build_int8_lists(VECTORS, factors, centroids), VECTORS, effort, factors)


def best(made: Int8Searcher, query: np.ndarray, allowed: np.ndarray | None, boost: Boost) -> np.ndarray:
    rows = np.arange(N) if allowed is None else np.flatnonzero(allowed)
    scores, found = best_of_rows(made.exact, query, K, rows, boost)
    return np.sort(boost.of_rows(found[0], scores[0]))[::-1]


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("name", BOOSTS)
def test_reading_all_lists_finds_the_best_of_all_rows(name: str, share: float | None, cosine: bool) -> None:
    made, boost = searcher(64, cosine), BOOSTS[name]
    allowed = None if share is None else read_only_contiguous(np.random.default_rng(1).random(N) < share)
    for query in DRAW.normal(size=(10, 1, DIM)).astype(np.float32):
        scores, rows = search_boosted(made, query, K, allowed, boost)
        values = boost.of_rows(rows[0], scores[0])
        assert len(set(rows[0].tolist())) == K
        assert allowed is None or allowed[rows[0]].all()
        assert values == pytest.approx(np.sort(values)[::-1])
        assert values == pytest.approx(best(made, query, allowed, boost), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("share", [None, 0.5, 0.01])
@pytest.mark.parametrize("name", BOOSTS)
def test_excluded_rows_do_not_count(name: str, share: float | None) -> None:
    made, boost = searcher(64), BOOSTS[name]
    allowed = None if share is None else read_only_contiguous(np.random.default_rng(1).random(N) < share)
    for query in DRAW.normal(size=(5, 1, DIM)).astype(np.float32):
        _, first = search_boosted(made, query, K, allowed, boost)
        excluded = {*first[0, ::2].tolist(), 0, N - 1}
        scores, rows = search_boosted(made, query, K, allowed, boost, excluded)
        is_in = np.array([row not in excluded for row in rows[0].tolist()])
        found = np.sort(boost.of_rows(rows[0][is_in], scores[0][is_in]))[::-1][:K]
        others = np.ones(N, bool) if allowed is None else allowed.copy()
        others[list(excluded)] = False
        assert found == pytest.approx(best(made, query, others, boost), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", BOOSTS)
def test_reading_as_many_lists_as_a_plain_search_needs_finds_nearly_all(name: str) -> None:
    made, boost = searcher(24), BOOSTS[name]
    queries = VECTORS[DRAW.choice(N, 40)] + 0.1 * DRAW.normal(size=(40, DIM)).astype(np.float32)
    n_found = 0
    for query in queries[:, None]:
        scores, rows = search_boosted(made, query, K, None, boost)
        true = best(made, query, None, boost)
        n_found += int((boost.of_rows(rows[0], scores[0]) >= true[-1] - 1e-4 * abs(true[-1])).sum())
    assert n_found >= 0.97 * K * len(queries)
