"""Recall: the share of the true top k that a searcher finds; a row whose score ties with the k-th counts as found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import BelowFloor
from engine.recommending.values.searcher import Mask, Searcher
from engine.values.vectors import Matrix, row_lengths
from indexing.searchers.exact import ExactSearcher

RECALL_K = 20
FLOOR = 0.95
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
FILTERED_QUERIES = 200
ROUNDING = 1e-6  # relative error of a float32 product of a few hundred dimensions


@dataclass(frozen=True)
class Recall:
    mean: float
    error: float  # standard error of the mean over queries

    @property
    def lower_bound(self) -> float:
        return self.mean - self.error


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Exact answers to (n, dim) scaled `queries`, computed once for all searchers that are measured on them."""

    exact: ExactSearcher
    queries: Matrix
    k: int = RECALL_K
    allowed: Mask | None = None

    @cached_property
    def _required(self) -> np.ndarray:
        """(n, 2): the number of rows to find, and the lowest score that counts as found.

        Two orders of summation round differently. The difference grows with the lengths of the vectors, not with the
        score.
        """
        scores, rows = self.exact.search(self.queries, self.k, self.allowed)
        n_rows = (rows >= 0).sum(axis=1)
        last = np.arange(len(rows)), np.maximum(n_rows, 1) - 1
        last_rows = np.maximum(rows[last], 0)
        last_lengths = row_lengths(self.exact.vectors[last_rows])
        if self.exact.factors is not None:
            last_lengths = last_lengths * self.exact.factors[last_rows]
        tolerance = ROUNDING * row_lengths(self.queries) * last_lengths
        return np.stack([n_rows, scores[last] - tolerance], axis=1)

    def recall(self, searcher: Searcher) -> Recall:
        if len(self.queries) == 0:
            return Recall(1.0, 0.0)
        _, rows = searcher.search(self.queries, self.k, self.allowed)
        n_rows, min_score = self._required.T
        correct = self.exact.scores(self.queries, rows) >= min_score[:, None]  # by true scores, not the searcher's own
        if self.allowed is not None:
            correct &= self.allowed[rows]
        shares = np.minimum(((rows >= 0) & correct).sum(axis=1), n_rows) / np.maximum(n_rows, 1)
        shares[n_rows == 0] = 1.0  # a filter that no row passes leaves nothing to find
        return Recall(float(shares.mean()), float(shares.std() / np.sqrt(len(shares))))


def recall(searcher: Searcher, exact: ExactSearcher, queries: Matrix, k: int = RECALL_K) -> float:
    return GroundTruth(exact, queries, k).recall(searcher).mean


def filtered_recall(searcher: Searcher, exact: ExactSearcher, queries: Matrix) -> Mapping[str, float]:
    """Share of allowed rows as text -> recall, with random filters that allow a half to a thousandth of the rows."""
    rng = np.random.default_rng(1)
    recalls = {}
    for share in SELECTIVITIES:
        allowed = rng.random(len(exact.vectors)) < share
        recalls[f"{share:g}"] = GroundTruth(exact, queries[:FILTERED_QUERIES], allowed=allowed).recall(searcher).mean
    return recalls


def check_floor(factory: str, measured: float, *, allowed: str = "") -> None:
    """BelowFloor where the measured recall is below FLOOR."""
    if measured < FLOOR:
        where = f" with {float(allowed):.1%} of the items allowed" if allowed else ""
        raise BelowFloor(
            f"{factory} found {measured:.1%} of the true top {RECALL_K}{where}, expected at least {FLOOR:.1%}; "
            "raise the effort or choose a larger recipe"
        )
