"""The one place that scales vectors for an index. Every index is an inner-product index over what is made here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.recommend import Found, Mask, Searcher
from engine.space import Metric
from engine.vectors import Matrix

TINY = 1e-12
BLOCK = 65_536  # rows scaled at a time: an index is built without a second copy of its vectors


def unit(vectors: Matrix) -> Matrix:
    """Rows at unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, TINY), dtype=np.float32)


def inverse_lengths(vectors: Matrix) -> Matrix:
    """(n,) float32: what a row is multiplied with to have unit length, so that raw vectors serve cosine as they are."""
    made = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        made[start : start + BLOCK] = 1 / np.maximum(np.sqrt(np.einsum("ij,ij->i", block, block)), TINY)
    return made


def scale(vectors: Matrix, factors: Matrix | None) -> Matrix:
    """Rows times their factors, contiguous float32."""
    return np.ascontiguousarray(vectors if factors is None else vectors * factors[:, None], dtype=np.float32)


def index_vectors(items: Matrix, metric: Metric) -> Matrix:
    """What to index so that inner product with `query_vectors` ranks as the metric does, (n, dim) float32.

    dot keeps the length that spectral, ials and ease carry meaning in; cosine drops it.
    """
    return unit(items) if metric == "cosine" else np.ascontiguousarray(items, dtype=np.float32)


def query_vectors(users: Matrix, metric: Metric) -> Matrix:
    if metric != "cosine":
        return np.ascontiguousarray(users, dtype=np.float32)
    if len(users) == 1:  # the live path: a fifth of what `unit` takes
        one = np.ascontiguousarray(users, dtype=np.float32)
        return one * np.float32(1 / max(math.sqrt(one[0].dot(one[0])), TINY))
    return unit(users)


class MeasuredSearcher(Searcher, Protocol):
    """A searcher that knows what it should have found."""

    @property
    def exactly(self) -> MeasuredSearcher: ...


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
