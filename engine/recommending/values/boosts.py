"""Boosts: factors and addends of scores, as a request asks for them and as numbers by item.

A score s becomes s x factor + addend, before the best are chosen among all eligible items. A factor above 1 raises a
score, also a negative one (s / factor); a factor below 1 lowers it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.catalogue.predicate import Predicate
from engine.deadline import needs_more_work

MAX_BOOSTS, MAX_FACTOR, MAX_ADDEND, MAX_POINTS = 100, 100.0, 1e6, 100
MAX_ORDERS = 4  # orders of whole catalogues that a boost keeps: by the popularity of now and of a moment ago

Factors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FilterBoost:
    """One factor and one addend, for the items that pass the filter."""

    predicate: Predicate
    factor: float = 1.0
    add: float = 0.0


@dataclass(frozen=True)
class CurveBoost:
    """A factor or an addend that depends on a number of the item: linear between the points of `curve`, constant before
    the first and after the last.
    """

    field: str  # as `Condition.field` names it
    curve: tuple[tuple[float, float], ...]  # (x, y), ascending by x
    is_age: bool = False  # x is the age, in days, of the time in the field
    adds: bool = False  # y is an addend; else a factor
    missing: float = 1.0  # the y of an item without a value
    predicate: Predicate | None = None  # only for the items that pass it


class Boosts(tuple[FilterBoost | CurveBoost, ...]):
    """The boosts of one request; the hash, which reads every filter, is computed once."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def predicates(self) -> tuple[Predicate, ...]:
        return tuple(each.predicate for each in self if each.predicate is not None)

    @cached_property
    def depend_on_time(self) -> bool:
        return any(isinstance(each, CurveBoost) and each.is_age for each in self)


NO_BOOSTS = Boosts()


def boosted(
    scores: npt.NDArray[np.floating], factors: npt.NDArray[np.floating], addends: npt.NDArray[np.floating] | None
) -> npt.NDArray[np.float64]:
    """NaN stays."""
    wide, by = scores.astype(np.float64), factors.astype(np.float64)
    made = np.where(wide > 0, wide * by, wide / by)
    return made if addends is None else made + addends


@dataclass(frozen=True, eq=False)
class Boost:
    """The factors and addends of all boosts of a request, by row of the view. Requests share the object."""

    factors: Factors  # above 0; 1: not boosted
    addends: Factors | None = None  # None: all 0
    _orders: dict[int, tuple[Scores | None, tuple[Rows, npt.NDArray[np.float64]]]] = field(default_factory=dict)

    @cached_property
    def largest(self) -> tuple[float, float]:
        """The largest factor, and the largest addend."""
        addend = 0.0 if self.addends is None else float(self.addends.max(initial=-np.inf))
        return float(self.factors.max(initial=0)), addend

    def bound(self, score: float) -> float:
        """No item whose score is at most `score` has a higher boosted score."""
        factor, addend = self.largest
        return (score * factor if score > 0 else score / factor) + addend

    def of_rows(self, rows: Rows, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(n,) the boosted scores of rows with these scores."""
        return boosted(scores, self.factors[rows], None if self.addends is None else self.addends[rows])

    def without(self, rows: Rows, boosted_scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(n,) the scores of rows before they were boosted."""
        scaled = boosted_scores.astype(np.float64)
        if self.addends is not None:
            scaled = scaled - self.addends[rows]
        factors = self.factors[rows].astype(np.float64)
        return np.where(scaled > 0, scaled / factors, scaled * factors)

    def order(self, rows: Rows, scores: Scores | None) -> tuple[Rows, npt.NDArray[np.float64]]:
        """The rows by their boosted scores, and these scores by row. `rows` are in the order of `scores`, which are by
        row; without scores, every score is 0.
        """
        kept = self._orders.get(id(scores))  # the entry keeps `scores` alive, so the id stays its own
        if kept is None or kept[0] is not scores:
            needs_more_work()
            made = boosted(np.zeros(len(self.factors)) if scores is None else scores, self.factors, self.addends)
            kept = scores, (rows[np.argsort(-made[rows], kind="stable")], made)
            if len(self._orders) >= MAX_ORDERS:
                self._orders.clear()
            self._orders[id(scores)] = kept
        return kept[1]
