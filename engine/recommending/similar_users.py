"""Similar users: users with a similar taste, by the cosine of their vectors."""

from __future__ import annotations

import numpy as np

from engine.latent_space.score_floor import rounding_error
from engine.values.vectors import Matrix, Vectors, normalise_rows, row_lengths


def similar_users(users: Vectors | None, vector: Matrix, *, k: int) -> list[tuple[str, float]]:
    """The `k` users whose stored vectors are nearest to a (dim,) user vector by cosine, best first."""
    if users is None or len(users) == 0:
        return []
    matrix = users.matrix
    norms = row_lengths(matrix)
    products = matrix @ normalise_rows(vector[None])[0]
    scores = np.divide(products, norms, out=np.zeros(len(matrix)), where=norms > 0)
    scores[np.abs(scores) <= rounding_error(len(vector))] = -np.inf  # such users have nothing in common
    best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
    order = best[np.argsort(-scores[best], kind="stable")]
    return [(users.ids.ids[row], float(scores[row])) for row in order.tolist() if np.isfinite(scores[row])]
