"""Boost: some items' scores times a factor, in true order: no reordering of what was found without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.deadline import until_deadline
from engine.recommending import rounding
from engine.recommending.recommend import Hit, Popular, Reason, pick
from engine.recommending.values.searcher import Scorer
from engine.recommending.values.view import View
from engine.values.vectors import Matrix

Factors = npt.NDArray[np.float32]  # by row of the view, above 0; 1 where nothing is boosted


def boosted(scores: npt.NDArray[np.float32], factors: Factors | np.float32) -> npt.NDArray[np.float32]:
    """A factor above 1 raises a score, also one below zero; one below 1 lowers it. NaN stays."""
    return np.where(scores > 0, scores * factors, scores / factors)


@dataclass(frozen=True, eq=False)
class Boosted:
    """Taking by boosted scores; so is the popularity of what fills up."""

    factors: Factors

    def take(self, view: View, searcher: Scorer, vector: Matrix, k: int, out: set[int], reason: Reason) -> list[Hit]:
        """Among items of one factor the order is that of a search, so one for each is enough."""
        hits: list[Hit] = []
        width = min(k, view.n_vectors)
        for factor in until_deadline(self._different, every=1):
            mask = self.factors == np.float32(factor)
            if view.allowed is not None:
                mask &= view.allowed
            mask[list(out)] = False
            scores, rows = rounding.told(view, searcher, vector[None], width, mask)
            made = boosted(scores[0], np.float32(factor))
            hits += pick(view, made.tolist(), rows[0].tolist(), k, set(), reason)
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    @cached_property
    def _different(self) -> list[float]:
        return np.unique(self.factors).tolist()

    @cached_property
    def _popular(self) -> dict[int, Popular]:
        """By view: many shelves share both."""
        return {}

    def popular(self, view: View) -> Popular:
        if id(view) not in self._popular:
            self._popular[id(view)] = self._popular_in(view)
        return self._popular[id(view)]

    def _popular_in(self, view: View) -> Popular:
        popularity = boosted(view.popularity, self.factors)
        return view.popular[np.argsort(-popularity[view.popular], kind="stable")], popularity
