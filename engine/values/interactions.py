"""Interactions: two IdMaps and the sparse users x items matrix, weighted from events at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    recent: Flags | None = None  # (nnz,) cells with an event in the last RECENT_DAYS, where it is known when
    dislikes: sp.csr_matrix | None = None  # as `matrix`, of what is not wanted, every stored cell > 0; None: nothing

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise InputError(f"expected a ({len(self.users)}, {len(self.items)}) matrix, got {self.matrix.shape}")
        if self.recent is not None and len(self.recent) != self.matrix.nnz:
            raise InputError(f"expected a flag for each of {self.matrix.nnz} cells, got {len(self.recent)}")

    @property
    def signed(self) -> sp.csr_matrix:
        """The cells with those of dislikes, which are below zero."""
        return self.matrix if self.dislikes is None else sp.csr_matrix(self.matrix - self.dislikes)

    def item_counts(self) -> np.ndarray:
        """Users per item, (n_items,) int64."""
        return np.bincount(self.matrix.indices, minlength=len(self.items)).astype(np.int64)

    def recent_counts(self) -> np.ndarray | None:
        """Users per item with an event of late, (n_items,) int64; None where it is not known when things happened."""
        if self.recent is None:
            return None
        return np.bincount(self.matrix.indices[self.recent], minlength=len(self.items)).astype(np.int64)

    def select_cells(self, kept: Flags) -> Interactions:
        """Those cells alone, (nnz,), with every user and item."""
        matrix = self.matrix.copy()
        matrix.data = np.where(kept, matrix.data, 0).astype(np.float32)
        matrix.eliminate_zeros()
        recent = None if self.recent is None else self.recent[kept]
        return Interactions(self.users, self.items, matrix, recent, self.dislikes)

    def select_users(self, rows: np.ndarray) -> Interactions:
        """Those users alone, in that order, with every item."""
        ids, matrix, recent = self.users.ids, sp.csr_matrix(self.matrix[rows]), None
        if self.recent is not None:
            flags = sp.csr_matrix(
                (self.recent + np.int8(1), self.matrix.indices, self.matrix.indptr), self.matrix.shape
            )
            recent = flags[rows].data > 1
        dislikes = None if self.dislikes is None else sp.csr_matrix(self.dislikes[rows])
        return Interactions(IdMap(ids[row] for row in rows.tolist()), self.items, matrix, recent, dislikes)


def from_events(events: EventColumns, weighting: Weighting, now_us: int) -> Interactions:
    """Weigh every event at `now_us`, sum per user and item, saturate; users and items with no cell left are dropped."""
    weights = _weights(events, weighting, now_us)
    late = (weights > 0) & (events.occurred_us > events.occurred_us.max(initial=0) - RECENT_DAYS * DAY_US)
    shape, cells = (len(events.user_ids), len(events.item_ids)), (events.user_rows, events.item_rows)
    exact = weights.astype(np.float64)  # float32 sums leave a crumb of what was bought and returned
    sums, recent = (sp.coo_matrix((each, cells), shape=shape).tocsr() for each in (exact, late.astype(np.float32)))
    weight = weighting.saturate(sums.data)
    kept = weight > 0
    rows = np.repeat(np.arange(shape[0]), np.diff(sums.indptr))
    users = np.bincount(rows[kept], minlength=shape[0])
    items = np.bincount(sums.indices[kept], minlength=shape[1])
    user_rows, item_rows = np.flatnonzero(users), np.flatnonzero(items)
    columns = (np.cumsum(items > 0) - 1)[sums.indices[kept]]
    indptr = np.concatenate([[0], np.cumsum(users[user_rows])])
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
    """Of every user and item of the events, also those with no other cell, as `Interactions.dislikes` has them."""
    return _dislikes(events, _weights(events, weighting, now_us).astype(np.float64), weighting)


def _weights(events: EventColumns, weighting: Weighting, now_us: int) -> npt.NDArray[np.float32]:
    ages_s = (now_us - events.occurred_us) / 1e6
    kinds = np.asarray(events.kinds, dtype=object)[events.kind_codes]
    return weighting.weigh(kinds, events.values, ages_s)


def _dislikes(events: EventColumns, weights: npt.NDArray[np.float64], weighting: Weighting) -> sp.csr_matrix | None:
    """What sums to less than nothing, above zero; what only takes back what was given before leaves no dislike."""
    if not (weights < 0).any():
        return None
    takes_back = np.array([weighting.vocabulary.kind(word) in REVERSES for word in events.kinds], dtype=bool)
    weights = np.where(takes_back[events.kind_codes], 0, weights)
    shape, cells = (len(events.user_ids), len(events.item_ids)), (events.user_rows, events.item_rows)
    made = sp.coo_matrix((weights, cells), shape=shape).tocsr()
    made = sp.csr_matrix((weighting.saturate(-made.data), made.indices, made.indptr), shape=shape)
    made.eliminate_zeros()
    return made


def from_history(
    history: History,
    items: IdIndex,
    weighting: Weighting,
    now_us: int,
    *,
    n_columns: int | None = None,
    signed: bool = False,
) -> sp.csr_matrix:
    """One live history as a row of the same cells `from_events` makes; unknown items are skipped.

    The row is (1, n_columns): the first `n_columns` items, all of them if None. `signed`: with dislikes, below zero.
    """
    n_columns = len(items) if n_columns is None else n_columns
    weights = weighting.weigh(list(history.kinds), history.values, (now_us - history.occurred_us) / 1e6)
    sums = _sums(history.item_ids, weights.tolist(), items, n_columns)
    rows = np.array(sorted(sums), dtype=np.int64)
    cells = weighting.saturate(np.array([sums[row] for row in rows.tolist()], dtype=np.float64))
    if signed and any(weight < 0 for weight in sums.values()):
        back = {kind for kind in set(history.kinds) if weighting.vocabulary.kind(kind) in REVERSES}
        stays = [kind not in back for kind in history.kinds]
        sums = _sums(history.item_ids, (weights * stays).tolist(), items, n_columns)
        cells -= weighting.saturate(-np.array([sums[row] for row in rows.tolist()], dtype=np.float64))
    kept = cells != 0
    if not kept.all():
        cells, rows = cells[kept], rows[kept]
    return sp.csr_matrix((cells, rows, np.array([0, len(rows)])), shape=(1, n_columns), dtype=np.float32)


def _sums(item_ids: Sequence[str], weights: list[float], items: IdIndex, n_columns: int) -> dict[int, float]:
    """By row. Of a few dozen events, it is quicker than arrays; in float64, as in `from_events`."""
    sums: dict[int, float] = {}
    for id_, weight in zip(item_ids, weights, strict=True):
        row = items.row(id_)
        if row is not None and row < n_columns:
            sums[row] = sums.get(row, 0.0) + weight
    return sums
