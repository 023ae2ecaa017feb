"""What is popular in a space: as of the build of a generation, and kept up with what users do from then on.

Only pairs of a user and an item that something new came of are read, so a bot with a thousand clicks weighs here what
it weighs at the build. What is erased or merged meanwhile is told at the next build.
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

LONG_S, REST = 0.1, 10.0  # a look that takes longer than this is not repeated before ten times as long


@dataclass(frozen=True, eq=False)
class Built:
    """Popularity by row of a catalogue, and what the manifest of a generation says of it."""

    sums: Sums
    half_life_days: float | None
    as_of_us: int

    def to_json(self) -> dict[str, Any]:
        return {"half_life_days": self.half_life_days, "as_of_us": self.as_of_us}


def built(conn: Connection, space: Space, record: ModelRecord, catalogue: pa.Table, *, now_us: int) -> Built:
    """By the half-life that the model was judged beside; chosen here where it was not judged."""
    stored.clear_foreign_xids(conn, space.key)
    events = _of_catalogue(stored.read_all(conn, space.key), catalogue["item_key"].to_numpy())
    judged = record.evaluation.get("popularity", {})
    if "half_life_days" not in judged:
        judged = popularity_half_life.choose_half_life(events, space.weighting, catalogue.num_rows).to_json()
    days = judged["half_life_days"]
    cells = pair_weights(events, space.weighting, now_us)
    as_of_us = int(cells.newest_us.max(initial=0))
    return Built(cells.item_sums(days, as_of_us, catalogue.num_rows), days, as_of_us)


def _of_catalogue(events: EventColumns, keys: np.ndarray) -> EventColumns:
    """Those of the items with these keys, by their place among them."""
    order = np.argsort(keys, kind="stable")
    at = np.searchsorted(keys, events.item_rows, sorter=order)
    rows = order[np.minimum(at, len(keys) - 1)] if len(keys) else np.zeros(len(events), np.int64)
    known = keys[rows] == events.item_rows if len(keys) else np.zeros(len(events), dtype=bool)
    return splits.select_events(replace(events, item_rows=rows), known)


class Following:
    """Follows the events of one space for one process at a time."""

    def __init__(self, database: Database):
        self._database = database
        self._generation: object = None
        self._snapshot: Snapshot | None = None  # whose events it has
        self._waiting: dict[str, float] = {}  # what came of items that the view has no row of yet
        self._not_before = 0.0  # of time.monotonic

    def updated_ranking(self, view: LiveView, now_us: int) -> PopularityRanking | None:
        """What is popular by now; None where it is as the view has it, or where it was looked at a moment ago."""
        if view.generation is None:
            return None
        if self._generation is not view.generation:
            start = view.generation.manifest["start"]
            self._generation, self._waiting, self._not_before = view.generation, {}, 0.0
            self._snapshot = snapshots.parse(start["snapshot"], start["epoch"])
        if time.monotonic() < self._not_before:
            return None
        started = time.monotonic()
        came = self._came(view, now_us)
        took = time.monotonic() - started
        self._not_before = started + took * REST if took > LONG_S else 0.0
        return _moved(view, came)

    def _came(self, view: LiveView, now_us: int) -> dict[int, float]:
        """What the sums change by, by row of the view."""
        assert view.generation is not None
        assert self._snapshot is not None
        with self._database.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                touched, snapshot = stored.read_since(conn, view.space.key, self._snapshot)
                by_key = {} if touched is None else _by_key(touched, view.space.weighting, view.generation, now_us)
                ids = stored.item_ids(conn, list(by_key)) if by_key else {}
        for key, id_ in ids.items():
            self._waiting[id_] = self._waiting.get(id_, 0.0) + by_key[key]
        self._snapshot = snapshot
        rows = {id_: view.items.row(id_) for id_ in self._waiting}
        return {row: self._waiting.pop(id_) for id_, row in rows.items() if row is not None}


def _by_key(touched: ChangedPairs, weighting: Weighting, generation: Any, now_us: int) -> Mapping[int, float]:
    """What the new events change of the sum of each item, by its key: by all of a pair less by the old ones alone."""
    told = generation.manifest["popularity"]
    keys, rows = np.unique(touched.events.item_rows, return_inverse=True)
    events = replace(touched.events, item_rows=rows.astype(np.int64))
    half_life_days, as_of_us = told["half_life_days"], told["as_of_us"]
    now, before = (
        pair_weights(part, weighting, now_us).item_sums(half_life_days, as_of_us, len(keys))
        for part in (events, splits.select_events(events, ~touched.is_new))
    )
    return dict(zip(keys.tolist(), (now - before).tolist(), strict=True))


def _moved(view: LiveView, came: Mapping[int, float]) -> PopularityRanking | None:
    if not came:
        return None
    rows = np.fromiter(came, np.int64, len(came))
    return view.popularity_ranking.updated(rows, np.fromiter(came.values(), np.float64, len(came)))
