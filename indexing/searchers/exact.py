"""ExactSearcher: brute force over the whole matrix, or over the allowed rows only, both read where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.metric import BLOCK, scale

Rows = npt.NDArray[np.int64]
DENSE_SHARE = 0.25  # of all rows: above it one product with every row beats picking out the allowed ones
TOGETHER = 8  # queries from which one product of matrices is faster; FAISS's own limit is 128,000 numbers


@dataclass(frozen=True, eq=False)
class ExactSearcher:
    """Inner product over `vectors`, (n, dim) float32, perhaps memory-mapped, each row times its factor."""

    vectors: Matrix
    factors: Matrix | None = None  # (n,) float32, `metric.inverse_lengths` for cosine; None: 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", np.ascontiguousarray(self.vectors, dtype=np.float32))  # FAISS reads rows

    @property
    def exactly(self) -> ExactSearcher:
        """What an approximate searcher would be measured against: this one."""
        return self

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        return self.among(queries, k, None if allowed is None else np.flatnonzero(allowed[: len(self.vectors)]))

    def among(self, queries: Matrix, k: int, subset: Rows | None) -> Found:
        """The best of the rows of `subset`, ascending; None: of all."""
        n_rows = len(self.vectors) if subset is None else len(subset)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        width = min(k, n_rows)
        if width and len(queries) == 1:
            products = self._products(np.ascontiguousarray(queries[0]), subset)
            best = _best(products, width)
            scores[0, :width] = products[best]
            rows[0, :width] = best if subset is None else subset[best]
        elif width and len(queries):
            scores[:, :width], rows[:, :width] = self._blocks(queries, width, subset, n_rows)
        return scores, rows

    def scores(self, queries: Matrix, rows: Rows) -> Matrix:
        """The true score of every row (n, m) of every query (n, dim); that of row -1 is minus infinity."""
        made = np.empty(rows.shape, np.float32)
        if not rows.size:
            return made
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(made),
            faiss.swig_ptr(np.ascontiguousarray(queries)),
            faiss.swig_ptr(self.vectors),
            faiss.swig_ptr(np.ascontiguousarray(rows)),
            self.vectors.shape[1],
            *rows.shape,
        )
        if self.factors is not None:
            made *= self.factors[rows]
        made[rows < 0] = -np.inf
        return made

    def _products(self, query: Matrix, subset: Rows | None) -> Matrix:
        """(len(subset),) the scores of one query."""
        if subset is not None and len(subset) <= DENSE_SHARE * len(self.vectors):
            return np.asarray(self.scores(query[None], subset[None])[0])
        products = inner_products(query, self.vectors)
        if self.factors is not None:
            products *= self.factors
        return products if subset is None else products[subset]

    def _blocks(self, queries: Matrix, width: int, subset: Rows | None, n_rows: int) -> Found:
        faiss.cvar.distance_compute_blas_threshold = TOGETHER * self.vectors.shape[1]  # of all threads: how, not what
        heap = faiss.ResultHeap(len(queries), width, keep_max=True)
        for start in range(0, n_rows, BLOCK):
            part = slice(start, start + BLOCK) if subset is None else subset[start : start + BLOCK]
            block = scale(self.vectors[part], None if self.factors is None else self.factors[part])
            scores, found = faiss.knn(
                np.ascontiguousarray(queries), block, min(width, len(block)), metric=faiss.METRIC_INNER_PRODUCT
            )
            found = found + start if subset is None else part[found]  # type: ignore[index]
            heap.add_result(scores, found)
        heap.finalize()
        return heap.D, heap.I


def inner_products(query: Matrix, vectors: Matrix) -> Matrix:
    """(n,) of a (dim,) query with (n, dim), on this thread: numpy's product wakes others, and waits for them."""
    products = np.empty(len(vectors), np.float32)
    faiss.fvec_inner_products_ny(
        faiss.swig_ptr(products), faiss.swig_ptr(query), faiss.swig_ptr(vectors), *vectors.shape[::-1]
    )
    return products


def _best(products: Matrix, width: int) -> Rows:
    """Where the `width` largest are, largest first."""
    last = len(products) - width
    best = np.argpartition(products, last)[last:]
    return np.asarray(best[np.argsort(-products[best], kind="stable")], dtype=np.int64)
