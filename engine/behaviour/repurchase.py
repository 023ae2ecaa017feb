"""Repurchase intervals: after how many days a user usually buys an item again.

The interval of an item is the geometric mean of the days between purchases of one user on different days. It is shrunk
to that of the item's category, and that one to the interval of all items, as if `SHRINKAGE` more gaps had been seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.behaviour.baskets import taken_events
from engine.values.event_kinds import Vocabulary
from engine.values.events import EventColumns
from engine.values.interactions import DAY_US
from engine.values.splits import select_events

SHRINKAGE = 5.0  # in gaps

Days = npt.NDArray[np.float32]


def repurchase_days(
    events: EventColumns, vocabulary: Vocabulary, n_items: int, categories: npt.NDArray[np.int64] | None = None
) -> Days:
    """(n_items,): days; NaN for an item that no user bought on two days.

    `categories` (n_items,) are codes of the items' categories, -1: none.
    """
    items, gaps = purchase_gaps(select_events(events, taken_events(events, vocabulary)))
    logs = np.log(gaps)
    counts, sums = (np.bincount(items, each, n_items) for each in (np.ones(len(gaps)), logs))
    if not len(gaps):
        return np.full(n_items, np.nan, np.float32)
    towards = np.full(n_items, logs.mean())
    if categories is not None and categories.max(initial=-1) >= 0:
        codes = categories + 1
        n_of, sum_of = np.bincount(codes, counts), np.bincount(codes, sums)
        by_category = (sum_of + SHRINKAGE * logs.mean()) / (n_of + SHRINKAGE)
        towards = np.where(categories >= 0, by_category[codes], towards)
    days = np.exp((sums + SHRINKAGE * towards) / (counts + SHRINKAGE))
    return np.where(counts > 0, days, np.nan).astype(np.float32)


def purchase_gaps(events: EventColumns) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The item and the days between each two successive days on which one user bought one item."""
    days = events.occurred_us // DAY_US
    order = np.lexsort((days, events.item_rows, events.user_rows))
    users, items, days = events.user_rows[order], events.item_rows[order], days[order]
    is_gap = (users[1:] == users[:-1]) & (items[1:] == items[:-1]) & (days[1:] > days[:-1])
    return items[1:][is_gap], np.diff(days)[is_gap].astype(np.float64)
