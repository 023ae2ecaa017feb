"""Popularity, trends and counts follow the new events since the build of a generation.

One read of the event feed serves all three. It reads all events of the user-item pairs that have a new event, so that
the weight of a pair is limited as at the build: a bot with a thousand clicks counts the same. Erased and merged users
take effect at the next build.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engine.behaviour.behaviour import Behaviour
from engine.behaviour.item_counts import count_events
from engine.behaviour.popularity import PopularityRanking, pair_weights
from engine.behaviour.trending import daily_weights, fade_sums, trend_sums
from engine.store.change_feeds import event_feed as stored
from engine.store.change_feeds import snapshots
from engine.store.change_feeds.event_feed import ChangedPairs
from engine.store.change_feeds.snapshots import Snapshot
from engine.store.database.connections import Database
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from indexing.generations.generation import Generation
from indexing.live.view import LiveView

SLOW_S, PAUSE_FACTOR = 0.1, 10.0  # after a slow update, the next one waits ten times its duration

Change = npt.NDArray[np.float64]  # (7,) of one item: popularity, two trend sums, four counts
POPULARITY, TRENDS, COUNTS = 0, slice(1, 3), slice(3, 7)


@dataclass(frozen=True, eq=False)
class Updated:
    popularity: PopularityRanking
    behaviour: Behaviour


class BehaviourUpdater:
    """Follows the new events of one space, in one process."""

    def __init__(self, database: Database):
        self._database = database
        self._generation: object = None
        self._snapshot: Snapshot | None = None  # events up to this snapshot are included
        self._unplaced: dict[str, Change] = {}  # changes of items that have no row in the view yet, by id
        self._newest_us = 0  # of the events since the build
        self._not_before = 0.0  # of time.monotonic

    def updated(self, view: LiveView, now_us: int) -> Updated | None:
        """The current numbers; None if nothing changed or if the last slow update was too recent."""
        if view.generation is None:
            return None
        if self._generation is not view.generation:
            start = view.generation.manifest["start"]
            self._generation, self._unplaced, self._not_before = view.generation, {}, 0.0
            self._newest_us = view.generation.behaviour.trending.as_of_us
            self._snapshot = snapshots.parse(start["snapshot"], start["epoch"])
        if time.monotonic() < self._not_before:
            return None
        started = time.monotonic()
        changes = self._changes(view, view.generation, now_us)
        updated = self._apply(view, view.generation, changes) if changes else None
        took = time.monotonic() - started
        self._not_before = started + took * PAUSE_FACTOR if took > SLOW_S else 0.0
        return updated

    def _changes(self, view: LiveView, generation: Generation, now_us: int) -> dict[int, Change]:
        """By row of the view; popularity and trends at the moments of their sums in the generation."""
        assert self._snapshot is not None
        with self._database.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                changed_pairs, snapshot = stored.read_since(conn, view.space.key, self._snapshot)
                by_key: Mapping[int, Change] = {}
                if changed_pairs is not None:
                    by_key = _changes_by_key(changed_pairs, view.space.weighting, generation, now_us)
                    newest_us = int(changed_pairs.events.occurred_us.max(initial=0))
                    self._newest_us = max(self._newest_us, min(newest_us, now_us))
                ids = stored.item_ids(conn, list(by_key)) if by_key else {}
        for key, id_ in ids.items():
            self._unplaced[id_] = self._unplaced.get(id_, 0.0) + by_key[key]
        self._snapshot = snapshot
        rows = {id_: view.items.row(id_) for id_ in self._unplaced}
        return {row: self._unplaced.pop(id_) for id_, row in rows.items() if row is not None}

    def _apply(self, view: LiveView, generation: Generation, changes: Mapping[int, Change]) -> Updated:
        rows, of_rows = np.fromiter(changes, np.int64, len(changes)), np.stack(list(changes.values()), axis=1)
        popularity = view.popularity_ranking.updated(rows, of_rows[POPULARITY])
        built_us = generation.behaviour.trending.as_of_us
        trends = fade_sums(of_rows[TRENDS], built_us, self._newest_us)
        return Updated(popularity, view.behaviour.updated(rows, trends, of_rows[COUNTS], self._newest_us))


def _changes_by_key(
    changed_pairs: ChangedPairs, weighting: Weighting, generation: Generation, now_us: int
) -> dict[int, Change]:
    """By item_key: the numbers of all events of the changed pairs minus the numbers of their old events."""
    keys, rows = np.unique(changed_pairs.events.item_rows, return_inverse=True)
    events = replace(changed_pairs.events, item_rows=rows.astype(np.int64))
    popularity, trends_us = generation.manifest["popularity"], generation.behaviour.trending.as_of_us

    def numbers(part: EventColumns) -> npt.NDArray[np.float64]:
        """(7, len(keys))"""
        weights = pair_weights(part, weighting, now_us)
        sums = weights.item_sums(popularity["half_life_days"], popularity["as_of_us"], len(keys))
        trends = trend_sums(daily_weights(part, weighting, now_us), trends_us, len(keys))
        return np.concatenate([sums[None], trends, count_events(part, weighting.vocabulary, len(keys)).table])

    change = numbers(events) - numbers(splits.select_events(events, ~changed_pairs.is_new))
    return dict(zip(keys.tolist(), change.T, strict=True))
