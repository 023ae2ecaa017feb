"""Behaviour: all numbers of this room for the items of one view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.behaviour.bought_together import bought_together
from engine.behaviour.item_counts import ItemCounts, count_events, from_table
from engine.behaviour.item_lists import ItemLists, no_lists
from engine.behaviour.popularity import Rows, Sums
from engine.behaviour.repurchase import repurchase_days
from engine.behaviour.trending import Trends, find_trends, rank_trends
from engine.errors import CorruptGeneration
from engine.values.events import EventColumns, Weighting


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What users did with the items, by row; see the modules of each field."""

    bought_together: ItemLists  # as of the build
    trending: Trends
    repurchase_days: npt.NDArray[np.float32]  # (n_rows,) as of the build; NaN: never bought again
    counts: ItemCounts
    _extended: dict[int, Behaviour] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.repurchase_days)

    def extended(self, n_rows: int) -> Behaviour:
        """With `n_rows` rows; nobody has done anything with the new ones, unless trends or counts know them already."""
        if n_rows == len(self) == len(self.trending) == len(self.counts):
            return self
        if n_rows not in self._extended:
            self._extended.clear()  # a catalogue only grows
            self._extended[n_rows] = replace(
                self,
                trending=self.trending.extended(n_rows),
                repurchase_days=np.pad(self.repurchase_days, (0, n_rows - len(self)), constant_values=np.nan),
                counts=self.counts.extended(n_rows),
                _extended={},
            )
        return self._extended[n_rows]

    def updated(self, rows: Rows, trend_changes: Sums, count_changes: Sums, as_of_us: int) -> Behaviour:
        """With changes (2, len(rows)) of trend sums and (4, len(rows)) of counts at these distinct rows."""
        return replace(
            self,
            trending=self.trending.updated(rows, trend_changes, as_of_us),
            counts=self.counts.updated(rows, count_changes),
            _extended={},
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays, for a file; see `restore`."""
        return {
            "together_starts": self.bought_together.starts,
            "together_rows": self.bought_together.rows,
            "together_scores": self.bought_together.scores,
            "trend_sums": np.stack([self.trending.recent, self.trending.usual]),
            "trend_as_of_us": np.array([self.trending.as_of_us], np.int64),
            "repurchase_days": self.repurchase_days,
            "counts": self.counts.table,
        }


def restore(arrays: Mapping[str, npt.NDArray[Any]], n_rows: int) -> Behaviour:
    """The behaviour of `Behaviour.arrays`; CorruptGeneration unless it is that of `n_rows` items."""
    lists = ItemLists(arrays["together_starts"], arrays["together_rows"], arrays["together_scores"])
    lists.check(n_rows)
    shapes = {"trend_sums": (2, n_rows), "trend_as_of_us": (1,), "repurchase_days": (n_rows,), "counts": (4, n_rows)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise CorruptGeneration(f"expected {name} of shape {shape}, got {arrays[name].shape}")
    for name in ("trend_sums", "counts"):
        if not np.isfinite(arrays[name]).all():
            raise CorruptGeneration(f"expected finite {name}")
    recent, usual = np.array(arrays["trend_sums"])
    trends = rank_trends(recent, usual, int(arrays["trend_as_of_us"][0]))
    return Behaviour(lists, trends, arrays["repurchase_days"], from_table(arrays["counts"]))


def no_behaviour(n_rows: int = 0) -> Behaviour:
    """Of items that nobody has done anything with."""
    return Behaviour(
        no_lists(n_rows),
        rank_trends(np.zeros(n_rows), np.zeros(n_rows), 0),
        np.full(n_rows, np.nan, np.float32),
        from_table(np.zeros((4, n_rows))),
    )


def find_behaviour(
    events: EventColumns,
    weighting: Weighting,
    n_rows: int,
    *,
    now_us: int,
    categories: npt.NDArray[np.int64] | None = None,
) -> Behaviour:
    """Of all events, whose item rows are below `n_rows`.

    `categories` (n_rows,) are codes of the items' categories, -1: none. An event dated after `now_us` counts as one of
    `now_us`.
    """
    return Behaviour(
        bought_together(events, weighting.vocabulary, n_rows, now_us=now_us),
        find_trends(events, weighting, n_rows, now_us),
        repurchase_days(events, weighting.vocabulary, n_rows, categories),
        count_events(events, weighting.vocabulary, n_rows),
    )
