"""Score floor: the scores that float32 rounding alone can make, which say nothing about an item.

A score is a sum of `dim` products, and each factor is exact to eps of the largest numbers it was computed from. A score
of at most a few eps x sqrt(dim) x the lengths of the two vectors may therefore be a rounding error of 0: the item has
nothing to do with the query. The length of an item is taken as that of the longest item, because the own length of an
item may be a rounding error too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import Metric
from engine.values.vectors import Matrix, row_lengths

EPSILON = float(np.finfo(np.float32).eps)
ROUNDED_STEPS = 4  # steps that each round: the factors, the fold-in, the scale of a vector, the score

Floors = npt.NDArray[np.float64]


def rounding_error(dim: int) -> float:
    """The largest rounding error of a sum over `dim` products, as a share of their scale."""
    return ROUNDED_STEPS * EPSILON * math.sqrt(dim)


def score_floor(query: Matrix, metric: Metric, longest: float) -> float:
    """A score of a raw (dim,) query says nothing when its absolute value is at most this."""
    floor = rounding_error(len(query))
    if metric == "cosine":
        return floor
    wide = query.astype(np.float64)
    return floor * longest * math.sqrt(wide.dot(wide))


def score_floors(queries: Matrix, metric: Metric, longest: float) -> Floors:
    """(n,): `score_floor` of each of (n, dim) queries."""
    if len(queries) == 1:  # a live request: a tenth of the time that `row_lengths` takes
        return np.array([score_floor(queries[0], metric, longest)])
    floor = rounding_error(queries.shape[1])
    return np.full(len(queries), floor) if metric == "cosine" else floor * longest * row_lengths(queries)


def longest_length(vectors: Matrix) -> float:
    return float(row_lengths(vectors).max(initial=0.0))
