"""Listed items: the items of the request in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.recommending.values.context import Context
from engine.recommending.values.listed import Listed
from engine.recommending.values.ranking import Ranking


def rank(contexts: Sequence[Context]) -> list[Ranking | None]:
    return [_ranking(context) for context in contexts]


def _ranking(context: Context) -> Listed:
    """Scores fall from 1 in equal steps. Unknown items are left out; of an item that is listed twice, the second."""
    item_ids = list(dict.fromkeys(context.request.item_ids))
    scores = np.linspace(1, 0, len(item_ids), endpoint=False, dtype=np.float32)
    known = [(at, row) for at, id_ in enumerate(item_ids) if (row := context.view.items.row(id_)) is not None]
    rows = np.array([row for _, row in known], np.int64)
    places = [at for at, _ in known]
    return Listed([item_ids[at] for at in places], rows, scores[places], "listed", "list")
