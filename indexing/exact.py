"""ExactSearcher: brute force over the whole matrix, or over the allowed rows only."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from engine.recommend import Found, Mask
from engine.vectors import Matrix


@dataclass(frozen=True, eq=False)
class ExactSearcher:
    """Inner product over `vectors` as `indexing.metric` made them, (n, dim) float32, perhaps memory-mapped."""

    vectors: Matrix

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        if allowed is None:
            return knn(queries, self.vectors, k)
        subset = np.flatnonzero(allowed)
        scores, found = knn(queries, self.vectors[subset], k)
        if len(subset):
            found = np.where(found >= 0, subset[found], -1)
        return scores, found


def knn(queries: Matrix, vectors: Matrix, k: int) -> Found:
    """The k rows of the largest inner product per query: scores (n, k) float32, rows (n, k) int64, -1 padded."""
    width = min(k, len(vectors))
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    if width == 0:
        return scores, rows
    if len(queries) == 1:
        scores[0, :width], rows[0, :width] = _knn_one(vectors @ queries[0], width)
    else:
        best, found = faiss.knn(
            np.ascontiguousarray(queries), np.ascontiguousarray(vectors), width, metric=faiss.METRIC_INNER_PRODUCT
        )
        scores[:, :width], rows[:, :width] = best, found
    return scores, rows


def _knn_one(products: npt.NDArray[np.float32], width: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    best = np.argpartition(products, len(products) - width)[len(products) - width :]
    order = best[np.argsort(-products[best], kind="stable")]
    return products[order], order
