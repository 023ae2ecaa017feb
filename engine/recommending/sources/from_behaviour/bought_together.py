"""Bought together: the items that users buy with the seeds, by the lists of `view.behaviour.bought_together`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.ranking import Ranking
from engine.recommending.vectors.seeds import seeds


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """None for a request whose seeds nobody bought with other items."""
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    """Scores are sums over the seeds, by their weights."""
    view, start = context.view, seeds(context)
    weighted = zip(start.item_ids, start.weights, strict=True)
    known = [(row, weight) for id_, weight in weighted if (row := view.items.row(id_)) is not None]
    found = [(view.behaviour.bought_together.of(row), np.float32(weight)) for row, weight in known]
    lists = [(rows, scores * weight) for (rows, scores), weight in found if len(rows)]
    if not lists:
        return None
    rows, totals = lists[0]
    if len(lists) > 1:
        rows, places = np.unique(np.concatenate([rows for rows, _ in lists]), return_inverse=True)
        parts = np.concatenate([scores for _, scores in lists])
        totals = np.bincount(places, parts, len(rows)).astype(np.float32)
    item_ids = [view.items.ids[row] for row in rows.tolist()]
    return Listed(item_ids, rows, totals, "bought_together", "bought_together")
