"""Repurchase intervals: after how many days a user usually buys an item again.

The interval of an item is the days that its buyers were observed since their first purchase, until the newest event,
over the number of times that they bought it again on another day. So buyers who have not come back yet lengthen it
(the mean time between purchases of a Poisson process with censored ends). Both numbers are shrunk: to the rate of the
item's category, and that one to the rate of all items, as if `SHRINKAGE` more repurchases had been seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.behaviour.baskets import taken_events
from engine.behaviour.item_counts import Counts
from engine.values.event_kinds import Vocabulary
from engine.values.events import EventColumns
from engine.values.interactions import DAY_US
from engine.values.splits import select_events

SHRINKAGE = 5.0  # in repurchases

Days = npt.NDArray[np.float32]


def repurchase_days(
    events: EventColumns,
    vocabulary: Vocabulary,
    n_items: int,
    categories: npt.NDArray[np.int64] | None = None,
    *,
    shrinkage: float = SHRINKAGE,
) -> Days:
    """(n_items,): days, at least 1; NaN for an item that nobody bought, and for all where nobody bought one again.

    `categories` (n_items,) are codes of the items' categories, -1: none.
    """
    exposures, repurchases, bought = _observed(select_events(events, taken_events(events, vocabulary)), n_items)
    if not repurchases.sum():
        return np.full(n_items, np.nan, np.float32)
    of_all = exposures.sum() / repurchases.sum()
    towards = np.full(n_items, of_all)
    if categories is not None:
        n_of, days_of = (np.bincount(categories + 1, each) for each in (repurchases, exposures))
        by_category = (days_of + shrinkage * of_all) / (n_of + shrinkage)
        towards = np.where(categories >= 0, by_category[categories + 1], of_all)
    days = np.maximum((exposures + shrinkage * towards) / (repurchases + shrinkage), 1.0)
    return np.where(bought, days, np.nan).astype(np.float32)


def _observed(events: EventColumns, n_items: int) -> tuple[Counts, Counts, npt.NDArray[np.bool_]]:
    """(n_items,) each: days that buyers were observed since their first purchase, repurchases, whether bought."""
    days = events.occurred_us // DAY_US
    order = np.lexsort((days, events.item_rows, events.user_rows))
    users, items, days = events.user_rows[order], events.item_rows[order], days[order]
    is_same = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
    is_first = np.r_[True, ~is_same][: len(items)]
    is_again = np.r_[False, is_same & (days[1:] > days[:-1])][: len(items)]
    observed = days.max(initial=0) - days[is_first]
    exposures = np.bincount(items[is_first], observed, n_items).astype(np.float64)
    repurchases = np.bincount(items[is_again], minlength=n_items).astype(np.float64)
    return exposures, repurchases, np.bincount(items, minlength=n_items) > 0
