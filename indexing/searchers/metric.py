"""Scales vectors for an index; no other module does. Every index is an inner-product index over scaled vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask, Searcher
from engine.values.vectors import MAX_SAFE_LENGTH, MIN_SAFE_LENGTH, Matrix, normalise_rows, row_lengths

TINY = 1e-12
BLOCK = 65_536  # rows scaled at a time, so that building an index needs no second copy of its vectors


def inverse_lengths(vectors: Matrix) -> Matrix:
    """(n,) float32: the factor that gives each row unit length. Raw vectors and these factors together serve cosine.

    0 for a row of zeros; the largest float32 for a row so short that its factor would overflow.
    """
    factors = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        norms = row_lengths(vectors[start : start + BLOCK])
        inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
        factors[start : start + BLOCK] = np.minimum(inverse, np.finfo(np.float32).max)
    return factors


def scale(vectors: Matrix, factors: Matrix | None) -> Matrix:
    """Rows times their factors, contiguous float32."""
    return np.ascontiguousarray(vectors if factors is None else vectors * factors[:, None], dtype=np.float32)


def index_vectors(items: Matrix, metric: Metric) -> Matrix:
    """(n, dim) float32: vectors whose inner product with `query_vectors` ranks as the metric does.

    dot keeps the length, which carries meaning in spectral, ials and ease; cosine drops it.
    """
    return normalise_rows(items) if metric == "cosine" else np.ascontiguousarray(items, dtype=np.float32)


def query_vectors(users: Matrix, metric: Metric) -> Matrix:
    if metric != "cosine":
        return np.ascontiguousarray(users, dtype=np.float32)
    if len(users) == 1:  # the live path: a fifth of the time of `normalise_rows`
        one = np.ascontiguousarray(users, dtype=np.float32)
        with np.errstate(over="ignore"):
            square = float(one[0].dot(one[0]))
        if MIN_SAFE_LENGTH**2 < square < MAX_SAFE_LENGTH**2:
            return one * np.float32(1 / math.sqrt(square))
    return normalise_rows(users)


class MeasurableSearcher(Searcher, Protocol):
    """A searcher whose recall can be measured."""

    @property
    def exact_reference(self) -> MeasurableSearcher:
        """Exact search over the same vectors."""
        ...


class MeasurableScorer(MeasurableSearcher, Protocol):
    """A measurable searcher that takes raw vectors."""

    @property
    def metric(self) -> Metric: ...


@dataclass(frozen=True, eq=False)
class MetricSearcher:
    """Scales raw query vectors by the metric, then searches `inner`."""

    inner: MeasurableSearcher
    metric: Metric

    @property
    def exact_reference(self) -> MetricSearcher:
        return MetricSearcher(self.inner.exact_reference, self.metric)

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        return self.inner.search(query_vectors(queries, self.metric), k, allowed)
