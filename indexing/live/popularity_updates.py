"""The popularity of items: computed at the build of a generation, then updated incrementally from new events.

An update reads all events of the user-item pairs that have a new event, so that the weight of a pair is limited as at
the build: a bot with a thousand clicks counts the same. Erased and merged users take effect at the next build.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from engine.evaluation import popularity_half_life
from engine.recommending.popularity import PopularityRanking, Sums, pair_weights
from engine.store.change_feeds import event_feed as stored
from engine.store.change_feeds import snapshots
from engine.store.change_feeds.event_feed import ChangedPairs
from engine.store.change_feeds.snapshots import Snapshot
from engine.store.database.connections import Connection, Database
from engine.store.models import ModelRecord
from engine.store.spaces import Space
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from indexing.live.view import LiveView

SLOW_S, PAUSE_FACTOR = 0.1, 10.0  # after a slow update, the next one waits ten times its duration


@dataclass(frozen=True, eq=False)
class BuiltPopularity:
    """Popularity sums by catalogue row, and their parameters, which the manifest of a generation records."""

    sums: Sums
    half_life_days: float | None
    as_of_us: int

    def to_json(self) -> dict[str, Any]:
        return {"half_life_days": self.half_life_days, "as_of_us": self.as_of_us}


def build_popularity(
    conn: Connection, space: Space, record: ModelRecord, catalogue: pa.Table, *, now_us: int
) -> BuiltPopularity:
    """With the half-life of the model's evaluation; chosen here if the model was not evaluated."""
    stored.clear_foreign_xids(conn, space.key)
    events = _events_of_catalogue(stored.read_all(conn, space.key), catalogue["item_key"].to_numpy())
    evaluation = record.evaluation.get("popularity", {})
    if "half_life_days" not in evaluation:
        evaluation = popularity_half_life.choose_half_life(events, space.weighting, catalogue.num_rows).to_json()
    days = evaluation["half_life_days"]
    cells = pair_weights(events, space.weighting, now_us)
    as_of_us = int(cells.newest_us.max(initial=0))
    return BuiltPopularity(cells.item_sums(days, as_of_us, catalogue.num_rows), days, as_of_us)


def _events_of_catalogue(events: EventColumns, keys: np.ndarray) -> EventColumns:
    """The events of the items with these keys; `item_rows` become positions in `keys`."""
    order = np.argsort(keys, kind="stable")
    at = np.searchsorted(keys, events.item_rows, sorter=order)
    rows = order[np.minimum(at, len(keys) - 1)] if len(keys) else np.zeros(len(events), np.int64)
    known = keys[rows] == events.item_rows if len(keys) else np.zeros(len(events), dtype=bool)
    return splits.select_events(replace(events, item_rows=rows), known)


class PopularityUpdater:
    """Follows the new events of one space, in one process."""

    def __init__(self, database: Database):
        self._database = database
        self._generation: object = None
        self._snapshot: Snapshot | None = None  # events up to this snapshot are included
        self._unplaced: dict[str, float] = {}  # changes of items that have no row in the view yet, by id
        self._not_before = 0.0  # of time.monotonic

    def updated_ranking(self, view: LiveView, now_us: int) -> PopularityRanking | None:
        """The current ranking; None if nothing changed or if the last slow update was too recent."""
        if view.generation is None:
            return None
        if self._generation is not view.generation:
            start = view.generation.manifest["start"]
            self._generation, self._unplaced, self._not_before = view.generation, {}, 0.0
            self._snapshot = snapshots.parse(start["snapshot"], start["epoch"])
        if time.monotonic() < self._not_before:
            return None
        started = time.monotonic()
        changes = self._changes(view, now_us)
        took = time.monotonic() - started
        self._not_before = started + took * PAUSE_FACTOR if took > SLOW_S else 0.0
        return _update(view, changes)

    def _changes(self, view: LiveView, now_us: int) -> dict[int, float]:
        """Row of the view -> change of its popularity sum."""
        assert view.generation is not None
        assert self._snapshot is not None
        with self._database.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                changed_pairs, snapshot = stored.read_since(conn, view.space.key, self._snapshot)
                by_key = (
                    {}
                    if changed_pairs is None
                    else _changes_by_key(changed_pairs, view.space.weighting, view.generation, now_us)
                )
                ids = stored.item_ids(conn, list(by_key)) if by_key else {}
        for key, id_ in ids.items():
            self._unplaced[id_] = self._unplaced.get(id_, 0.0) + by_key[key]
        self._snapshot = snapshot
        rows = {id_: view.items.row(id_) for id_ in self._unplaced}
        return {row: self._unplaced.pop(id_) for id_, row in rows.items() if row is not None}


def _changes_by_key(
    changed_pairs: ChangedPairs, weighting: Weighting, generation: Any, now_us: int
) -> Mapping[int, float]:
    """item_key -> change of its sum: the weight of all events of the changed pairs minus that of their old events."""
    popularity = generation.manifest["popularity"]
    keys, rows = np.unique(changed_pairs.events.item_rows, return_inverse=True)
    events = replace(changed_pairs.events, item_rows=rows.astype(np.int64))
    half_life_days, as_of_us = popularity["half_life_days"], popularity["as_of_us"]
    now, before = (
        pair_weights(part, weighting, now_us).item_sums(half_life_days, as_of_us, len(keys))
        for part in (events, splits.select_events(events, ~changed_pairs.is_new))
    )
    return dict(zip(keys.tolist(), (now - before).tolist(), strict=True))


def _update(view: LiveView, changes: Mapping[int, float]) -> PopularityRanking | None:
    if not changes:
        return None
    rows = np.fromiter(changes, np.int64, len(changes))
    return view.popularity_ranking.updated(rows, np.fromiter(changes.values(), np.float64, len(changes)))
