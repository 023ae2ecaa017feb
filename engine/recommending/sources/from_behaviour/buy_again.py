"""Buy again: the items that the user bought, those due soonest by their own repurchase interval first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.behaviour.buy_again import due_scores
from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.ranking import Ranking
from engine.values.interactions import DAY_US


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    """None for a user without purchases."""
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    history, vocabulary, row_of = context.request.history, context.weighting.vocabulary, context.view.items.row
    bought = {kind for kind in dict.fromkeys(history.kinds) if vocabulary.meaning(kind).kind == "purchase"}
    if not bought:
        return None
    times = history.occurred_us.tolist()
    last: dict[int, int] = {}
    days: dict[int, set[int]] = {}
    for id_, kind, time in zip(history.item_ids, history.kinds, times, strict=True):
        if kind in bought and (row := row_of(id_)) is not None:
            last[row] = max(last.get(row, time), time)
            days.setdefault(row, set()).add(time // DAY_US)
    rows = np.array([*last], np.int64)
    n_bought = np.array([len(days[row]) for row in last], np.int64)
    last_us = np.array([*last.values()], np.int64)
    scores = due_scores(last_us, n_bought, context.view.behaviour.repurchase_days[rows], context.now_us)
    item_ids = [context.view.items.ids[row] for row in last]
    return Listed(item_ids, rows, scores.astype(np.float32), "buy_again", "buy_again")
