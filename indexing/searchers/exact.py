"""ExactSearcher: brute force over the whole matrix or over the allowed rows only, without a copy of the vectors."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.metric import BLOCK, scale

Rows = npt.NDArray[np.int64]
DENSE_SHARE = 0.25  # of all rows: above it, a product with every row is faster than one with the allowed rows only
BLAS_QUERIES = 8  # from so many queries, a matrix product is faster; FAISS's own limit is 128,000 numbers


@dataclass(frozen=True, eq=False)
class ExactSearcher:
    """Inner product over `vectors`, (n, dim) float32, perhaps memory-mapped, each row multiplied by its factor."""

    vectors: Matrix
    factors: Matrix | None = None  # (n,) float32, `metric.inverse_lengths` for cosine; None: all 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", np.ascontiguousarray(self.vectors, dtype=np.float32))  # FAISS reads rows

    @property
    def exact_reference(self) -> ExactSearcher:
        """This searcher: recall of an approximate searcher is measured against exact search."""
        return self

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        return self.search_rows(queries, k, None if allowed is None else np.flatnonzero(allowed[: len(self.vectors)]))

    def search_rows(self, queries: Matrix, k: int, subset: Rows | None) -> Found:
        """The best k among the rows of `subset`, which are in ascending order; None: among all rows."""
        n_rows = len(self.vectors) if subset is None else len(subset)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        width = min(k, n_rows)
        if width and len(queries) == 1:
            products = self.scores_of(np.ascontiguousarray(queries[0]), subset)
            best = _best(products, width)
            scores[0, :width] = products[best]
            rows[0, :width] = best if subset is None else subset[best]
        elif width and len(queries):
            scores[:, :width], rows[:, :width] = self._blocks(queries, width, subset, n_rows)
        return scores, rows

    def scores(self, queries: Matrix, rows: Rows) -> Matrix:
        """(n, m) the true scores of `rows` (n, m) for `queries` (n, dim); minus infinity for row -1."""
        scores = np.empty(rows.shape, np.float32)
        if not rows.size:
            return scores
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(scores),
            faiss.swig_ptr(np.ascontiguousarray(queries)),
            faiss.swig_ptr(self.vectors),
            faiss.swig_ptr(np.ascontiguousarray(rows)),
            self.vectors.shape[1],
            *rows.shape,
        )
        if self.factors is not None:
            scores *= self.factors[rows]
        scores[rows < 0] = -np.inf
        return scores

    def scores_of(self, query: Matrix, subset: Rows | None) -> Matrix:
        """(len(subset),) the scores of one (dim,) contiguous query; None: of all rows."""
        if subset is not None and len(subset) <= DENSE_SHARE * len(self.vectors):
            return np.asarray(self.scores(query[None], subset[None])[0])
        products = inner_products(query, self.vectors)
        if self.factors is not None:
            products *= self.factors
        return products if subset is None else products[subset]

    def _blocks(self, queries: Matrix, width: int, subset: Rows | None, n_rows: int) -> Found:
        faiss.cvar.distance_compute_blas_threshold = (
            BLAS_QUERIES * self.vectors.shape[1]
        )  # global to FAISS; changes speed only
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
    """(n,) products of a (dim,) query with (n, dim) vectors, on this thread; numpy would wait for a thread pool."""
    products = np.empty(len(vectors), np.float32)
    faiss.fvec_inner_products_ny(
        faiss.swig_ptr(products), faiss.swig_ptr(query), faiss.swig_ptr(vectors), *vectors.shape[::-1]
    )
    return products


def _best(products: Matrix, width: int) -> Rows:
    """Positions of the `width` largest products, largest first."""
    last = len(products) - width
    best = np.argpartition(products, last)[last:]
    return np.asarray(best[np.argsort(-products[best], kind="stable")], dtype=np.int64)
