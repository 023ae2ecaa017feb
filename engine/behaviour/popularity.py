"""Popularity: how much users take up each item, with older events counting less. Served, and the baseline of
evaluations.

A user counts once for an item: the saturated sum of the weights of all events of the pair, at most the weight of one
event of the heaviest kind, dated by the newest event. Returns and dislikes subtract, and a thousand clicks of one
visitor are one visitor. A weight halves every half-life; because all weights fade alike, only new events change the
order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.values.events import EventColumns, Weighting
from engine.values.interactions import DAY_US

NEGLIGIBLE = 1e-9  # as a share of the largest sum: what float64 leaves of a sum that is 0

Rows = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairWeights:
    """One entry for each pair of a user and an item: rows or keys of both, the signed weight, the newest event."""

    users: Rows
    items: Rows
    weights: Sums
    newest_us: Rows

    def item_sums(self, half_life_days: float | None, as_of_us: int, n_items: int) -> Sums:
        """(n_items,): the weights at `as_of_us`, summed by item. Events after `as_of_us` count more than their own
        weight.
        """
        weights = self.weights
        if half_life_days is not None:
            halvings = (self.newest_us - as_of_us) / (half_life_days * DAY_US)
            weights = weights * np.exp2(np.clip(halvings, -1000, 1000))  # stays within float64
        return np.bincount(self.items, weights, minlength=n_items).astype(np.float64)


def pair_weights(events: EventColumns, weighting: Weighting, now_us: int | None = None) -> PairWeights:
    """An event dated after `now_us` counts as an event of `now_us`."""
    weights = _event_weights(events, weighting)
    occurred = events.occurred_us if now_us is None else np.minimum(events.occurred_us, now_us)
    order, starts = _sort_by_pair(events.user_rows, events.item_rows)
    if not len(order):
        return PairWeights(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.int64))
    sums = np.add.reduceat(weights[order], starts)
    newest = np.maximum.reduceat(np.where(weights != 0, occurred, np.iinfo(np.int64).min)[order], starts)
    size = np.abs(sums)
    size[size < NEGLIGIBLE * size.max()] = 0.0
    signed = np.sign(sums) * np.minimum(weighting.saturate(size), max_pair_weight(weighting))
    first = order[starts]
    newest = np.where(newest == np.iinfo(np.int64).min, occurred[first], newest)  # of a weight of 0 any date will do
    return PairWeights(events.user_rows[first], events.item_rows[first], signed, newest)


def max_pair_weight(weighting: Weighting) -> float:
    """The largest weight of a pair: that of one event of the heaviest kind."""
    heaviest = max(abs(weight) for weight in (*weighting.kinds.values(), weighting.other))
    return float(weighting.saturate(np.array([heaviest]))[0])


def _event_weights(events: EventColumns, weighting: Weighting) -> Sums:
    """(n,): signed, without the half-life of the space, because popularity has its own."""
    ageless = replace(weighting, half_life_days=None)
    values, at = np.unique(events.values, return_inverse=True)
    if len(values) * len(events.kinds) < len(events):  # a table of the few distinct values is ten times as fast
        kinds = [kind for kind in events.kinds for _ in values]
        table = ageless.weigh(kinds, np.tile(values, len(events.kinds)), np.zeros(len(kinds)))
        return table.reshape(-1, len(values))[events.kind_codes, at].astype(np.float64)
    each = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    return ageless.weigh(each, events.values, np.zeros(len(events))).astype(np.float64)


def _sort_by_pair(users: Rows, items: Rows) -> tuple[Rows, Rows]:
    """An order of the events that groups them by pair, and the index where each pair starts."""
    width = int(users.max(initial=0)) + 1
    fits = width * (int(items.max(initial=0)) + 1) < 2**63
    order = np.argsort(items * width + users) if fits else np.lexsort((users, items))
    users, items = users[order], items[order]
    starts = np.flatnonzero(np.r_[True, (users[1:] != users[:-1]) | (items[1:] != items[:-1])][: len(order)])
    return order, starts


@dataclass(frozen=True, eq=False)
class PopularityRanking:
    """The items by popularity: their sums by row at one moment, and the rows from the largest sum to the smallest."""

    sums: Sums
    order: Rows
    _extended: dict[int, PopularityRanking] = field(default_factory=dict)

    @cached_property
    def shares(self) -> npt.NDArray[np.float32]:
        """(n_rows,): the sums as shares of the largest one; above 0 for every sum above 0."""
        top = float(self.sums.max(initial=0.0))
        if top <= 0:
            top = max(float(np.abs(self.sums).max(initial=0.0)), 1.0)
        shares = (self.sums / top).astype(np.float32)
        smallest = np.finfo(np.float32).tiny
        return np.where(self.sums > 0, np.maximum(shares, smallest), shares)

    def updated(self, rows: Rows, changes: Sums) -> PopularityRanking:
        """With the sums of these distinct rows changed; rows beyond the last one are new."""
        return self._updated(rows, changes, max(len(self.sums), int(rows.max(initial=-1)) + 1))

    def extended(self, n_rows: int) -> PopularityRanking:
        """With `n_rows` rows; the sum of a new row is 0."""
        if n_rows == len(self.sums):
            return self
        if n_rows not in self._extended:
            self._extended.clear()  # a catalogue only grows
            self._extended[n_rows] = self._updated(np.zeros(0, np.int64), np.zeros(0), n_rows)
        return self._extended[n_rows]

    def _updated(self, rows: Rows, changes: Sums, n_rows: int) -> PopularityRanking:
        """Moves only the changed rows: the others keep their order."""
        sums = np.concatenate([self.sums, np.zeros(n_rows - len(self.sums))])
        sums[rows] += changes
        changed = np.zeros(n_rows, dtype=bool)
        changed[rows] = True
        changed[len(self.sums) :] = True
        kept = self.order[~changed[self.order]]
        moving = np.flatnonzero(changed)
        moving = moving[np.argsort(-sums[moving], kind="stable")]
        places = np.searchsorted(-sums[kept], -sums[moving], side="right")
        return PopularityRanking(sums, np.insert(kept, places, moving))


def rank_by_popularity(sums: Sums) -> PopularityRanking:
    return PopularityRanking(sums, np.argsort(-sums, kind="stable").astype(np.int64))
