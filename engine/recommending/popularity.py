"""Popularity: how much each item is taken up, and how soon that is forgotten. The one that is served and judged by.

A user counts once for an item: by the saturated sum of all that the user did with it, at most as much as one event of
the weightiest kind, dated by the newest of it. So returns and dislikes subtract, and a thousand clicks of one visitor
are one visitor. Each counts half as much every half-life; as all fade alike, only what happens moves the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.values.events import EventColumns, Weighting
from engine.values.interactions import DAY_US

CRUMB = 1e-9  # of the largest: what float64 leaves of a sum that is nothing

Rows = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Uptake:
    """What each user made of each item, one cell for each pair: rows, or keys, of both; signed worth; newest event."""

    users: Rows
    items: Rows
    worth: Sums
    last_us: Rows

    def sums(self, half_life_days: float | None, as_of_us: int, n_items: int) -> Sums:
        """Of the items, (n_items,), in what a cell is worth at `as_of_us`; later ones are worth more than their own."""
        worth = self.worth
        if half_life_days is not None:
            halvings = (self.last_us - as_of_us) / (half_life_days * DAY_US)
            worth = worth * np.exp2(np.clip(halvings, -1000, 1000))  # within float64
        return np.bincount(self.items, worth, minlength=n_items).astype(np.float64)


def uptake(events: EventColumns, weighting: Weighting, now_us: int | None = None) -> Uptake:
    """The cells of these events; what is dated after `now_us` counts as of then."""
    weights = _weights(events, weighting)
    occurred = events.occurred_us if now_us is None else np.minimum(events.occurred_us, now_us)
    order, starts = _by_pair(events.user_rows, events.item_rows)
    if not len(order):
        return Uptake(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.int64))
    sums = np.add.reduceat(weights[order], starts)
    newest = np.maximum.reduceat(np.where(weights != 0, occurred, np.iinfo(np.int64).min)[order], starts)
    size = np.abs(sums)
    size[size < CRUMB * size.max()] = 0.0
    worth = np.sign(sums) * np.minimum(weighting.saturate(size), most(weighting))
    first = order[starts]
    last = np.where(newest == np.iinfo(np.int64).min, occurred[first], newest)  # of what weighs nothing any moment does
    return Uptake(events.user_rows[first], events.item_rows[first], worth, last)


def most(weighting: Weighting) -> float:
    """What one user may make of an item: as much as by one event of the weightiest kind."""
    heaviest = max(abs(weight) for weight in (*weighting.kinds.values(), weighting.other))
    return float(weighting.saturate(np.array([heaviest]))[0])


def _weights(events: EventColumns, weighting: Weighting) -> Sums:
    """Signed weight of each event, (n,), without the space's half-life: popularity has one of its own."""
    ageless = replace(weighting, half_life_days=None)
    values, at = np.unique(events.values, return_inverse=True)
    if len(values) * len(events.kinds) < len(events):  # a table of few quantities is ten times as quick
        kinds = [kind for kind in events.kinds for _ in values]
        table = ageless.weigh(kinds, np.tile(values, len(events.kinds)), np.zeros(len(kinds)))
        return table.reshape(-1, len(values))[events.kind_codes, at].astype(np.float64)
    each = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    return ageless.weigh(each, events.values, np.zeros(len(events))).astype(np.float64)


def _by_pair(users: Rows, items: Rows) -> tuple[Rows, Rows]:
    """An order of events that brings those of one user and item together, and where each pair begins in it."""
    width = int(users.max(initial=0)) + 1
    fits = width * (int(items.max(initial=0)) + 1) < 2**63
    order = np.argsort(items * width + users) if fits else np.lexsort((users, items))
    users, items = users[order], items[order]
    starts = np.flatnonzero(np.r_[True, (users[1:] != users[:-1]) | (items[1:] != items[:-1])][: len(order)])
    return order, starts


@dataclass(frozen=True, eq=False)
class Standing:
    """Items by popularity: sums by row as of one moment, and the rows in their order, those of a sum below 0 last."""

    sums: Sums
    order: Rows
    _wider: dict[int, Standing] = field(default_factory=dict)

    @cached_property
    def shares(self) -> npt.NDArray[np.float32]:
        """Of the most popular, (n_rows,); above 0 for every sum that is."""
        top = float(self.sums.max(initial=0.0))
        if top <= 0:
            top = max(float(np.abs(self.sums).max(initial=0.0)), 1.0)
        shares = (self.sums / top).astype(np.float32)
        least = np.finfo(np.float32).tiny
        return np.where(self.sums > 0, np.maximum(shares, least), shares)

    def moved(self, rows: Rows, by: Sums) -> Standing:
        """With the sums of these distinct rows changed by so much; rows behind the last are new ones."""
        return self._moved(rows, by, max(len(self.sums), int(rows.max(initial=-1)) + 1))

    def widened(self, n_rows: int) -> Standing:
        """With so many rows, the new ones of a sum of 0."""
        if n_rows == len(self.sums):
            return self
        if n_rows not in self._wider:
            self._wider.clear()  # a catalogue only grows
            self._wider[n_rows] = self._moved(np.zeros(0, np.int64), np.zeros(0), n_rows)
        return self._wider[n_rows]

    def _moved(self, rows: Rows, by: Sums, n_rows: int) -> Standing:
        sums = np.concatenate([self.sums, np.zeros(n_rows - len(self.sums))])
        sums[rows] += by
        touched = np.zeros(n_rows, dtype=bool)
        touched[rows] = True
        touched[len(self.sums) :] = True
        kept = self.order[~touched[self.order]]
        moving = np.flatnonzero(touched)
        moving = moving[np.argsort(-sums[moving], kind="stable")]
        keys, new = -sums[kept], -sums[moving]
        after = np.searchsorted(keys, new, side="right")
        return Standing(sums, np.insert(kept, after, moving))


def standing(sums: Sums) -> Standing:
    return Standing(sums, np.argsort(-sums, kind="stable").astype(np.int64))
