"""ItemCounts: how often each item was shown, opened, put into a cart and bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.values.event_kinds import IMPRESSION, Vocabulary
from engine.values.events import EventColumns

Counts = npt.NDArray[np.float64]
KINDS_OF_COUNTS = ((IMPRESSION,), ("click", "view"), ("cart",), ("purchase",))  # in the order of the fields below


@dataclass(frozen=True, eq=False)
class ItemCounts:
    """(n_rows,) each: the number of events of all time, by item row. A view of an item's page counts as a click."""

    impressions: Counts
    clicks: Counts
    carts: Counts
    purchases: Counts

    def __len__(self) -> int:
        return len(self.impressions)

    @property
    def table(self) -> Counts:
        """(4, n_rows): impressions, clicks, carts, purchases."""
        return np.stack([self.impressions, self.clicks, self.carts, self.purchases])

    def extended(self, n_rows: int) -> ItemCounts:
        """With `n_rows` rows; the counts of a new row are 0."""
        if n_rows == len(self):
            return self
        return from_table(np.pad(self.table, ((0, 0), (0, n_rows - len(self)))))

    def updated(self, rows: npt.NDArray[np.int64], changes: Counts) -> ItemCounts:
        """With `changes` (4, len(rows)) added at these distinct rows."""
        table = self.extended(max(len(self), int(rows.max(initial=-1)) + 1)).table
        table[:, rows] += changes
        return from_table(table)


def from_table(table: Counts) -> ItemCounts:
    """Of (4, n_rows): impressions, clicks, carts, purchases."""
    impressions, clicks, carts, purchases = table
    return ItemCounts(impressions, clicks, carts, purchases)


def count_events(events: EventColumns, vocabulary: Vocabulary, n_rows: int) -> ItemCounts:
    """Of all events, whose item rows are below `n_rows`."""
    kinds = [vocabulary.kind(word) for word in events.kinds]
    counts = []
    for counted in KINDS_OF_COUNTS:
        is_counted = np.array([kind in counted for kind in kinds], dtype=bool)[events.kind_codes]
        counts.append(np.bincount(events.item_rows[is_counted], minlength=n_rows).astype(np.float64))
    return from_table(np.stack(counts))
