"""Listed: a ranking of a few items that the request, or a list kept for it, names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from engine.recommending.values.answer import Hit, Reason
from engine.recommending.values.boosts import Boost, Rows, Scores
from engine.recommending.values.view import View


@dataclass(frozen=True, eq=False, slots=True)
class Listed:
    """Items by score; items without a score come last, in their own order, and are "unranked"."""

    item_ids: Sequence[str]
    rows: Rows  # (n,), -1: not in the catalogue
    scores: Scores  # (n,), NaN: no score
    reason: Reason
    source: str

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        """An item that is not in the catalogue passes no filter, and everything else."""
        rows = self.rows
        eligible = rows >= 0 if view.filtered else np.ones(len(rows), bool)
        if view.allowed is not None:
            eligible &= (rows < 0) | view.allowed[rows]
        places = np.flatnonzero(eligible)
        kept = [at for at, row in zip(places.tolist(), rows[places].tolist(), strict=True) if row not in excluded]
        return self._ranked(kept, n, boost)

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        wanted = set(rows)
        listed = [at for at, row in enumerate(self.rows.tolist()) if row in wanted]
        return self._ranked(listed, len(listed), boost)

    def _ranked(self, kept: list[int], n: int, boost: Boost | None) -> list[Hit]:
        rows, scores = self.rows[kept], self.scores[kept].astype(np.float64)
        if boost is not None:
            in_catalogue = rows >= 0
            scores[in_catalogue] = boost.of_rows(rows[in_catalogue], scores[in_catalogue])
        known = ~np.isnan(scores)
        values = np.where(known, scores, 0)
        order = np.lexsort((-values, ~known))[:n].tolist()
        return [
            Hit(
                self.item_ids[kept[at]],
                int(rows[at]),
                float(values[at]),
                self.reason if known[at] else "unranked",
                self.source,
            )
            for at in order
        ]
