"""Recently viewed: the items of the history, session included, that the user chose or looked at, the last one first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.ranking import Ranking


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Ranking | None:
    """Scores fall from 1 in equal steps; None for an empty history. Events that say nothing good do not count."""
    history, vocabulary = context.request.history, context.weighting.vocabulary
    if not len(history):
        return None
    chosen = {kind for kind in dict.fromkeys(history.kinds) if vocabulary.meaning(kind).weight > 0}
    order = np.argsort(-history.occurred_us, kind="stable").tolist()
    newest = dict.fromkeys(history.item_ids[at] for at in order if history.kinds[at] in chosen)
    row_of = context.view.items.row
    known = [(id_, row) for id_ in newest if (row := row_of(id_)) is not None]
    scores = np.linspace(1, 0, len(known), endpoint=False, dtype=np.float32)
    rows = np.array([row for _, row in known], np.int64)
    return Listed([id_ for id_, _ in known], rows, scores, "recently_viewed", "recently_viewed")
