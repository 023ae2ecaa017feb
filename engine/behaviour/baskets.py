"""Baskets: the items that were bought in one order; without an order, in one session or by one user on one day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.values.event_kinds import Vocabulary
from engine.values.events import EventColumns
from engine.values.interactions import DAY_US

TAKEN = ("purchase", "cart")  # the first kind that occurs makes the baskets


@dataclass(frozen=True, eq=False)
class Baskets:
    matrix: sp.csr_matrix  # (n_baskets, n_items) float32 of 0 and 1
    newest_us: npt.NDArray[np.int64]  # (n_baskets,): the time of the last purchase

    def __len__(self) -> int:
        return len(self.newest_us)


def find_baskets(events: EventColumns, vocabulary: Vocabulary, n_items: int, max_size: int) -> Baskets:
    """Baskets of at least two items.

    Of a basket with more than `max_size` items, a random part of that size is kept: the pairs of such a basket say
    little, and their number grows with the square of its size.
    """
    is_taken = taken_events(events, vocabulary)
    numbers, items = basket_numbers(events)[is_taken], events.item_rows[is_taken]
    distinct, rows = np.unique(numbers, return_inverse=True)
    newest_us = np.full(len(distinct), np.iinfo(np.int64).min)
    np.maximum.at(newest_us, rows, events.occurred_us[is_taken])
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), shape=(len(distinct), n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    sizes = np.diff(matrix.indptr)
    if (sizes > max_size).any():
        matrix = _cut(matrix, max_size)
    kept = sizes >= 2
    return Baskets(sp.csr_matrix(matrix[kept]), newest_us[kept])


def taken_events(events: EventColumns, vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    """(n,): the events that are purchases; in a space without purchases, those that put an item into a cart."""
    kinds = [vocabulary.kind(word) for word in events.kinds]
    for taken in TAKEN:
        of_kind = np.array([kind == taken for kind in kinds], dtype=bool)[events.kind_codes]
        if of_kind.any():
            return of_kind
    return np.zeros(len(events), dtype=bool)


def basket_numbers(events: EventColumns) -> npt.NDArray[np.int64]:
    """(n,): `events.baskets`, and where that is 0 or missing, a number for the user and the day (UTC)."""
    by_day = user_days(events.user_rows, events.occurred_us)
    return by_day if events.baskets is None else np.where(events.baskets == 0, by_day, events.baskets)


def user_days(users: npt.NDArray[np.int64], occurred_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n,): a 64-bit hash of the user and the day (the finaliser of splitmix64), never 0."""
    with np.errstate(over="ignore"):
        mixed = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + (occurred_us // DAY_US).astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return (mixed | np.uint64(1)).view(np.int64)


def _cut(matrix: sp.csr_matrix, max_size: int) -> sp.csr_matrix:
    """At most `max_size` random cells of each row, the same at each build."""
    baskets = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((np.random.default_rng(0).random(matrix.nnz), baskets))
    kept = np.sort(order[np.arange(matrix.nnz) - matrix.indptr[baskets] < max_size])
    cells = (matrix.data[kept], (baskets[kept], matrix.indices[kept]))
    return sp.csr_matrix(cells, shape=matrix.shape, dtype=np.float32)
