"""Ordered: a ranking of the whole catalogue that is known before the request, such as popularity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from engine.recommending.values.answer import Hit, Reason
from engine.recommending.values.boosts import Boost, Rows, Scores
from engine.recommending.values.view import View

AnyScores = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False, slots=True)
class Ordered:
    """Every row, best first, and the score of each row; without scores, every score is 0."""

    rows: Rows
    scores: Scores | None
    reason: Callable[[View, int, float], Reason]  # of a row and its score without boosts
    source: str
    admits: Callable[[int], bool] | None = None  # a condition on rows beside the mask of the view

    def best(self, view: View, n: int, excluded: AbstractSet[int], boost: Boost | None) -> list[Hit]:
        return list(islice(self.hits(view, excluded, boost), n))

    def hits(self, view: View, excluded: AbstractSet[int], boost: Boost | None = None) -> Iterator[Hit]:
        """All that `best` may return, made as they are read."""
        rows, scores = self._order(boost)
        return (self._hit(view, row, scores) for row in self._eligible(view, rows, excluded))

    def among(self, view: View, rows: Collection[int], boost: Boost | None) -> list[Hit]:
        """These rows alone, in this order."""
        order, scores = self._order(boost)
        admitted = [row for row in rows if self.admits is None or self.admits(row)]
        return [self._hit(view, row, scores) for row in order[np.isin(order, admitted)].tolist()]

    def _order(self, boost: Boost | None) -> tuple[Rows, AnyScores | None]:
        if boost is None or (self.scores is None and boost.addends is None):
            return self.rows, self.scores
        return boost.order(self.rows, self.scores)

    def _hit(self, view: View, row: int, scores: AnyScores | None) -> Hit:
        score = 0.0 if scores is None else float(scores[row])
        plain = 0.0 if self.scores is None else float(self.scores[row])
        return Hit(view.items.ids[row], row, score, self.reason(view, row, plain), self.source)

    def _eligible(self, view: View, rows: Rows, excluded: AbstractSet[int]) -> Iterator[int]:
        """Reads the rows in growing pieces, because most shelves need only a few."""
        start, size = 0, 64
        while start < len(rows):
            piece = rows[start : start + size]
            if view.allowed is not None:
                piece = piece[view.allowed[piece]]
            for row in piece.tolist():
                if row not in excluded and (self.admits is None or self.admits(row)):
                    yield row
            start, size = start + size, size * 4
