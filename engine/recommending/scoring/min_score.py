"""Minimum score: only items that the model scores at least as high as a share of all pairs in this space.

The build measures the scores of many users, and of many items, for many items: `low` is the median, `medium` the score
that one pair in ten exceeds, `high` one in a hundred. The score of an item counts before boosts and rotation. Items
that the model does not score, such as popular items that fill a shelf, do not pass.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np

from engine.deadline import check_deadline, needs_more_work
from engine.errors import InputError
from engine.recommending.values.answer import Hit
from engine.recommending.values.boosts import Boost
from engine.recommending.values.context import Context
from engine.recommending.values.nearest import Nearest
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.view import View

WIDEN = 4


def lowest_score(context: Context, ranking: Ranking | None) -> float | None:
    """None: the request has no minimum; NaN: the model has no scores for it."""
    word = context.request.min_score
    if word is None:
        return None
    if not isinstance(ranking, Nearest):
        return np.nan
    levels = context.view.score_levels(ranking.index)
    if levels is None:
        message = "expected an index with measured scores, this one has none; build it again with `nearfield index`"
        raise InputError(message, loc=("min_score",))
    return levels[word]


def best_above(
    ranking: Ranking | None, lowest: float, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None
) -> list[Hit]:
    """The `n` best items whose score before boosts is at least `lowest`; fewer: there are no more."""
    if ranking is None or np.isnan(lowest):
        return []
    width = n
    while True:
        hits = ranking.best(view, width, excluded, boost)
        kept = [hit for hit, plain in zip(hits, _plain(hits, boost), strict=True) if plain >= lowest]
        kept = [hit for hit in kept if hit.reason != "unranked"]
        is_sorted = boost is None  # then no item after one that is too low passes
        if len(kept) >= n or len(hits) < width or (is_sorted and len(kept) < len(hits)):
            return kept[:n]
        check_deadline()
        needs_more_work()
        width *= WIDEN


def _plain(hits: list[Hit], boost: Boost | None) -> list[float]:
    scores = np.array([hit.score for hit in hits])
    if boost is None or not hits:
        return list(scores.tolist())
    plain = boost.without(np.array([hit.row for hit in hits]), scores)
    return list((plain + 1e-6 * np.abs(plain)).tolist())  # the way back from a boosted score rounds


def why_short(context: Context, lowest: float) -> str:
    word = context.request.min_score
    if np.isnan(lowest):
        return f"min_score {word} asks for scores of the model, which has none for this request"
    return f"no more eligible items have a score of at least {lowest:.3g}, which min_score {word} asks for"
