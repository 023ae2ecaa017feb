"""Boost: some items' scores times a factor, in true order: no reordering of what was found without it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from engine.events import History, Weighting
from engine.recommend import Answer, Fill, Hit, Popular, Reason, Searcher, View, fill, pick, rows_of, user_vector
from engine.vectors import Matrix

Factors = npt.NDArray[np.float32]  # by row of the view, above 0; 1 where nothing is boosted


def recommend_boosted(
    view: View,
    factors: Factors,
    *,
    k: int,
    weighting: Weighting,
    now_us: int,
    history: History | None = None,
    vector: Matrix | None = None,
    exclude: Collection[str] = (),
    way: Fill = "popular",
) -> Answer:
    """As `recommend`, by boosted scores; so is the popularity of what fills up."""
    out = rows_of(view, exclude)
    hits: list[Hit] = []
    user = vector if vector is not None else user_vector(view, history, weighting, now_us)
    if user is not None and view.users_to_items is not None:
        reason: Reason = "vector" if vector is not None else "history"
        hits = take_boosted(view, view.users_to_items, user, k, out, reason, factors)
    return fill(view, hits, k, out, way, _most_popular(view, factors) if len(hits) < k else None)


def boosted(score: float, factor: float) -> float:
    """A factor above 1 raises a score, also one below zero; one below 1 lowers it."""
    return score * factor if score > 0 else score / factor


def take_boosted(
    view: View, searcher: Searcher, vector: Matrix, k: int, out: Collection[int], reason: Reason, factors: Factors
) -> list[Hit]:
    """The k best boosted scores: among items of one factor the order is that of a search, so one for each is enough."""
    hits: list[Hit] = []
    width = min(k, view.n_vectors)
    for factor in np.unique(factors).tolist():
        mask = factors == np.float32(factor)
        if view.allowed is not None:
            mask &= view.allowed
        mask[list(out)] = False
        scores, rows = searcher.search(vector[None].astype(np.float32), width, mask)
        for hit in pick(view, scores[0].tolist(), rows[0].tolist(), k, set(), reason):
            hits.append(Hit(hit.item_id, hit.row, boosted(hit.score, factor), reason))
    return sorted(hits, key=lambda hit: -hit.score)[:k]


def _most_popular(view: View, factors: Factors) -> Popular:
    popularity = view.popularity * factors[: len(view.popularity)]
    return view.popular[np.argsort(-popularity[view.popular], kind="stable")], popularity
