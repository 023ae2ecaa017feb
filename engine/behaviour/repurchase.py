"""Repurchase intervals: after how many days a user usually buys an item again.

The interval of an item is the days that its buyers were observed since their first purchase, until the newest event,
over the number of times that they bought it again on another day. So buyers who have not come back yet lengthen it
(the mean time between purchases of a Poisson process with censored ends).

Few items have enough repurchases, so both numbers are shrunk to an expected rate, as if `SHRINKAGE` more repurchases
had been seen at that rate. It is proportional to the square root of the item's purchases, because what many buy is
bought again sooner; the factor is that of all items, times the repurchases of the item's category over the expected
ones (shrunk to 1 likewise).
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
    exposures, repurchases, purchases = _observed(select_events(events, taken_events(events, vocabulary)), n_items)
    if not repurchases.sum():
        return np.full(n_items, np.nan, np.float32)
    rates = np.sqrt(np.maximum(purchases, 1.0))
    rates *= repurchases.sum() / (exposures @ rates)  # as many repurchases as there are
    if categories is not None:
        found, expected = (np.bincount(categories + 1, each) for each in (repurchases, exposures * rates))
        factors = (found + shrinkage) / (expected + shrinkage)
        rates *= np.where(categories >= 0, factors[categories + 1], 1.0)
    days = np.maximum((exposures + shrinkage / rates) / (repurchases + shrinkage), 1.0)
    return np.where(purchases > 0, days, np.nan).astype(np.float32)


def _observed(events: EventColumns, n_items: int) -> tuple[Counts, Counts, Counts]:
    """(n_items,) each: days that buyers were observed since their first purchase, repurchases, purchases.

    A user's purchases of one day count once.
    """
    days = events.occurred_us // DAY_US
    order = np.lexsort((days, events.item_rows, events.user_rows))
    users, items, days = events.user_rows[order], events.item_rows[order], days[order]
    is_same = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
    is_first = np.r_[True, ~is_same][: len(items)]
    is_again = np.r_[False, is_same & (days[1:] > days[:-1])][: len(items)]
    observed = days.max(initial=0) - days[is_first]
    exposures = np.bincount(items[is_first], observed, n_items).astype(np.float64)
    repurchases = np.bincount(items[is_again], minlength=n_items).astype(np.float64)
    return exposures, repurchases, repurchases + np.bincount(items[is_first], minlength=n_items)
