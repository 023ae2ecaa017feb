"""Items bought together: for each item, the others that its baskets hold more often than baskets at large.

Baskets have weights that fall by the half-life HALF_LIFE_DAYS, because what belongs together changes with the season;
the newest weighs 1. n_i is the weight of the baskets with item i, c_ij of those with i and j, N of all. The probability
of j in a basket with i is shrunk to that of any basket, p_j = n_j / N, as if `SHRINKAGE` more baskets with i had been
seen. Each count is reduced by `DISCOUNT` (absolute discounting, as in language models: Ney et al., 1994), because most
pairs seen once are chance:

    p_ij = (c_ij - DISCOUNT + SHRINKAGE * p_j) / (n_i + SHRINKAGE)
    score = p_ij / p_j ** LIFT

A list ends where a pair scores no more than the most popular item would that was never bought with i: other pairs say
less than popularity, and the fallback of the source fills the shelf. So items with few baskets have short lists.

With LIFT = 0 the order is that of counts, where the items that everybody buys are first in each list; with 1 it is the
lift, where items bought once are first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.behaviour.baskets import Baskets, find_baskets
from engine.behaviour.item_lists import ItemLists, Scores, from_lists, no_lists
from engine.values.event_kinds import Vocabulary
from engine.values.events import EventColumns
from engine.values.interactions import DAY_US

LENGTH = 100  # of a list
SHRINKAGE = 30.0  # in baskets
LIFT = 0.3
DISCOUNT = 0.9  # in baskets
HALF_LIFE_DAYS = 112.0
MAX_BASKET = 200  # items
MAX_PAIRS = 20_000_000  # at a time: 12 bytes each


def bought_together(
    events: EventColumns,
    vocabulary: Vocabulary,
    n_items: int,
    *,
    now_us: int,
    shrinkage: float = SHRINKAGE,
    lift: float = LIFT,
    discount: float = DISCOUNT,
    half_life_days: float | None = HALF_LIFE_DAYS,
) -> ItemLists:
    """A list for each item; a basket dated after `now_us` counts as one of `now_us`."""
    baskets = find_baskets(events, vocabulary, n_items, MAX_BASKET)
    if len(baskets) == 0:
        return no_lists(n_items)
    return from_lists(_lists(baskets.matrix, weights(baskets, now_us, half_life_days), shrinkage, lift, discount))


def weights(baskets: Baskets, now_us: int, half_life_days: float | None) -> Scores:
    """(n_baskets,) > 0; 1 for the newest."""
    if half_life_days is None:
        return np.ones(len(baskets), np.float32)
    times = np.minimum(baskets.newest_us, now_us)
    halvings = (times.max() - times) / DAY_US / half_life_days
    return np.exp2(-np.minimum(halvings, 60.0)).astype(np.float32)


def _lists(
    baskets: sp.csr_matrix, weights: Scores, shrinkage: float, lift: float, discount: float
) -> Iterator[tuple[npt.NDArray[np.int32], Scores]]:
    by_item = sp.csr_matrix((sp.diags(weights) @ baskets).T)
    n_baskets_of = np.asarray(by_item.sum(axis=1, dtype=np.float64)).ravel()
    shares = n_baskets_of / weights.sum(dtype=np.float64)
    top = shares.max(keepdims=True)
    for start, end in _chunks(baskets):
        together = sp.csr_matrix(by_item[start:end] @ baskets)
        for row in range(start, end):
            part = slice(*together.indptr[row - start : row - start + 2])
            others, counts = together.indices[part], together.data[part]
            is_other = others != row
            others, counts = others[is_other], counts[is_other]
            if len(others) == 0:
                yield others, counts
                continue
            scores = shrunk_lift(counts - discount, n_baskets_of[row], shares[others], shrinkage, lift)
            is_known = scores > shrunk_lift(np.zeros(1, np.float32), n_baskets_of[row], top, shrinkage, lift)
            others, scores = others[is_known], scores[is_known]
            yield best(others, scores, LENGTH)


def shrunk_lift(
    counts: npt.NDArray[np.float32], n_baskets: float, shares: npt.NDArray[np.float64], shrinkage: float, lift: float
) -> npt.NDArray[np.float64]:
    """(n,): the scores of items with these discounted counts in an item's baskets; see the module.

    `n_baskets` is the weight of these baskets, `shares` are the shares of all baskets that hold these items.
    """
    probabilities = (counts + shrinkage * shares) / (n_baskets + shrinkage)
    scores: npt.NDArray[np.float64] = probabilities / shares**lift
    return scores


def best(
    rows: npt.NDArray[np.int32], scores: npt.NDArray[np.float64], length: int
) -> tuple[npt.NDArray[np.int32], Scores]:
    """The `length` best, best first; of equal ones the lower row."""
    if len(rows) > length:
        worst = np.partition(scores, len(scores) - length)[len(scores) - length]
        kept = np.flatnonzero(scores >= worst)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:length]
    return rows[order], scores[order].astype(np.float32)


def _chunks(baskets: sp.csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of items whose baskets have at most MAX_PAIRS items together, or one item."""
    sizes = np.diff(baskets.indptr)
    pairs = np.concatenate([[0], np.cumsum(baskets.T @ sizes.astype(np.float64))])
    start, n_items = 0, baskets.shape[1]
    while start < n_items:
        end = int(np.searchsorted(pairs, pairs[start] + MAX_PAIRS, side="right")) - 1
        end = min(max(end, start + 1), n_items)
        yield start, end
        start = end
