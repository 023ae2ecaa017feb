"""Interactions: the sparse users x items matrix that training and histories share, weighted from events."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.errors import InputError
from engine.values.event_kinds import REVERSES
from engine.values.events import EventColumns, History, Weighting
from engine.values.ids import IdIndex, IdMap

RECENT_DAYS = 28
DAY_US = 86_400_000_000

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Interactions:
    users: IdMap
    items: IdMap
    matrix: sp.csr_matrix  # (n_users, n_items) float32, every stored cell > 0, sorted indices
    recent: Flags | None = None  # (nnz,) whether a cell has an event in the last RECENT_DAYS; None without event times
    dislikes: sp.csr_matrix | None = None  # like `matrix`, strength of dislikes, every stored cell > 0; None: none

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise InputError(f"expected a ({len(self.users)}, {len(self.items)}) matrix, got {self.matrix.shape}")
        if self.recent is not None and len(self.recent) != self.matrix.nnz:
            raise InputError(f"expected a flag for each of {self.matrix.nnz} cells, got {len(self.recent)}")

    @property
    def signed(self) -> sp.csr_matrix:
        """The matrix with dislikes as cells below zero."""
        return self.matrix if self.dislikes is None else sp.csr_matrix(self.matrix - self.dislikes)

    def item_counts(self) -> np.ndarray:
        """Users per item, (n_items,) int64."""
        return np.bincount(self.matrix.indices, minlength=len(self.items)).astype(np.int64)

    def recent_counts(self) -> np.ndarray | None:
        """Users per item with a recent event, (n_items,) int64; None if the events have no times."""
        if self.recent is None:
            return None
        return np.bincount(self.matrix.indices[self.recent], minlength=len(self.items)).astype(np.int64)

    def select_cells(self, selected: Flags) -> Interactions:
        """The cells where `selected` (nnz,) is true, with all users and items."""
        matrix = self.matrix.copy()
        matrix.data = np.where(selected, matrix.data, 0).astype(np.float32)
        matrix.eliminate_zeros()
        recent = None if self.recent is None else self.recent[selected]
        return Interactions(self.users, self.items, matrix, recent, self.dislikes)

    def select_users(self, rows: np.ndarray) -> Interactions:
        """The users of `rows` in that order, with all items."""
        ids, matrix, recent = self.users.ids, sp.csr_matrix(self.matrix[rows]), None
        if self.recent is not None:
            flags = sp.csr_matrix(
                (self.recent + np.int8(1), self.matrix.indices, self.matrix.indptr), self.matrix.shape
            )
            recent = flags[rows].data > 1
        dislikes = None if self.dislikes is None else sp.csr_matrix(self.dislikes[rows])
        return Interactions(IdMap(ids[row] for row in rows.tolist()), self.items, matrix, recent, dislikes)


def from_events(events: EventColumns, weighting: Weighting, now_us: int) -> Interactions:
    """Weigh every event at the time `now_us`, sum per user and item, and saturate.

    Users and items without a cell are dropped.
    """
    weights = _weights(events, weighting, now_us)
    is_recent = (weights > 0) & (events.occurred_us > events.occurred_us.max(initial=0) - RECENT_DAYS * DAY_US)
    shape, cells = (len(events.user_ids), len(events.item_ids)), (events.user_rows, events.item_rows)
    exact = weights.astype(np.float64)  # float32 sums of a purchase and its return differ from zero by rounding
    sums, recent = (sp.coo_matrix((each, cells), shape=shape).tocsr() for each in (exact, is_recent.astype(np.float32)))
    weight = weighting.saturate(sums.data)
    kept = weight > 0
    rows = np.repeat(np.arange(shape[0]), np.diff(sums.indptr))
    user_counts = np.bincount(rows[kept], minlength=shape[0])
    item_counts = np.bincount(sums.indices[kept], minlength=shape[1])
    user_rows, item_rows = np.flatnonzero(user_counts), np.flatnonzero(item_counts)
    columns = (np.cumsum(item_counts > 0) - 1)[sums.indices[kept]]
    indptr = np.concatenate([[0], np.cumsum(user_counts[user_rows])])
    matrix = sp.csr_matrix((weight[kept], columns, indptr), shape=(len(user_rows), len(item_rows)), dtype=np.float32)
    dislikes = _dislikes(events, exact, weighting)
    return Interactions(
        IdMap(events.user_ids[row] for row in user_rows),
        IdMap(events.item_ids[row] for row in item_rows),
        matrix,
        recent.data[kept] > 0,
        None if dislikes is None else sp.csr_matrix(dislikes[user_rows][:, item_rows]),
    )


def dislikes(events: EventColumns, weighting: Weighting, now_us: int) -> sp.csr_matrix | None:
    """`Interactions.dislikes` for all users and items of the events, also for those without a positive cell."""
    return _dislikes(events, _weights(events, weighting, now_us).astype(np.float64), weighting)


def _weights(events: EventColumns, weighting: Weighting, now_us: int) -> npt.NDArray[np.float32]:
    ages_s = (now_us - events.occurred_us) / 1e6
    kinds = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    return weighting.weigh(kinds, events.values, ages_s)


def _dislikes(events: EventColumns, weights: npt.NDArray[np.float64], weighting: Weighting) -> sp.csr_matrix | None:
    """The absolute value of the negative sums. Kinds that reverse another kind ("unlike") make no dislike."""
    if not (weights < 0).any():
        return None
    reverses = np.array([weighting.vocabulary.kind(word) in REVERSES for word in events.kinds], dtype=bool)
    weights = np.where(reverses[events.kind_codes], 0, weights)
    shape, cells = (len(events.user_ids), len(events.item_ids)), (events.user_rows, events.item_rows)
    sums = sp.coo_matrix((weights, cells), shape=shape).tocsr()
    disliked = sp.csr_matrix((weighting.saturate(-sums.data), sums.indices, sums.indptr), shape=shape)
    disliked.eliminate_zeros()
    return disliked


def from_history(
    history: History,
    items: IdIndex,
    weighting: Weighting,
    now_us: int,
    *,
    n_columns: int | None = None,
    signed: bool = False,
) -> sp.csr_matrix:
    """One history as a (1, n_columns) row of the cells that `from_events` makes; unknown items are skipped.

    The columns are the first `n_columns` items, or all items if None. With `signed`, dislikes are cells below zero.
    """
    n_columns = len(items) if n_columns is None else n_columns
    weights = weighting.weigh(list(history.kinds), history.values, (now_us - history.occurred_us) / 1e6)
    sums = _sums(history.item_ids, weights.tolist(), items, n_columns)
    rows = np.array(sorted(sums), dtype=np.int64)
    cells = weighting.saturate(np.array([sums[row] for row in rows.tolist()], dtype=np.float64))
    if signed and any(weight < 0 for weight in sums.values()):
        reversing = {kind for kind in set(history.kinds) if weighting.vocabulary.kind(kind) in REVERSES}
        counts = [kind not in reversing for kind in history.kinds]
        sums = _sums(history.item_ids, (weights * counts).tolist(), items, n_columns)
        cells -= weighting.saturate(-np.array([sums[row] for row in rows.tolist()], dtype=np.float64))
    kept = cells != 0
    if not kept.all():
        cells, rows = cells[kept], rows[kept]
    return _one_row(cells, rows, n_columns)


@lru_cache(maxsize=8)
def _no_cells(n_columns: int) -> sp.csr_matrix:
    empty, nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return sp.csr_matrix((empty, nothing, np.zeros(2, np.int64)), shape=(1, n_columns))


def _one_row(cells: npt.NDArray[np.float32], columns: npt.NDArray[np.int64], n_columns: int) -> sp.csr_matrix:
    """(1, n_columns) of cells in ascending columns. A copy with other arrays takes a tenth of the time of the checks of
    `csr_matrix`, which are most of the time of a short history."""
    made = copy(_no_cells(n_columns))
    index = made.indptr.dtype
    made.data, made.indices = cells.astype(np.float32, copy=False), columns.astype(index)
    made.indptr = np.array([0, len(columns)], index)
    return made


def _sums(item_ids: Sequence[str], weights: list[float], items: IdIndex, n_columns: int) -> dict[int, float]:
    """Sums of weights by item row. For a few dozen events a dict is faster than arrays; float64 as in `from_events`."""
    sums: dict[int, float] = {}
    for id_, weight in zip(item_ids, weights, strict=True):
        row = items.row(id_)
        if row is not None and row < n_columns:
            sums[row] = sums.get(row, 0.0) + weight
    return sums
