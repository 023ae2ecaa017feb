"""Rounding: what float32 leaves of a score that is nothing is told as nothing, not as knowledge.

A score is a sum of dim products of numbers that are right to eps of the largest they are made with. So one that is no
more than a few eps x root of dim x the lengths of the two vectors could as well be 0: of items that have nothing to do
with each other. An item's length is that of the longest, as its own may be rounding alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import Metric
from engine.values.vectors import Matrix, row_lengths

if TYPE_CHECKING:
    from engine.recommending.values.searcher import Found, Mask, Scorer
    from engine.recommending.values.view import View

EPSILON = float(np.finfo(np.float32).eps)
STEPS = 4  # that each round: the factors, the fold-in, the scale of a vector, the score

Floors = npt.NDArray[np.float64]


def share(dim: int) -> float:
    """Of the scale of what a sum is made of: what rounding may make of a sum that is nothing."""
    return STEPS * EPSILON * math.sqrt(dim)


def floors(vectors: Matrix, metric: Metric, longest: float) -> Floors:
    """(n,): scores of (n, dim) raw queries that are not above it, nor as far below 0, say nothing."""
    floor = share(vectors.shape[1])
    if metric == "cosine":
        return np.full(len(vectors), floor)
    if len(vectors) == 1:  # the live path: a tenth of what `lengths` takes
        one = vectors[0].astype(np.float64)
        return np.array([floor * longest * math.sqrt(one.dot(one))])
    return floor * longest * row_lengths(vectors)


def told(view: View, searcher: Scorer, vectors: Matrix, k: int, allowed: Mask | None) -> Found:
    """What a search finds for (n, dim) raw vectors; a score that says nothing is 0."""
    scores, rows = searcher.search(np.asarray(vectors, np.float32), k, allowed)
    floor = floors(vectors, searcher.metric, view.longest)
    if scores.shape[1] == 0 or (scores[:, -1] > floor).all():  # best first
        return scores, rows
    return np.where(np.abs(scores) <= floor[:, None], np.float32(0), scores), rows


def longest(vectors: Matrix) -> float:
    return float(row_lengths(vectors).max(initial=0.0))
