"""Boost: some items' scores times a factor, in true order: no reordering of what was found without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.recommend import Hit, Popular, Reason, Searcher, View, pick
from engine.vectors import Matrix

Factors = npt.NDArray[np.float32]  # by row of the view, above 0; 1 where nothing is boosted


def boosted(score: float, factor: float) -> float:
    """A factor above 1 raises a score, also one below zero; one below 1 lowers it."""
    return score * factor if score > 0 else score / factor


@dataclass(frozen=True, eq=False)
class Boosted:
    """Taking by boosted scores; so is the popularity of what fills up."""

    factors: Factors

    def take(self, view: View, searcher: Searcher, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
        """Among items of one factor the order is that of a search, so one for each is enough."""
        hits: list[Hit] = []
        width = min(k, view.n_vectors)
        for factor in np.unique(self.factors).tolist():
            mask = self.factors == np.float32(factor)
            if view.allowed is not None:
                mask &= view.allowed
            mask[list(out)] = False
            scores, rows = searcher.search(vector[None].astype(np.float32), width, mask)
            for hit in pick(view, scores[0].tolist(), rows[0].tolist(), k, set(), reason):
                hits.append(Hit(hit.item_id, hit.row, boosted(hit.score, factor), reason))
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def popular(self, view: View) -> Popular:
        popularity = view.popularity * self.factors[: len(view.popularity)]
        return view.popular[np.argsort(-popularity[view.popular], kind="stable")], popularity
