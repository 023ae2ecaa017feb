"""The half-life of popularity, chosen by how well what was popular at a moment foretells what is taken up after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evaluation.significance import rounded
from engine.recommending.popularity import PairWeights, Rows, Sums, max_pair_weight, pair_weights, rank_by_popularity
from engine.values.events import EventColumns, Weighting
from engine.values.splits import Split, select_events

HALF_LIVES = (28.0, 14.0, 56.0, 7.0, 112.0, 365.0, None)  # days; None forgets nothing
USUAL = 28.0  # where there is too little to choose on
MOST_USERS = 20_000  # who are asked; more tell the same
FEWEST_USERS = 20  # who take up something after the moment of the choice
MARGIN = 0.01  # of the figure, by which another than the usual one has to be better
K = 20


@dataclass(frozen=True)
class Choice:
    """A half-life in days and the figures of every candidate that it was chosen by; none where there was too little."""

    half_life_days: float | None
    tried: Sequence[dict[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        return {"half_life_days": self.half_life_days, "half_lives_tried": list(self.tried)}


def choose(events: EventColumns, weighting: Weighting, n_items: int, share: float = 0.1) -> Choice:
    """The half-life whose popularity best foretells the last `share` of these events, by recall@20 and ndcg@20.

    Of all users, also those never seen before: they are the ones who are shown what is popular. None where all events
    have one time, as where nobody knows when they were.
    """
    if len(events) == 0 or events.occurred_us.min() == events.occurred_us.max():
        return Choice(None)
    occurred = events.occurred_us
    cut = min(int(np.quantile(occurred, 1 - share)), int(occurred.max()) - 1)  # more may be of the last moment, a day
    before, after = (pair_weights(select_events(events, part), weighting) for part in (occurred <= cut, occurred > cut))
    asked = _asked(before, after, n_items, repeats=weighting.predict == "any")
    if asked.n_users < FEWEST_USERS:
        return Choice(USUAL)
    tried: list[dict[str, Any]] = []
    for half_life in HALF_LIVES:
        recall, ndcg = asked.figures(rank_by_popularity(before.item_sums(half_life, cut, n_items)).order)
        tried.append({"half_life_days": half_life, "recall@20": rounded(recall), "ndcg@20": rounded(ndcg)})
    figures = [each["recall@20"] + each["ndcg@20"] for each in tried]
    best = int(np.argmax(figures))
    return Choice(HALF_LIVES[best] if figures[best] > (1 + MARGIN) * figures[0] else USUAL, tried)


def learnt(split: Split) -> tuple[Sums, Choice]:
    """What a split learns from as popularity, (n_items,) as the columns of `train`, by a half-life chosen within it."""
    items = split.train.items
    if split.events is None:  # cells without a time, nor what was given back
        cells = np.minimum(split.train.matrix.data, max_pair_weight(split.weighting))
        return np.bincount(split.train.matrix.indices, cells, minlength=len(items)).astype(np.float64), Choice(None)
    n_items = len(split.events.item_ids)
    choice = choose(split.events, split.weighting, n_items)
    as_of_us = int(split.events.occurred_us.max(initial=0))
    sums = pair_weights(split.events, split.weighting).item_sums(choice.half_life_days, as_of_us, n_items)
    row_of = {id_: row for row, id_ in enumerate(split.events.item_ids)}
    return sums[[row_of[id_] for id_ in items.ids]], choice


@dataclass(frozen=True, eq=False)
class _Asked:
    """What users take up of the known items, and what they have had of them: pairs of a user, from 0, and an item."""

    wanted: tuple[Rows, Rows]
    had: tuple[Rows, Rows]
    n_users: int

    def figures(self, order: Rows) -> tuple[float, float]:
        """recall@20 and ndcg@20 when each is shown the items in this order, without what that user has had."""
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        users, at = self.wanted[0], places[self.wanted[1]]
        had = np.sort(self.had[0] * len(order) + places[self.had[1]])
        passed = np.searchsorted(had, users * len(order) + at) - np.searchsorted(had, users * len(order))
        at = at - passed
        hits = at < K
        n_wanted = np.bincount(users, minlength=self.n_users)
        ideal = np.cumsum(1 / np.log2(np.arange(K) + 2))[np.minimum(n_wanted, K) - 1]
        gains = np.where(hits, 1 / np.log2(at + 2), 0.0)
        recall: Sums = np.bincount(users, hits, self.n_users) / n_wanted
        ndcg: Sums = np.bincount(users, gains, self.n_users) / ideal
        return float(recall.mean()), float(ndcg.mean())


def _asked(before: PairWeights, after: PairWeights, n_items: int, *, repeats: bool) -> _Asked:
    taken = before.weights > 0
    had = before.users[taken], before.items[taken]
    is_known = np.zeros(n_items, dtype=bool)
    is_known[had[1]] = True
    wanted = (after.weights > 0) & is_known[after.items]
    asking = np.unique(after.users[wanted])
    if len(asking) > MOST_USERS:
        asking = np.sort(np.random.default_rng(0).choice(asking, MOST_USERS, replace=False))
    wanted &= np.isin(after.users, asking)
    theirs = np.isin(had[0], asking)
    had = had[0][theirs], had[1][theirs]
    pairs = np.stack([after.users[wanted], after.items[wanted]])
    if repeats:
        had = had[0][:0], had[1][:0]
    else:
        users = np.unique(np.r_[pairs[0], had[0]])
        ours, theirs = (np.searchsorted(users, each[0]) * n_items + each[1] for each in (pairs, had))
        pairs = pairs[:, ~np.isin(ours, theirs)]
    users, rows = np.unique(pairs[0], return_inverse=True)
    kept = np.isin(had[0], users)
    return _Asked((rows, pairs[1]), (np.searchsorted(users, had[0][kept]), had[1][kept]), len(users))
