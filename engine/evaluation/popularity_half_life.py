"""The half-life of popularity, chosen by how well past popularity predicts what users take up next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.behaviour.popularity import PairWeights, Rows, Sums, max_pair_weight, pair_weights, rank_by_popularity
from engine.evaluation.significance import rounded
from engine.values.events import EventColumns, Weighting
from engine.values.splits import Split, select_events

HALF_LIVES = (28.0, 14.0, 56.0, 7.0, 112.0, 365.0, None)  # days; None: events never lose weight
DEFAULT_DAYS = 28.0  # where there is too little data to choose on
MAX_USERS = 20_000  # sampled for the choice; more users give the same result
MIN_USERS = 20  # with an item after the cut; below, the choice would be noise
MARGIN = 0.01  # relative improvement over the default that another half-life needs
K = 20


@dataclass(frozen=True)
class HalfLifeChoice:
    """The chosen half-life in days and the metrics of every candidate; no candidates if there was too little data."""

    half_life_days: float | None
    tried: Sequence[dict[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        return {"half_life_days": self.half_life_days, "half_lives_tried": list(self.tried)}


def choose_half_life(events: EventColumns, weighting: Weighting, n_items: int, share: float = 0.1) -> HalfLifeChoice:
    """The half-life whose popularity best predicts the last `share` of the events, by recall@20 and ndcg@20.

    All users count, also those without earlier events, because they are shown popular items. The half-life is None if
    all events have the same time, for example if no times are known.
    """
    if len(events) == 0 or events.occurred_us.min() == events.occurred_us.max():
        return HalfLifeChoice(None)
    occurred = events.occurred_us
    # below the last moment, because more than `share` of the events may have it (dates without a time of day)
    cut = min(int(np.quantile(occurred, 1 - share)), int(occurred.max()) - 1)
    before, after = (pair_weights(select_events(events, part), weighting) for part in (occurred <= cut, occurred > cut))
    task = _prediction_task(before, after, n_items, repeats=weighting.predict == "any")
    if task.n_users < MIN_USERS:
        return HalfLifeChoice(DEFAULT_DAYS)
    tried: list[dict[str, Any]] = []
    for half_life in HALF_LIVES:
        recall, ndcg = task.metrics(rank_by_popularity(before.item_sums(half_life, cut, n_items)).order)
        tried.append({"half_life_days": half_life, "recall@20": rounded(recall), "ndcg@20": rounded(ndcg)})
    totals = [each["recall@20"] + each["ndcg@20"] for each in tried]
    best = int(np.argmax(totals))
    return HalfLifeChoice(HALF_LIVES[best] if totals[best] > (1 + MARGIN) * totals[0] else DEFAULT_DAYS, tried)


def popularity_of_training_part(split: Split) -> tuple[Sums, HalfLifeChoice]:
    """The popularity of the items of `split.train`, (n_items,), with a half-life chosen within the training part."""
    items = split.train.items
    if split.events is None:  # interactions without times and without returns
        cells = np.minimum(split.train.matrix.data, max_pair_weight(split.weighting))
        sums = np.bincount(split.train.matrix.indices, cells, minlength=len(items)).astype(np.float64)
        return sums, HalfLifeChoice(None)
    n_items = len(split.events.item_ids)
    choice = choose_half_life(split.events, split.weighting, n_items)
    as_of_us = int(split.events.occurred_us.max(initial=0))
    sums = pair_weights(split.events, split.weighting).item_sums(choice.half_life_days, as_of_us, n_items)
    row_of = {id_: row for row, id_ in enumerate(split.events.item_ids)}
    return sums[[row_of[id_] for id_ in items.ids]], choice


@dataclass(frozen=True, eq=False)
class _PredictionTask:
    """The known items that users take up after the cut, and those they had before, as pairs of user rows and items."""

    wanted: tuple[Rows, Rows]
    had: tuple[Rows, Rows]
    n_users: int

    def metrics(self, order: Rows) -> tuple[float, float]:
        """recall@20 and ndcg@20 if every user is shown the items in this order without those the user had."""
        positions = np.empty(len(order), np.int64)
        positions[order] = np.arange(len(order))
        users, at = self.wanted[0], positions[self.wanted[1]]
        had = np.sort(self.had[0] * len(order) + positions[self.had[1]])
        n_skipped = np.searchsorted(had, users * len(order) + at) - np.searchsorted(had, users * len(order))
        at = at - n_skipped
        hits = at < K
        n_wanted = np.bincount(users, minlength=self.n_users)
        ideal = np.cumsum(1 / np.log2(np.arange(K) + 2))[np.minimum(n_wanted, K) - 1]
        gains = np.where(hits, 1 / np.log2(at + 2), 0.0)
        recall: Sums = np.bincount(users, hits, self.n_users) / n_wanted
        ndcg: Sums = np.bincount(users, gains, self.n_users) / ideal
        return float(recall.mean()), float(ndcg.mean())


def _prediction_task(before: PairWeights, after: PairWeights, n_items: int, *, repeats: bool) -> _PredictionTask:
    is_positive = before.weights > 0
    had = before.users[is_positive], before.items[is_positive]
    is_known = np.zeros(n_items, dtype=bool)
    is_known[had[1]] = True
    is_wanted = (after.weights > 0) & is_known[after.items]
    sampled = np.unique(after.users[is_wanted])
    if len(sampled) > MAX_USERS:
        sampled = np.sort(np.random.default_rng(0).choice(sampled, MAX_USERS, replace=False))
    is_wanted &= np.isin(after.users, sampled)
    of_sampled = np.isin(had[0], sampled)
    had = had[0][of_sampled], had[1][of_sampled]
    wanted = np.stack([after.users[is_wanted], after.items[is_wanted]])
    if repeats:
        had = had[0][:0], had[1][:0]
    else:
        users = np.unique(np.r_[wanted[0], had[0]])
        wanted_keys, had_keys = (np.searchsorted(users, each[0]) * n_items + each[1] for each in (wanted, had))
        wanted = wanted[:, ~np.isin(wanted_keys, had_keys)]
    users, rows = np.unique(wanted[0], return_inverse=True)
    of_kept = np.isin(had[0], users)
    return _PredictionTask((rows, wanted[1]), (np.searchsorted(users, had[0][of_kept]), had[1][of_kept]), len(users))
