"""Which lists of an IVF index a filtered search reads: the nearest lists that together hold enough allowed rows.

A filter often goes against the query: a user who buys kitchenware looks for a bed. The lists nearest to the query then
hold few allowed rows or none, and multiplying the number of lists by 1 / selectivity finds hardly any of the best rows
(.05 recall where the allowed half is the half least like the query). Lists are therefore read in order of their
distance until the allowed rows in them are as many as an unfiltered search reads. Lists without allowed rows are
skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
import numpy.typing as npt

from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.exact import inner_products

Counts = npt.NDArray[np.int64]
EXTRA_LISTS = 16  # sorted in addition to the expected number
SELECTIVITY_POWER = 0.25  # a narrower filter reads fewer rows, because these come from more lists


def allowed_per_list(allowed: Mask, list_of: npt.NDArray[np.int32], sizes: Counts) -> Counts:
    """(nlist,) allowed rows in each list, counted by the rows that are allowed, or by the others if these are fewer.

    `allowed` and `list_of`, the list of each row, are (n_rows,); `sizes` are all rows of each list, (nlist,).
    """
    if 2 * np.count_nonzero(allowed) <= len(allowed):
        return np.bincount(list_of[np.flatnonzero(allowed)], minlength=len(sizes))
    return np.asarray(sizes - np.bincount(list_of[np.flatnonzero(~allowed)], minlength=len(sizes)))


def allowed_rows_to_read(n_unfiltered: float, per_list: Counts, sizes: Counts) -> int:
    """The number of allowed rows to read, where an unfiltered search reads `n_unfiltered` rows.

    `per_list` are the allowed rows and `sizes` all rows of each list. Two cases differ:
    - Allowed rows are spread evenly over the lists: they are found as easily as all rows. `clustering` is 1.
    - Whole lists are allowed, such as a department: the query was not near this department, so the best allowed rows
      may lie in any of its lists. `clustering` grows to 1 / selectivity.
    Recall for departments of a tenth of the items is .80 with power 0 of `clustering` and complete with power 2; for
    departments of a half it is .90 and .99.
    """
    n_rows, matching = int(sizes.sum()), int(per_list.sum())
    share = matching / n_rows
    by_chance = share * (1 - share) * np.count_nonzero(sizes)
    clustering = (float((per_list**2 / np.maximum(sizes, 1)).sum()) - by_chance) / max(share**2 * n_rows, 1e-9)
    return min(math.ceil(n_unfiltered * share**SELECTIVITY_POWER * max(clustering, 1) ** 2), matching)


def expected_lists(n_to_read: int, matching: int, nlist: int) -> int:
    """An upper estimate of how many of the nearest lists hold `n_to_read` of the `matching` rows."""
    return 2 * math.ceil(n_to_read * nlist / max(matching, 1)) + EXTRA_LISTS


@dataclass(frozen=True, eq=False)
class IvfLists:
    """The lists of an IVF index over `n_rows` rows."""

    index: faiss.IndexIVF
    n_rows: int

    def allowed_per_list(self, mask: Mask) -> Counts:
        """(nlist,) allowed rows in each list."""
        return allowed_per_list(mask[: self.n_rows], self._list_of, self.sizes)

    def search(self, queries: Matrix, k: int, per_list: Counts, selector: faiss.IDSelector, n_to_read: int) -> Found:
        """The k best allowed rows of the nearest lists that together hold `n_to_read` allowed rows."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        list_scores, lists = self._nearest(queries, per_list, n_to_read)
        width = lists.shape[1]
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        params = faiss.SearchParametersIVF(nprobe=width, sel=selector)
        pointers = map(faiss.swig_ptr, (lists, list_scores, scores, rows))
        self.index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, params)
        return scores, rows

    def _nearest(self, queries: Matrix, per_list: Counts, n_to_read: int) -> tuple[Matrix, Counts]:
        """Scores and numbers of the lists to read, (n, most lists of any query) each, padded with list -1."""
        nearest = [self._nearest_to(query, per_list, n_to_read) for query in queries]
        width = max([1, *(len(numbers) for _, numbers in nearest)])
        list_scores, lists = np.zeros((len(nearest), width), np.float32), np.full((len(nearest), width), -1, np.int64)
        for row, (scores, numbers) in enumerate(nearest):
            list_scores[row, : len(numbers)], lists[row, : len(numbers)] = scores, numbers
        return list_scores, lists

    def _nearest_to(self, query: Matrix, per_list: Counts, n_to_read: int) -> tuple[Matrix, Counts]:
        """Scores and numbers of the lists to read for one (dim,) query, nearest first.

        Sorts only the expected number of lists at first, and all lists where these hold too few allowed rows.
        """
        scores = inner_products(query, self._centroids)
        scores[per_list == 0] = -np.inf
        for n_sorted in (expected_lists(n_to_read, int(per_list.sum()), self.index.nlist), self.index.nlist):
            if n_sorted >= self.index.nlist:
                order = np.argsort(-scores, kind="stable")
            else:
                part = np.argpartition(-scores, n_sorted)[:n_sorted]
                order = part[np.argsort(-scores[part], kind="stable")]
            n_allowed = per_list[order]
            n_lists = int(np.searchsorted(np.cumsum(n_allowed), n_to_read)) + 1
            if n_lists <= len(order):
                break
        order = order[: min(n_lists, int(np.count_nonzero(n_allowed)))]
        return scores[order], order

    @cached_property
    def sizes(self) -> Counts:
        """(nlist,) rows in each list."""
        return np.bincount(self._list_of, minlength=self.index.nlist)

    @cached_property
    def _centroids(self) -> Matrix:
        return np.ascontiguousarray(self.index.quantizer.reconstruct_n(0, self.index.nlist), dtype=np.float32)

    @cached_property
    def _list_of(self) -> npt.NDArray[np.int32]:
        """(n_rows,) the list of each row."""
        list_of, lists = np.zeros(self.n_rows, np.int32), self.index.invlists
        for number in range(self.index.nlist):
            size = lists.list_size(number)
            if size:
                list_of[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
        return list_of
