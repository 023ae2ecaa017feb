"""The one place that scales vectors for an index. Every index is an inner-product index over what is made here."""

from __future__ import annotations

import numpy as np

from engine.space import Metric
from engine.vectors import Matrix

TINY = 1e-12


def unit(vectors: Matrix) -> Matrix:
    """Rows at unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, TINY), dtype=np.float32)


def index_vectors(items: Matrix, metric: Metric) -> Matrix:
    """What to index so that inner product with `query_vectors` ranks as the metric does, (n, dim) float32.

    dot keeps the length that spectral, ials and ease carry meaning in; cosine drops it.
    """
    return unit(items) if metric == "cosine" else np.ascontiguousarray(items, dtype=np.float32)


def query_vectors(users: Matrix, metric: Metric) -> Matrix:
    return unit(users) if metric == "cosine" else np.ascontiguousarray(users, dtype=np.float32)
