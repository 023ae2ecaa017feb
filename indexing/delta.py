"""Delta: vectors that are not in the main index, or not as they are now, searched exactly beside it and merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.recommend import Found, Mask, Searcher
from engine.space import Metric
from engine.vectors import Matrix
from indexing.generation import Generation
from indexing.metric import index_vectors, query_vectors

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MergedSearcher:
    """The main index without the rows that the delta replaces, and the delta; rows of the view, `allowed` over all."""

    main: Searcher
    main_vectors: Matrix  # raw
    kept: Mask | None  # (n_main,), rows that the delta does not replace; None: all
    rows: Rows  # of the delta
    scaled: Matrix  # vectors of the delta as `metric` has them
    metric: Metric
    estimated: bool  # whether the main index is quantised and its scores are estimates

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        n_main = len(self.main_vectors)
        inside = self.kept if allowed is None else allowed[:n_main]
        if allowed is not None and self.kept is not None:
            inside = allowed[:n_main] & self.kept
        scores, rows = self.main.search(queries, min(k, n_main), inside)
        scaled = query_vectors(queries, self.metric)
        if self.estimated:
            scores = self._rescored(scaled, rows)
        products = scaled @ self.scaled.T
        if allowed is not None:
            products = np.where(allowed[self.rows], products, -np.inf)
        beside = np.where(np.isfinite(products), self.rows, -1)
        return _best(np.concatenate([scores, products], axis=1), np.concatenate([rows, beside], axis=1), k)

    def _rescored(self, queries: Matrix, rows: Rows) -> Matrix:
        """True scores of what a quantised index found, so that they compare with those of the delta."""
        vectors = index_vectors(self.main_vectors[np.maximum(rows, 0).ravel()], self.metric)
        true = np.einsum("qd,qkd->qk", queries, vectors.reshape(*rows.shape, -1))
        return np.asarray(np.where(rows >= 0, true, -np.inf), dtype=np.float32)


def _best(scores: Matrix, rows: Rows, k: int) -> Found:
    """The k best of each line, best first, padded with -1."""
    short = k - scores.shape[1]
    if short > 0:
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=-1)
    order = np.argsort(np.where(rows >= 0, -scores, np.inf), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1).astype(np.float32), np.take_along_axis(rows, order, 1)


@dataclass(frozen=True, eq=False)
class Delta:
    """Rows of the view with their raw vectors, at most a few in a hundred of the main index."""

    generation: Generation
    vectors: Mapping[int, Matrix]  # row -> (dim,) raw

    @cached_property
    def replaced(self) -> int:
        """How many rows of the main index it replaces."""
        return sum(row < len(self.generation.vectors) for row in self.vectors)

    @cached_property
    def users_to_items(self) -> Searcher:
        return self._merged(self.generation.users_to_items, self.generation.metric, "metric")

    @cached_property
    def items_to_items(self) -> Searcher:
        return self._merged(self.generation.items_to_items, "cosine", "cosine")

    def _merged(self, main: Searcher, metric: Metric, label: str) -> MergedSearcher:
        served = self.generation.vectors
        rows = np.fromiter(self.vectors, np.int64, len(self.vectors))
        kept = None
        if self.replaced:
            kept = np.ones(len(served), dtype=bool)
            kept[rows[rows < len(served)]] = False
        scaled = index_vectors(np.array(list(self.vectors.values()), np.float32), metric)
        factory = str(self.generation.manifest["indexes"][label]["factory"])
        return MergedSearcher(main, served, kept, rows, scaled, metric, not factory.endswith("Flat"))
