"""Searchers: what finds the rows nearest to vectors. Implemented in `indexing.searchers`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import Metric
from engine.values.vectors import Matrix

Mask = npt.NDArray[np.bool_]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class Searcher(Protocol):
    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        """Scores (n, k) float32 and rows (n, k) int64, best first; -1 where there are no more.

        `allowed` has a value for each row; further values are ignored. Implementations may cache results derived from
        a read-only `allowed`, so that the next search with the same object is faster.
        """
        ...


class Scorer(Searcher, Protocol):
    """A searcher of raw vectors."""

    @property
    def metric(self) -> Metric:
        """Of its scores."""
        ...
