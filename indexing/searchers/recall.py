"""Recall: the share of the true top k that a searcher finds; a row that ties with the k-th counts as found."""

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
ROUNDING = 1e-6  # of float32, for products of a few hundred dimensions


@dataclass(frozen=True)
class Recall:
    mean: float
    error: float  # standard error of the mean over queries

    @property
    def surely(self) -> float:
        return self.mean - self.error


@dataclass(frozen=True, eq=False)
class Truth:
    """The exact answers to (n, dim) scaled `queries`, found once for all searchers measured against them."""

    exact: ExactSearcher
    queries: Matrix
    k: int = RECALL_K
    allowed: Mask | None = None

    @cached_property
    def _wanted(self) -> np.ndarray:
        """How many rows there are to find, and the score that is enough to be one of them, (n, 2).

        Two ways to add up a product differ by its rounding, which goes with the lengths and not with the score.
        """
        scores, rows = self.exact.search(self.queries, self.k, self.allowed)
        wanted = (rows >= 0).sum(axis=1)
        at = np.arange(len(rows)), np.maximum(wanted, 1) - 1
        last = np.maximum(rows[at], 0)
        long = row_lengths(self.exact.vectors[last])
        if self.exact.factors is not None:
            long = long * self.exact.factors[last]
        slack = ROUNDING * row_lengths(self.queries) * long
        return np.stack([wanted, scores[at] - slack], axis=1)

    def recall(self, searcher: Searcher) -> Recall:
        if len(self.queries) == 0:
            return Recall(1.0, 0.0)
        _, rows = searcher.search(self.queries, self.k, self.allowed)
        wanted, least = self._wanted.T
        enough = self.exact.scores(self.queries, rows) >= least[:, None]  # true scores, whatever the searcher claims
        if self.allowed is not None:
            enough &= self.allowed[rows]
        found = np.minimum(((rows >= 0) & enough).sum(axis=1), wanted) / np.maximum(wanted, 1)
        found[wanted == 0] = 1.0  # a filter that no row passes leaves nothing to miss
        return Recall(float(found.mean()), float(found.std() / np.sqrt(len(found))))


def recall(searcher: Searcher, exact: ExactSearcher, queries: Matrix, k: int = RECALL_K) -> float:
    return Truth(exact, queries, k).recall(searcher).mean


def filtered_recall(searcher: Searcher, exact: ExactSearcher, queries: Matrix) -> Mapping[str, float]:
    """Recall with a half to a thousandth of the rows allowed, drawn at random, by that share as text."""
    draw = np.random.default_rng(1)
    found = {}
    for share in SELECTIVITIES:
        allowed = draw.random(len(exact.vectors)) < share
        found[f"{share:g}"] = Truth(exact, queries[:FILTERED_QUERIES], allowed=allowed).recall(searcher).mean
    return found


def check_floor(factory: str, found: float, *, allowed: str = "") -> None:
    """BelowFloor where less than the floor was found."""
    if found < FLOOR:
        where = f" with {float(allowed):.1%} of the items allowed" if allowed else ""
        raise BelowFloor(
            f"{factory} found {found:.1%} of the true top {RECALL_K}{where}, expected at least {FLOOR:.1%}; "
            "raise the effort or choose a larger recipe"
        )
