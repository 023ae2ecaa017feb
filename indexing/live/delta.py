"""Delta: new and changed vectors, searched exactly and merged with the answer of the main index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.generations.generation import Generation
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher, index_vectors, query_vectors

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MergedSearcher:
    """Searches the main index without the rows that the delta replaces, and the delta. Rows and masks are of the
    view."""

    main: MeasurableSearcher  # returns true scores, also with a quantised index
    n_main: int
    kept: Mask | None  # (n_main,), rows that the delta does not replace; None: all
    rows: Rows  # of the delta, as rows of the view
    scaled: Matrix  # vectors of the delta, scaled for `metric`
    metric: Metric
    _inside: MaskCache[Mask] = field(default_factory=MaskCache)

    @property
    def exact_reference(self) -> MergedSearcher:
        """The same with exact search in place of the index; recall is measured against it."""
        return replace(self, main=self.main.exact_reference)

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        scores, rows = self.main.search(queries, min(k, self.n_main), self.inside(allowed))
        scaled = query_vectors(queries, self.metric)
        products = scaled @ self.scaled.T
        if allowed is not None:
            products = np.where(allowed[self.rows], products, -np.inf)
        beside = np.where(np.isfinite(products), self.rows, -1)
        return _best(np.concatenate([scores, products], axis=1), np.concatenate([rows, beside], axis=1), k)

    def inside(self, allowed: Mask | None) -> Mask | None:
        """The rows of the main index that may be found; None: all."""
        if allowed is None or self.kept is None:
            return self.kept if allowed is None else allowed
        return self._inside.get(allowed, self._without_replaced)

    def _without_replaced(self, allowed: Mask) -> Mask:
        assert self.kept is not None
        made = allowed[: self.n_main] & self.kept
        made.flags.writeable = False
        return made


def _best(scores: Matrix, rows: Rows, k: int) -> Found:
    """The k best of each row, best first, padded with -1."""
    short = k - scores.shape[1]
    if short > 0:
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=-1)
    order = np.argsort(np.where(rows >= 0, -scores, np.inf), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1).astype(np.float32), np.take_along_axis(rows, order, 1)


@dataclass(frozen=True, eq=False)
class Delta:
    """New and changed vectors by row of the view; a rebuild keeps them below a few percent of the index."""

    generation: Generation
    vectors: Mapping[int, Matrix | None]  # row -> (dim,) raw; None: the vector in the main index was removed

    @cached_property
    def replaced(self) -> int:
        """The number of rows of the main index that the delta replaces."""
        return sum(row < len(self.generation.vectors) for row in self.vectors)

    @cached_property
    def beside(self) -> Mapping[int, Matrix]:
        """Row -> vector of the rows to search in addition to the main index."""
        return {row: vector for row, vector in self.vectors.items() if vector is not None}

    @cached_property
    def users_to_items(self) -> MergedSearcher:
        metric = self.generation.metric
        return self._merged(self.generation.users_to_items, metric, index_vectors(self._raw, metric))

    @cached_property
    def items_to_items(self) -> MergedSearcher:
        scaled = self.generation.similarity_vectors.scaled(self._raw, self._is_learnt)
        return self._merged(self.generation.items_to_items, "cosine", scaled)

    @cached_property
    def _rows(self) -> Rows:
        return np.fromiter(self.beside, np.int64, len(self.beside))

    @cached_property
    def _raw(self) -> Matrix:
        """(n_rows, dim)"""
        return np.array(list(self.beside.values()), np.float32).reshape(-1, self.generation.vectors.shape[1])

    @property
    def _is_learnt(self) -> Mask:
        """(n_rows,) True where the model made the vector; False where it is the caller's or predicted."""
        learnt, found = self.generation.learnt, np.zeros(len(self._rows), dtype=bool)
        known = np.flatnonzero(self._rows < len(learnt))
        found[known] = (self._raw[known] == learnt[self._rows[known]]).all(axis=1)
        return found

    def _merged(self, main: MeasurableScorer, metric: Metric, scaled: Matrix) -> MergedSearcher:
        served = self.generation.vectors
        kept = None
        if self.replaced:
            kept = np.ones(len(served), dtype=bool)
            kept[[row for row in self.vectors if row < len(served)]] = False
            kept.flags.writeable = False
        return MergedSearcher(main, len(served), kept, self._rows, scaled, metric)
