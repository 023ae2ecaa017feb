"""Trends: the items that users take up now more than they did before.

Each item has two sums of the same events, one with a short and one with a long half-life. A sum times ln 2 / half-life
is a rate per day: the rate of the last days and the item's usual rate. The score is the rate of the last days, times a
power of its ratio to the usual one:

    score = recent * ((recent + SHRINKAGE) / (usual + SHRINKAGE)) ** MOMENTUM

A user counts once per item and day, as in popularity. The moment of the sums is that of the newest event. Returns count
against an item; sums below 0 count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.behaviour.popularity import PairWeights, Rows, Sums, pair_weights
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import DAY_US

RECENT_DAYS, USUAL_DAYS = 12.0, 112.0  # half-lives
SHRINKAGE = 0.5  # per day, in units of the heaviest event
MOMENTUM = 0.25
LN2 = float(np.log(2.0))


@dataclass(frozen=True, eq=False)
class Trends:
    """Two sums by item row at one moment; the scores and the order that follow from them."""

    recent: Sums  # (n_rows,) with the half-life RECENT_DAYS
    usual: Sums  # (n_rows,) with the half-life USUAL_DAYS
    as_of_us: int
    scores: npt.NDArray[np.float32]  # (n_rows,), as shares of the largest; 0: not taken up recently, or returned
    order: Rows  # (n_rows,) all rows, the largest score first

    def __len__(self) -> int:
        return len(self.recent)

    @cached_property
    def rising(self) -> Rows:
        """(n,), the rows with a score above 0, the largest first."""
        return self.order[: int(np.count_nonzero(self.scores))]

    def extended(self, n_rows: int) -> Trends:
        """With `n_rows` rows; the score of a new row is 0."""
        n_new = n_rows - len(self)
        if n_new == 0:
            return self
        sums = np.zeros(n_new)
        return Trends(
            np.r_[self.recent, sums],
            np.r_[self.usual, sums],
            self.as_of_us,
            np.r_[self.scores, sums.astype(np.float32)],
            np.r_[self.order, np.arange(len(self), n_rows)],
        )

    def updated(self, rows: Rows, changes: Sums, as_of_us: int) -> Trends:
        """With `changes` (2, len(rows)) added to the sums of these distinct rows, at the moment `as_of_us`."""
        before = self.extended(max(len(self), int(rows.max(initial=-1)) + 1))
        recent, usual = before.sums_at(as_of_us)
        recent[rows] += changes[0]
        usual[rows] += changes[1]
        return rank_trends(recent, usual, as_of_us)

    def sums_at(self, as_of_us: int) -> tuple[Sums, Sums]:
        """Both sums at another moment; new arrays."""
        recent, usual = fade_sums(np.stack([self.recent, self.usual]), self.as_of_us, as_of_us)
        return recent, usual


def fade_sums(sums: Sums, from_us: int, to_us: int) -> Sums:
    """(2, n): recent and usual sums of one moment at another one."""
    halvings = (to_us - from_us) / DAY_US / np.array([RECENT_DAYS, USUAL_DAYS])
    faded: Sums = sums * np.exp2(-np.clip(halvings, -1000, 1000))[:, None]
    return faded


def find_trends(events: EventColumns, weighting: Weighting, n_rows: int, now_us: int) -> Trends:
    """Of all events, whose item rows are below `n_rows`; an event dated after `now_us` counts as one of `now_us`."""
    days = daily_weights(events, weighting, now_us)
    as_of_us = int(days.newest_us.max()) if len(days.items) else now_us
    recent, usual = trend_sums(days, as_of_us, n_rows)
    return rank_trends(recent, usual, as_of_us)


def trend_sums(days: PairWeights, as_of_us: int, n_rows: int) -> Sums:
    """(2, n_rows): the recent and the usual sum of each item."""
    return np.stack([days.item_sums(half_life, as_of_us, n_rows) for half_life in (RECENT_DAYS, USUAL_DAYS)])


def daily_weights(events: EventColumns, weighting: Weighting, now_us: int) -> PairWeights:
    """`pair_weights` of each user, item and day; `users` are numbers of a user and a day."""
    occurred = np.minimum(events.occurred_us, now_us)
    _, user_codes = np.unique(events.user_rows, return_inverse=True)
    days, day_codes = np.unique(occurred // DAY_US, return_inverse=True)
    codes = user_codes * max(len(days), 1) + day_codes
    return pair_weights(replace(events, user_rows=codes.astype(np.int64)), weighting, now_us)


def rank_trends(recent: Sums, usual: Sums, as_of_us: int) -> Trends:
    scores = trend_scores(recent, usual)
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    shares = (scores / (scores.max(initial=0.0) or 1.0)).astype(np.float32)
    shares = np.where(scores > 0, np.maximum(shares, np.finfo(np.float32).tiny), shares)
    return Trends(recent, usual, as_of_us, shares, order)


def trend_scores(
    recent: Sums,
    usual: Sums,
    half_lives: tuple[float, float] = (RECENT_DAYS, USUAL_DAYS),
    shrinkage: float = SHRINKAGE,
    momentum: float = MOMENTUM,
) -> Sums:
    """(n_rows,) from the two sums of each item; see the module."""
    now = np.maximum(recent, 0.0) * LN2 / half_lives[0]
    before = np.maximum(usual, 0.0) * LN2 / half_lives[1]
    scores: Sums = now * ((now + shrinkage) / (before + shrinkage)) ** momentum
    return scores
