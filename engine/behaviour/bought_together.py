"""Items bought together: for each item, the others that its baskets hold more often than baskets at large.

n_i is the number of baskets with item i, c_ij the number with i and j, N the number of all. The probability of j in a
basket with i is shrunk to that of any basket, p_j = n_j / N, as if `SHRINKAGE` more baskets with i had been seen. Each
count is reduced by `DISCOUNT` (absolute discounting, as in language models: Ney et al., 1994), because most pairs seen
once are chance:

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

from engine.behaviour.baskets import basket_matrix
from engine.behaviour.item_lists import ItemLists, Scores, from_lists, no_lists
from engine.values.event_kinds import Vocabulary
from engine.values.events import EventColumns

LENGTH = 100  # of a list
SHRINKAGE = 30.0  # in baskets
LIFT = 0.2
DISCOUNT = 0.75  # in baskets
MAX_BASKET = 200  # items
MAX_PAIRS = 20_000_000  # at a time: 12 bytes each


def bought_together(
    events: EventColumns,
    vocabulary: Vocabulary,
    n_items: int,
    *,
    shrinkage: float = SHRINKAGE,
    lift: float = LIFT,
    discount: float = DISCOUNT,
) -> ItemLists:
    baskets = basket_matrix(events, vocabulary, n_items, MAX_BASKET)
    if baskets.nnz == 0:
        return no_lists(n_items)
    return from_lists(_lists(baskets, shrinkage, lift, discount))


def _lists(
    baskets: sp.csr_matrix, shrinkage: float, lift: float, discount: float
) -> Iterator[tuple[npt.NDArray[np.int32], Scores]]:
    by_item = sp.csr_matrix(baskets.T)
    n_baskets_of = np.diff(by_item.indptr)
    shares = n_baskets_of / baskets.shape[0]
    top = shares.max(keepdims=True)
    for start, end in _chunks(by_item, np.diff(baskets.indptr)):
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
    counts: npt.NDArray[np.float32], n_baskets: int, shares: npt.NDArray[np.float64], shrinkage: float, lift: float
) -> npt.NDArray[np.float64]:
    """(n,): the scores of items with these discounted counts in the `n_baskets` baskets of an item; see the module.

    `shares` are the shares of all baskets that hold these items.
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


def _chunks(by_item: sp.csr_matrix, sizes: npt.NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Ranges of items whose baskets have at most MAX_PAIRS items together, or one item."""
    pairs = np.concatenate([[0], np.cumsum(by_item @ sizes.astype(np.float64))])
    start, n_items = 0, by_item.shape[0]
    while start < n_items:
        end = int(np.searchsorted(pairs, pairs[start] + MAX_PAIRS, side="right")) - 1
        end = min(max(end, start + 1), n_items)
        yield start, end
        start = end
