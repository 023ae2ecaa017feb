"""Probing: which lists of an IVF index a filtered search reads: the nearest ones that hold enough allowed rows.

A filter often goes against the query: someone of the kitchen department looks for a bed. The lists nearest to the query
then hold few allowed rows, or none, and reading so many lists more as the filter is narrower finds hardly any of the
best (.05 recall where the allowed half is the one least like the query). So lists are read by how many allowed rows
they hold, until as many were read as an unfiltered search reads; those with none are passed over.
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
FEW = 16  # lists more than are likely to be read
FEWER = 0.25  # power of selectivity: fewer rows are read of a narrower filter, as they come from more lists


def rows_to_hold(read: float, held: Counts, sizes: Counts) -> int:
    """How many allowed rows the lists that are read hold together, where `read` rows are read without a filter.

    Allowed rows that lie anywhere are found as all rows are. Where whole lists are allowed, those of a department, the
    best of what a filter leaves may lie in any of its lists, as it was not for this department that the query was near:
    `together` is 1 for the former, and for the latter as many times more as the filter leaves less than everything.
    Of departments of a tenth .80 was found with its power of 0, all with 2; of those of a half .90 and .99.
    """
    n_rows, matching = int(sizes.sum()), int(held.sum())
    share = matching / n_rows
    by_chance = share * (1 - share) * np.count_nonzero(sizes)
    together = (float((held**2 / np.maximum(sizes, 1)).sum()) - by_chance) / max(share**2 * n_rows, 1e-9)
    return min(math.ceil(read * share**FEWER * max(together, 1) ** 2), matching)


def likely(n_held: int, matching: int, nlist: int) -> int:
    """How many of the nearest lists are likely to hold so many of the matching rows, and more than that."""
    return 2 * math.ceil(n_held * nlist / max(matching, 1)) + FEW


@dataclass(frozen=True, eq=False)
class Lists:
    """The lists of an IVF index over `n_rows` rows."""

    index: faiss.IndexIVF
    n_rows: int

    def allowed(self, mask: Mask) -> Counts:
        """Allowed rows in each list, (nlist,)."""
        return np.bincount(self._list_of[mask[: self.n_rows]], minlength=self.index.nlist)

    def search(self, queries: Matrix, k: int, allowed: Counts, selector: faiss.IDSelector, wanted: int) -> Found:
        """The k best allowed rows of the nearest lists that together hold `wanted` allowed rows."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        near, lists = self._nearest(queries, allowed, wanted)
        width = lists.shape[1]
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        params = faiss.SearchParametersIVF(nprobe=width, sel=selector)
        pointers = map(faiss.swig_ptr, (lists, near, scores, rows))
        self.index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, params)
        return scores, rows

    def _nearest(self, queries: Matrix, allowed: Counts, wanted: int) -> tuple[Matrix, Counts]:
        """Their scores and numbers, (n, the most of any query) each; list -1 is none."""
        found = [self._of_one(query, allowed, wanted) for query in queries]
        width = max([1, *(len(lists) for _, lists in found)])
        near, lists = np.zeros((len(found), width), np.float32), np.full((len(found), width), -1, np.int64)
        for row, (scores, numbers) in enumerate(found):
            near[row, : len(numbers)], lists[row, : len(numbers)] = scores, numbers
        return near, lists

    def _of_one(self, query: Matrix, allowed: Counts, wanted: int) -> tuple[Matrix, Counts]:
        """Of one (dim,) query, nearest first. A few times as many as are likely to be read are put in order, or all."""
        scores = inner_products(query, self._centroids)
        scores[allowed == 0] = -np.inf
        for most in (likely(wanted, int(allowed.sum()), self.index.nlist), self.index.nlist):
            if most >= self.index.nlist:
                order = np.argsort(-scores, kind="stable")
            else:
                part = np.argpartition(-scores, most)[:most]
                order = part[np.argsort(-scores[part], kind="stable")]
            held = allowed[order]
            read = int(np.searchsorted(np.cumsum(held), wanted)) + 1
            if read <= len(order):
                break
        order = order[: min(read, int(np.count_nonzero(held)))]
        return scores[order], order

    @cached_property
    def sizes(self) -> Counts:
        """Rows in each list, (nlist,)."""
        return np.bincount(self._list_of, minlength=self.index.nlist)

    @cached_property
    def _centroids(self) -> Matrix:
        return np.ascontiguousarray(self.index.quantizer.reconstruct_n(0, self.index.nlist), dtype=np.float32)

    @cached_property
    def _list_of(self) -> npt.NDArray[np.int32]:
        """The list of each row, (n_rows,)."""
        found, lists = np.zeros(self.n_rows, np.int32), self.index.invlists
        for number in range(self.index.nlist):
            size = lists.list_size(number)
            if size:
                found[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
        return found
