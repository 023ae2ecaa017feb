"""Interactions: two IdMaps and the sparse users x items matrix, weighted from events at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from engine.errors import InputError
from engine.events import EventColumns, History, Weighting
from engine.ids import IdMap, Ids


@dataclass(frozen=True, eq=False)
class Interactions:
    users: IdMap
    items: IdMap
    matrix: sp.csr_matrix  # (n_users, n_items) float32, every stored cell > 0, sorted indices

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise InputError(f"expected a ({len(self.users)}, {len(self.items)}) matrix, got {self.matrix.shape}")

    def item_counts(self) -> np.ndarray:
        """Users per item, (n_items,) int64."""
        return np.bincount(self.matrix.indices, minlength=len(self.items)).astype(np.int64)

    def of_users(self, rows: np.ndarray) -> Interactions:
        """Those users alone, in that order, with every item."""
        ids = self.users.ids
        return Interactions(IdMap(ids[row] for row in rows.tolist()), self.items, sp.csr_matrix(self.matrix[rows]))


def from_events(events: EventColumns, weighting: Weighting, now_us: int) -> Interactions:
    """Weigh every event at `now_us`, sum per user and item, saturate; users and items with no cell left are dropped."""
    ages_s = (now_us - events.occurred_us) / 1e6
    kinds = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    weights = weighting.weigh(kinds, events.values, ages_s)
    shape = (len(events.user_ids), len(events.item_ids))
    exact = weights.astype(np.float64)  # float32 sums leave a crumb of what was bought and returned
    sums = sp.coo_matrix((exact, (events.user_rows, events.item_rows)), shape=shape).tocsr()
    cells = sp.csr_matrix((weighting.saturate(sums.data), sums.indices, sums.indptr), shape=shape)
    cells.eliminate_zeros()
    user_rows = np.flatnonzero(np.diff(cells.indptr))
    item_rows = np.flatnonzero(np.bincount(cells.indices, minlength=shape[1]))
    matrix = cells[user_rows][:, item_rows].tocsr()
    matrix.sort_indices()
    return Interactions(
        IdMap(events.user_ids[row] for row in user_rows), IdMap(events.item_ids[row] for row in item_rows), matrix
    )


def from_history(
    history: History, items: Ids, weighting: Weighting, now_us: int, *, n_columns: int | None = None
) -> sp.csr_matrix:
    """One live history as a row of the same cells `from_events` makes; unknown items are skipped.

    The row is (1, n_columns): the first `n_columns` items, all of them if None.
    """
    n_columns = len(items) if n_columns is None else n_columns
    weights = weighting.weigh(list(history.kinds), history.values, (now_us - history.occurred_us) / 1e6)
    sums: dict[int, float] = {}  # a few dozen events: quicker than arrays; float64 as in from_events
    for id_, weight in zip(history.item_ids, weights.tolist(), strict=True):
        row = items.row(id_)
        if row is not None and row < n_columns:
            sums[row] = sums.get(row, 0.0) + weight
    rows = np.array(sorted(sums), dtype=np.int64)
    cells = weighting.saturate(np.array([sums[row] for row in rows.tolist()], dtype=np.float64))
    kept = cells > 0
    if not kept.all():
        cells, rows = cells[kept], rows[kept]
    return sp.csr_matrix((cells, rows, np.array([0, len(rows)])), shape=(1, n_columns), dtype=np.float32)
