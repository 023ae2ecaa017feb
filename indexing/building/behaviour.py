"""What users did with the items of a catalogue: popularity and behaviour, computed from all events for a generation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.behaviour.behaviour import Behaviour, find_behaviour
from engine.behaviour.popularity import Sums, pair_weights
from engine.evaluation import popularity_half_life
from engine.store.change_feeds import event_feed as stored
from engine.store.database.connections import Connection
from engine.store.models import ModelRecord
from engine.store.spaces import Space
from engine.values import splits
from engine.values.events import EventColumns


@dataclass(frozen=True, eq=False)
class BuiltPopularity:
    """Popularity sums by catalogue row, and their parameters, which the manifest of a generation records."""

    sums: Sums
    half_life_days: float | None
    as_of_us: int

    def to_json(self) -> dict[str, Any]:
        return {"half_life_days": self.half_life_days, "as_of_us": self.as_of_us}


def build_behaviour(
    conn: Connection, space: Space, record: ModelRecord, catalogue: pa.Table, *, now_us: int
) -> tuple[BuiltPopularity, Behaviour]:
    """Popularity has the half-life of the model's evaluation; it is chosen here if the model was not evaluated."""
    stored.clear_foreign_xids(conn, space.key)
    events = _events_of_catalogue(stored.read_all(conn, space.key), catalogue["item_key"].to_numpy())
    evaluation = record.evaluation.get("popularity", {})
    if "half_life_days" not in evaluation:
        evaluation = popularity_half_life.choose_half_life(events, space.weighting, catalogue.num_rows).to_json()
    days = evaluation["half_life_days"]
    cells = pair_weights(events, space.weighting, now_us)
    as_of_us = int(cells.newest_us.max(initial=0))
    popularity = BuiltPopularity(cells.item_sums(days, as_of_us, catalogue.num_rows), days, as_of_us)
    categories = _first_categories(catalogue["categories"])
    return popularity, find_behaviour(events, space.weighting, catalogue.num_rows, now_us=now_us, categories=categories)


def _events_of_catalogue(events: EventColumns, keys: npt.NDArray[np.int64]) -> EventColumns:
    """The events of the items with these keys; `item_rows` become positions in `keys`."""
    order = np.argsort(keys, kind="stable")
    at = np.searchsorted(keys, events.item_rows, sorter=order)
    rows = order[np.minimum(at, len(keys) - 1)] if len(keys) else np.zeros(len(events), np.int64)
    known = keys[rows] == events.item_rows if len(keys) else np.zeros(len(events), dtype=bool)
    return splits.select_events(replace(events, item_rows=rows), known)


def _first_categories(categories: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """(n,): a code of the first category of each item, -1: none."""
    lists = categories.combine_chunks()
    filled = pc.greater(pc.fill_null(pc.list_value_length(lists), 0), 0).to_numpy(zero_copy_only=False)
    codes = np.full(len(lists), -1, np.int64)
    first = pc.list_element(lists.filter(pa.array(filled)), 0)
    codes[filled] = pc.fill_null(first.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    return codes
