"""Splits of events and interactions into what is learnt from and what is predicted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.errors import NotEnoughData
from engine.events import EventColumns, Weighting
from engine.interactions import Interactions, from_events


@dataclass(frozen=True, eq=False)
class Split:
    """`test` has the rows and columns of `train`; no cell is in both."""

    train: Interactions
    test: sp.csr_matrix


def by_time(events: EventColumns, weighting: Weighting, share: float = 0.1, until_us: int | None = None) -> Split:
    """Learn from everything before a moment, predict what known users take up after it, of items known before.

    The moment is `until_us`, or leaves `share` of the events after it. Weights are as of that moment.
    """
    if len(events) == 0:
        raise NotEnoughData("there are no events to learn from; import some with `nearfield import events FILE`")
    cut = int(np.quantile(events.occurred_us, 1 - share)) if until_us is None else until_us
    before = events.occurred_us <= cut
    train = from_events(_select(events, before), weighting, cut)
    later = from_events(_select(events, ~before), replace(weighting, half_life_days=None), cut)
    return Split(train, _without(_aligned(later, train), train.matrix))


def at_random(interactions: Interactions, share: float = 0.2, seed: int = 0) -> Split:
    """A share of the cells of each user, rounded down, goes to test."""
    matrix = interactions.matrix
    draw = np.random.default_rng(seed).random(matrix.nnz)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((draw, rows))
    rank = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    held = np.zeros(matrix.nnz, dtype=bool)
    held[order] = rank < np.floor(share * np.diff(matrix.indptr))[rows[order]]
    return Split(_with(interactions, ~held), _with(interactions, held).matrix)


def _select(events: EventColumns, chosen: npt.NDArray[np.bool_]) -> EventColumns:
    return replace(
        events,
        user_rows=events.user_rows[chosen],
        item_rows=events.item_rows[chosen],
        kind_codes=events.kind_codes[chosen],
        values=events.values[chosen],
        occurred_us=events.occurred_us[chosen],
    )


def _aligned(later: Interactions, train: Interactions) -> sp.csr_matrix:
    """The cells of `later` whose user and item `train` knows, in its rows and columns."""
    cells = later.matrix.tocoo()
    users = np.array([-1 if (row := train.users.row(id_)) is None else row for id_ in later.users.ids], dtype=np.int64)
    items = np.array([-1 if (row := train.items.row(id_)) is None else row for id_ in later.items.ids], dtype=np.int64)
    rows, columns = users[cells.row], items[cells.col]
    known = (rows >= 0) & (columns >= 0)
    shape = train.matrix.shape
    return sp.csr_matrix((cells.data[known], (rows[known], columns[known])), shape=shape, dtype=np.float32)


def _without(cells: sp.csr_matrix, seen: sp.csr_matrix) -> sp.csr_matrix:
    left = sp.csr_matrix(cells - cells.multiply(seen > 0))
    left.eliminate_zeros()
    return left


def _with(interactions: Interactions, kept: npt.NDArray[np.bool_]) -> Interactions:
    matrix = interactions.matrix.copy()
    matrix.data = np.where(kept, matrix.data, 0).astype(np.float32)
    matrix.eliminate_zeros()
    return Interactions(interactions.users, interactions.items, matrix)
