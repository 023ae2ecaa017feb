"""A self-test of filtered search, run for every index before it answers requests.

Some FAISS indexes ignore selectors silently. An index that reads too few lists loses allowed rows that are far from the
query, such as beds for a user who buys kitchenware.
"""

from __future__ import annotations

import numpy as np

from engine.recommending.values.searcher import Searcher
from indexing.searchers.approximate import ApproximateSearcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import BLOCK

TEST_QUERIES, TEST_K, TEST_SHARE = 4, 10, 0.5  # the share is low because quantised indexes estimate scores
REGIONS, FAR_SHARE = 16, 0.8


def filter_works(searcher: ApproximateSearcher | Int8Searcher) -> bool:
    """Whether a filtered search finds only allowed rows, and nearly the best of them."""
    return _applies_selector(searcher) and finds_far_from_query(searcher, searcher.exact)


def finds_far_from_query(searcher: Searcher, exact: ExactSearcher) -> bool:
    """Whether a search finds the best rows where only the half of REGIONS least similar to the query is allowed."""
    vectors, rng = exact.vectors, np.random.default_rng(0)
    seeds = np.ascontiguousarray(vectors[np.sort(rng.integers(0, len(vectors), REGIONS))], dtype=np.float32)
    region = np.concatenate(
        [(vectors[at : at + BLOCK] @ seeds.T).argmax(axis=1) for at in range(0, len(vectors), BLOCK)]
    )
    recalls = []
    for row in np.linspace(0, len(vectors) - 1, 2 * TEST_QUERIES, dtype=np.int64):
        query = np.ascontiguousarray(vectors[row : row + 1], dtype=np.float32)
        allowed = np.isin(region, np.argsort(query[0] @ seeds.T)[: REGIONS // 2])
        k = min(TEST_K, int(allowed.sum()))
        if k:
            last = exact.search(query, k, allowed)[0][0, -1]
            rows = searcher.search(query, k, allowed)[1]
            recalls.append(float(np.mean(exact.scores(query, rows) >= last - 1e-5 * abs(last))))
    return not recalls or bool(np.mean(recalls) >= FAR_SHARE)


def _applies_selector(searcher: ApproximateSearcher | Int8Searcher) -> bool:
    rows = np.linspace(0, len(searcher.vectors) - 1, TEST_QUERIES, dtype=np.int64)
    allowed = np.random.default_rng(0).random(len(searcher.vectors)) < 0.5
    allowed[rows] = False  # the queries themselves: an index that ignores the filter returns them
    queries = np.ascontiguousarray(searcher.vectors[rows], dtype=np.float32)
    k = min(TEST_K, int(allowed.sum()))
    if k == 0:
        return True
    try:
        found = searcher.search_only_index(queries, k, allowed)[1]
    except RuntimeError:  # some FAISS indexes refuse selectors
        return False
    if not allowed[found[found >= 0]].all():
        return False
    last = searcher.exact.search(queries, k, allowed)[0][:, -1:]
    return bool(np.mean(searcher.exact.scores(queries, found) >= last - 1e-5 * np.abs(last)) >= TEST_SHARE)
