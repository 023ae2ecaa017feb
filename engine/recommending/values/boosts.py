"""Boost: the scores of some items times a factor, before the best are chosen among all eligible items."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.recommending.values.request import Boosts
from engine.recommending.values.view import View

Factors = npt.NDArray[np.float32]  # by row of the view, above 0; 1: not boosted
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


def boosted(scores: Scores, factors: Factors | np.float32) -> Scores:
    """A factor above 1 raises a score, also a negative one; a factor below 1 lowers it. NaN stays."""
    return np.where(scores > 0, scores * factors, scores / factors)


@dataclass(frozen=True, eq=False)
class Boost:
    """The factors of one request; requests with the same filter and boosts share the object."""

    factors: Factors
    _orders: dict[int, tuple[Scores, tuple[Rows, Scores]]] = field(default_factory=dict)

    @cached_property
    def distinct(self) -> list[float]:
        return np.unique(self.factors).tolist()

    def order(self, rows: Rows, scores: Scores) -> tuple[Rows, Scores]:
        """The rows by their boosted scores, and these scores by row. `rows` are in the order of `scores`."""
        kept = self._orders.get(id(scores))  # the entry keeps `scores` alive, so the id stays its own
        if kept is None:
            made = boosted(scores, self.factors)
            kept = scores, (rows[np.argsort(-made[rows], kind="stable")], made)
            self._orders[id(scores)] = kept
        return kept[1]


def boost_of(view: View, boosts: Boosts) -> Boost | None:
    """None without boosts. Several factors on one item are multiplied."""
    if not boosts:
        return None
    factors = np.ones(len(view.items), np.float32)
    for predicate, factor in boosts:
        mask = view.where(predicate).allowed
        factors[slice(None) if mask is None else mask] *= np.float32(factor)
    return Boost(factors)
