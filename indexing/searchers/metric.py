"""The one place that scales vectors for an index. Every index is an inner-product index over what is made here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask, Searcher
from engine.values.vectors import MAX_SAFE_LENGTH, MIN_SAFE_LENGTH, Matrix, normalise_rows, row_lengths

TINY = 1e-12
BLOCK = 65_536  # rows scaled at a time: an index is built without a second copy of its vectors


def inverse_lengths(vectors: Matrix) -> Matrix:
    """(n,) float32: what a row is multiplied with to have unit length, so that raw vectors serve cosine as they are.

    0 for a row of zeros, and the largest float32 for rows so short that what they need is beyond it.
    """
    made = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        long = row_lengths(vectors[start : start + BLOCK])
        inverse = np.divide(1, long, out=np.zeros_like(long), where=long > 0)
        made[start : start + BLOCK] = np.minimum(inverse, np.finfo(np.float32).max)
    return made


def scale(vectors: Matrix, factors: Matrix | None) -> Matrix:
    """Rows times their factors, contiguous float32."""
    return np.ascontiguousarray(vectors if factors is None else vectors * factors[:, None], dtype=np.float32)


def index_vectors(items: Matrix, metric: Metric) -> Matrix:
    """What to index so that inner product with `query_vectors` ranks as the metric does, (n, dim) float32.

    dot keeps the length that spectral, ials and ease carry meaning in; cosine drops it.
    """
    return normalise_rows(items) if metric == "cosine" else np.ascontiguousarray(items, dtype=np.float32)


def query_vectors(users: Matrix, metric: Metric) -> Matrix:
    if metric != "cosine":
        return np.ascontiguousarray(users, dtype=np.float32)
    if len(users) == 1:  # the live path: a fifth of what `unit` takes
        one = np.ascontiguousarray(users, dtype=np.float32)
        with np.errstate(over="ignore"):
            square = float(one[0].dot(one[0]))
        if MIN_SAFE_LENGTH**2 < square < MAX_SAFE_LENGTH**2:
            return one * np.float32(1 / math.sqrt(square))
    return normalise_rows(users)


class MeasuredSearcher(Searcher, Protocol):
    """A searcher that knows what it should have found."""

    @property
    def exactly(self) -> MeasuredSearcher: ...


class MeasuredScorer(MeasuredSearcher, Protocol):
    """One of raw vectors."""

    @property
    def metric(self) -> Metric: ...


@dataclass(frozen=True, eq=False)
class MetricSearcher:
    """A searcher that scales raw vectors for its index first."""

    inner: MeasuredSearcher
    metric: Metric

    @property
    def exactly(self) -> MetricSearcher:
        return MetricSearcher(self.inner.exactly, self.metric)

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        return self.inner.search(query_vectors(queries, self.metric), k, allowed)
