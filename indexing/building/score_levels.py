"""Score levels: quantiles of the scores of a space, measured at the build, for `min_score`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.latent_space.space import Metric
from engine.values.vectors import Matrix, normalise_rows

LEVELS: Mapping[str, float] = {"low": 0.5, "medium": 0.9, "high": 0.99}
MAX_QUERIES, MAX_ITEMS = 512, 4096  # of a sample with a fixed seed


def score_levels(users: Matrix, items: Matrix, similarity: Matrix, metric: Metric) -> dict[str, dict[str, float]]:
    """By index and level. `users` and `items` are raw, (n, dim); `similarity` are the vectors that items are compared
    by. An index without scores is left out.

    Pairs without a score, because a vector is 0, do not count. Pairs of an item with itself do not count either.
    """
    draw = np.random.default_rng(0)
    found = {}
    users, items = _sample(users, MAX_QUERIES, draw), _sample(items, MAX_ITEMS, draw)
    if metric == "cosine":
        users, items = normalise_rows(users), normalise_rows(items)
    alike = normalise_rows(_sample(similarity, MAX_ITEMS, draw))
    others = alike[:MAX_QUERIES]
    pairs = others @ alike.T
    pairs[np.arange(len(others)), np.arange(len(others))] = np.nan
    for index, scores, queries, targets in (
        ("users_to_items", users @ items.T, users, items),
        ("items_to_items", pairs, others, alike),
    ):
        known = scores[np.any(queries != 0, axis=1)][:, np.any(targets != 0, axis=1)]
        known = known[~np.isnan(known)]
        if len(known):
            levels = np.quantile(known, list(LEVELS.values()))
            found[index] = dict(zip(LEVELS, levels.tolist(), strict=True))
    return found


def _sample(vectors: Matrix, n: int, draw: np.random.Generator) -> Matrix:
    rows = np.sort(draw.choice(len(vectors), min(n, len(vectors)), replace=False))
    return np.asarray(vectors[rows], np.float32)
