"""Interactions: two IdMaps and the sparse users x items matrix, weighted from events at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.errors import InputError
from engine.events import EventColumns, History, Weighting
from engine.ids import IdMap, Ids

RECENT_DAYS = 28
DAY_US = 86_400_000_000

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Interactions:
    users: IdMap
    items: IdMap
    matrix: sp.csr_matrix  # (n_users, n_items) float32, every stored cell > 0, sorted indices
    recent: Flags | None = None  # (nnz,) cells with an event in the last RECENT_DAYS, where it is known when

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise InputError(f"expected a ({len(self.users)}, {len(self.items)}) matrix, got {self.matrix.shape}")
        if self.recent is not None and len(self.recent) != self.matrix.nnz:
            raise InputError(f"expected a flag for each of {self.matrix.nnz} cells, got {len(self.recent)}")

    def item_counts(self) -> np.ndarray:
        """Users per item, (n_items,) int64."""
        return np.bincount(self.matrix.indices, minlength=len(self.items)).astype(np.int64)

    def recent_counts(self) -> np.ndarray | None:
        """Users per item with an event of late, (n_items,) int64; None where it is not known when things happened."""
        if self.recent is None:
            return None
        return np.bincount(self.matrix.indices[self.recent], minlength=len(self.items)).astype(np.int64)

    def of_cells(self, kept: Flags) -> Interactions:
        """Those cells alone, (nnz,), with every user and item."""
        matrix = self.matrix.copy()
        matrix.data = np.where(kept, matrix.data, 0).astype(np.float32)
        matrix.eliminate_zeros()
        return Interactions(self.users, self.items, matrix, None if self.recent is None else self.recent[kept])

    def of_users(self, rows: np.ndarray) -> Interactions:
        """Those users alone, in that order, with every item."""
        ids, matrix, recent = self.users.ids, sp.csr_matrix(self.matrix[rows]), None
        if self.recent is not None:
            flags = sp.csr_matrix(
                (self.recent + np.int8(1), self.matrix.indices, self.matrix.indptr), self.matrix.shape
            )
            recent = flags[rows].data > 1
        return Interactions(IdMap(ids[row] for row in rows.tolist()), self.items, matrix, recent)


def from_events(events: EventColumns, weighting: Weighting, now_us: int) -> Interactions:
    """Weigh every event at `now_us`, sum per user and item, saturate; users and items with no cell left are dropped."""
    ages_s = (now_us - events.occurred_us) / 1e6
    kinds = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    weights = weighting.weigh(kinds, events.values, ages_s)
    late = (weights > 0) & (events.occurred_us > events.occurred_us.max(initial=0) - RECENT_DAYS * DAY_US)
    shape, cells = (len(events.user_ids), len(events.item_ids)), (events.user_rows, events.item_rows)
    exact = weights.astype(np.float64)  # float32 sums leave a crumb of what was bought and returned
    sums, recent = (sp.coo_matrix((each, cells), shape=shape).tocsr() for each in (exact, late.astype(np.float32)))
    weight = weighting.saturate(sums.data)
    kept = weight > 0
    rows = np.repeat(np.arange(shape[0]), np.diff(sums.indptr))[kept]
    users, items = np.bincount(rows, minlength=shape[0]), np.bincount(sums.indices[kept], minlength=shape[1])
    user_rows, item_rows = np.flatnonzero(users), np.flatnonzero(items)
    columns = (np.cumsum(items > 0) - 1)[sums.indices[kept]]
    indptr = np.concatenate([[0], np.cumsum(users[user_rows])])
    matrix = sp.csr_matrix((weight[kept], columns, indptr), shape=(len(user_rows), len(item_rows)), dtype=np.float32)
    return Interactions(
        IdMap(events.user_ids[row] for row in user_rows),
        IdMap(events.item_ids[row] for row in item_rows),
        matrix,
        recent.data[kept] > 0,
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
