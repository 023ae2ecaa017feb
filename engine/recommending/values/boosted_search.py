"""Boosted search: the best items by boosted score, found with plain searches and a proof that no other item is better.

A search for the n best items by plain score leaves only items whose plain score is at most that of the last one found.
The largest factor and addend bound what these can reach. While the bound is above the score of the last item to return,
the search is repeated with more items, at last with all of them (the threshold algorithm of Fagin, Lotem and Naor, PODS
2001, with one list).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.deadline import check_deadline, needs_more_work
from engine.recommending.values.boosts import Boost
from engine.recommending.values.searcher import Found

WIDEN, START = 4, 4  # the first search has START times the items to return


def best_boosted(search: Callable[[int], Found], n_rows: int, n: int, boost: Boost) -> Found:
    """Plain scores (1, m) and rows (1, m) of the `n` best rows by boosted score, in no order.

    `search(width)` finds the `width` best of `n_rows` rows by plain score, best first, row -1 where there are no more.
    """
    width = n * START
    while True:
        check_deadline()
        width = min(width, n_rows)
        scores, rows = search(width)
        n_found = int(np.count_nonzero(rows[0] >= 0))
        plain, found = scores[:, :n_found], rows[:, :n_found]
        values = boost.of_rows(found[0], plain[0])
        best = np.argpartition(-values, n - 1)[:n] if n_found > n else np.arange(n_found)
        is_all = n_found < width or width == n_rows
        if is_all or boost.bound(float(plain[0, -1])) <= values[best].min():
            return plain[:, best], found[:, best]
        needs_more_work()
        width *= WIDEN
