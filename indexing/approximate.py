"""ApproximateSearcher: a FAISS index, with exact search over the subset where a filter is narrow.

Filtered approximate search collapses (HNSW recall 1.0 -> 0.29 at 1% selectivity), so few allowed rows are searched
exactly, more raise the effort by 1 / selectivity, and a short answer is searched again exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

from engine.recommend import Found, Mask
from engine.vectors import Matrix
from indexing.exact import ExactSearcher

SUBSET_ROWS = 20_000
SUBSET_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class ApproximateSearcher:
    """`index` over `vectors`; `effort` is nprobe for IVF and efSearch for HNSW. The index is never changed."""

    index: faiss.Index
    vectors: Matrix
    effort: int

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        exact = ExactSearcher(self.vectors)
        if k >= len(self.vectors) // 2:
            return exact.search(queries, k, allowed)
        if allowed is None:
            return self._complete(queries, k, None, len(self.vectors), self._approximate(queries, k, None, self.effort))
        matching = int(np.count_nonzero(allowed))
        if matching <= max(SUBSET_ROWS, SUBSET_SHARE * len(allowed)):
            return exact.search(queries, k, allowed)
        effort = int(np.ceil(self.effort * len(allowed) / matching))
        return self._complete(queries, k, allowed, matching, self._approximate(queries, k, allowed, effort))

    def _approximate(self, queries: Matrix, k: int, allowed: Mask | None, effort: int) -> Found:
        selector = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        params = parameters(self.index, max(effort, k if is_graph(self.index) else 1), selector)
        scores, rows = self.index.search(np.ascontiguousarray(queries), k, params=params)
        return scores, rows

    def _complete(self, queries: Matrix, k: int, allowed: Mask | None, matching: int, found: Found) -> Found:
        """The answer, or an exact one for the queries that got fewer than min(k, matching)."""
        scores, rows = found
        short = np.flatnonzero((rows >= 0).sum(axis=1) < min(k, matching))
        if len(short):
            scores[short], rows[short] = ExactSearcher(self.vectors).search(queries[short], k, allowed)
        return scores, rows


def is_graph(index: faiss.Index) -> bool:
    return isinstance(index, faiss.IndexHNSW)


def parameters(index: faiss.Index, effort: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
    options = {} if selector is None else {"sel": selector}
    if is_graph(index):
        return faiss.SearchParametersHNSW(efSearch=effort, **options)
    return faiss.SearchParametersIVF(nprobe=min(effort, index.nlist), **options)
