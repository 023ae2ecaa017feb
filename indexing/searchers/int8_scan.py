"""Scan: the compiled search of `coded.CodedLists`: the nearest lists, their rows by 8-bit codes, the best by float32.

What rounding to 8 bits adds to a score, or takes from it, is nearly always within a few of its standard deviations. So
each row has a score that it hardly exceeds and one that it hardly falls short of: whatever does not come up to the k-th
best of the latter is passed over, and all others are scored in float32. That is hardly more than k where rows differ,
and all of them where many are nearly the same. Rows are compared 32 at a time, so that few are looked at one by one.
"""

from __future__ import annotations

import numpy as np

from engine.jit import compiled
from indexing.searchers import int8_lists, simd_products
from indexing.searchers.int8_lists import TOGETHER
from indexing.searchers.simd_products import code_scores, lowest, row_scores

PRODUCTS = 2**31 - 2**27  # what the sum of the products of a query with 127 may be
FINEST, SMALLEST = 2**14, 1e-34  # by less than that no FINEST may be divided
DEVIATIONS = 2.0  # on either side
ROUNDING = 12**-0.5  # standard deviation of what rounding to whole numbers changes
SPARE = 64  # are gathered before it is seen which of them are still among the best
MOST, MOST_OF_K = 1024, 8  # that are scored in float32, and so many more for each of k
# Slices take twice as long to compile as loops, and a plain 0 that is handed on is compiled as a kind of its own.
loop = compiled(also=(int8_lists.__file__, simd_products.__file__))


@loop
def search(queries, lists, vectors, factors, read, k, scores, rows):
    """Fills scores and rows, (n, k), best first; what is not found is row -1 with a score of minus infinity.

    queries (n, dim) float32; `lists` are the arrays of `CodedLists` in their order: centroids (blocks, columns, 32),
    starts, codes (blocks, columns / 2, 32, 2) int8, scales, ids; vectors (n_rows, dim), factors (n_rows,) or (0,), of
    which float32 scores are made. `read` is held (lists,), n_lists, n_held and allowed: without a filter (`allowed`
    empty) the `n_lists` nearest lists are read; with one so many of those that hold any allowed rows that they hold
    `n_held` together, `n_lists` being a guess of how many those are.
    """
    dim, columns, (held, n_lists, n_held, allowed) = queries.shape[1], lists[0].shape[1], read
    padded, coarse = np.zeros(columns, np.float32), np.zeros(columns, np.int16)
    most = MOST + MOST_OF_K * k
    found = (np.empty(most, np.float32), np.empty(most, np.float32), np.empty(most, np.int32))
    work = np.empty(most, np.float32)
    for at in range(len(queries)):
        for j in range(dim):
            padded[j] = queries[at, j]
        fine, more = _rounded(padded, coarse)
        n = 0
        if fine > 0:
            near = _to_read(padded, lists[0], held, n_lists, n_held, len(allowed) > 0)
            n = _scanned(coarse, fine, more, near, lists, allowed, k, found, work)
        best, _, best_rows = found
        for place in range(n):
            row, score = best_rows[place], np.float32(0)
            for j in range(dim):
                score += vectors[row, j] * padded[j]
            best[place] = score * factors[row] if len(factors) else score
        _sort(best, best_rows, n)
        for place in range(k):
            there = place < n
            scores[at, place] = best[place] if there else np.float32(-np.inf)
            rows[at, place] = best_rows[place] if there else np.int32(-1)


@loop
def _rounded(query, coarse):
    """The query in 16-bit numbers so large that no sum of products overflows.

    What it was multiplied with, 0 where it has what is no number; and what rounding may change of a sum of its products
    with 8-bit numbers.
    """
    largest, squares = np.float32(SMALLEST), np.float32(0)
    for j in range(len(query)):
        largest = max(largest, abs(query[j]))
    for j in range(len(query)):
        share = query[j] / largest  # whose square no float32 is too small for
        squares += share * share
    if not np.isfinite(squares):
        return np.float32(0), np.int32(0)
    fine = np.float32(min(FINEST, PRODUCTS // (127 * len(query)))) / largest
    for j in range(len(query)):
        coarse[j] = np.int16(np.rint(query[j] * fine))
    return fine, np.int32(DEVIATIONS * ROUNDING * np.sqrt(squares) * (largest * fine)) + np.int32(1)


@loop
def _to_read(query, centroids, held, n_lists, n_held, filtered):
    """Scores and numbers of the lists to read, best first, and how many those are."""
    most = min(n_lists, len(held))
    while True:
        near, lists = np.empty(most + SPARE, np.float32), np.empty(most + SPARE, np.int32)
        n = _nearest(query, centroids, held, most, near, lists)
        if not filtered:
            return near, lists, n
        total = 0
        for place in range(n):
            total += held[lists[place]]
            if total >= n_held:
                return near, lists, place + 1
        if n < most or most == len(held):
            return near, lists, n
        most = min(4 * most, len(held))


@loop
def _nearest(query, centroids, held, most, near, lists):
    """The `most` lists that hold something and score best, best first, into near and lists; how many there are."""
    n_blocks, columns, _ = centroids.shape
    block, work = np.empty(TOGETHER, np.float32), np.empty(len(near), np.float32)
    n, least = np.int64(0), np.float32(-np.inf)
    for number in range(n_blocks):
        bits = row_scores(
            query.ctypes.data,
            centroids.ctypes.data + number * columns * TOGETHER * 4,
            columns,
            least,
            block.ctypes.data,
        )
        while bits:
            bit = lowest(bits)
            bits &= bits - np.uint32(1)
            one = number * TOGETHER + bit
            if one < len(held) and held[one]:
                near[n], lists[n] = block[bit], one
                n += 1
                if n == len(near):
                    n, least = _cut(near, near, lists, n, most, work)
    if n > most:
        n, least = _cut(near, near, lists, n, most, work)
    _sort(near, lists, n)
    return n


@loop
def _scanned(query, fine, more, near, lists, allowed, k, found, work):
    """The allowed rows of the `near` lists that may be among the k best, in no order, into `found`; how many.

    That is what their scores hardly exceed, what they hardly fall short of, and their rows.
    """
    _, starts, codes, scales, ids = lists
    (near_scores, numbers, n_lists), (at_most, at_least, rows) = near, found
    half, block = codes.shape[1], np.empty(TOGETHER, np.float32)
    n, least, full = np.int64(0), np.float32(-np.inf), k + SPARE
    for place in range(n_lists):
        one, start = numbers[place], near_scores[place] * fine
        for number in range(starts[one], starts[one + 1]):
            bits = code_scores(
                query.ctypes.data,
                codes.ctypes.data + number * half * TOGETHER * 2,
                2 * half,
                scales.ctypes.data + number * TOGETHER * 4,
                start,
                more,
                least,
                block.ctypes.data,
            )
            while bits:
                bit = lowest(bits)
                bits &= bits - np.uint32(1)
                row = ids[number * TOGETHER + bit]
                if row >= 0 and (not len(allowed) or allowed[row]):
                    at_most[n], rows[n] = block[bit], row
                    at_least[n] = block[bit] - np.float32(2 * more) * scales[number, bit]
                    n += 1
                    if n == full:
                        n, least = _possible(at_most, at_least, rows, n, k, work)
                        if n + SPARE > len(rows):
                            n, _ = _cut(at_most, at_least, rows, n, len(rows) // 2, work)
                        full = n + SPARE
    if n > k:
        n, least = _possible(at_most, at_least, rows, n, k, work)
    return n


@loop
def _possible(at_most, at_least, rows, n, k, work):
    """Brings those to the front that may be among the k best; how many, and what they all may come up to."""
    for place in range(n):
        work[place] = at_least[place]
    least, kept = _largest(work, n, k), 0
    for place in range(n):
        if at_most[place] >= least:
            at_most[kept], at_least[kept], rows[kept] = at_most[place], at_least[place], rows[place]
            kept += 1
    return kept, least


@loop
def _cut(scores, others, rows, n, most, work):
    """Brings the `most` best of more to the front, in no order; how many, and the least of them."""
    for place in range(n):
        work[place] = scores[place]
    least = _largest(work, n, most)
    ties = most
    for place in range(n):
        ties -= scores[place] > least
    kept = 0
    for place in range(n):
        if scores[place] > least or (scores[place] == least and ties > 0):
            ties -= scores[place] == least
            scores[kept], others[kept], rows[kept] = scores[place], others[place], rows[place]
            kept += 1
    return kept, least


@loop
def _largest(values, n, k):
    """The k-th largest of the first `n`, at least k (quickselect); leaves them in another order."""
    low, high = 0, n - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]


@loop
def _sort(scores, rows, n):
    """The first `n`, best first, in place (heapsort: the worst is taken from the top each time)."""
    for place in range(n // 2 - 1, -1, -1):
        _sink(scores, rows, place, n)
    for end in range(n - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        rows[0], rows[end] = rows[end], rows[0]
        _sink(scores, rows, np.int64(0), end)


@loop
def _sink(scores, rows, place, n):
    score, row = scores[place], rows[place]
    while True:
        below = 2 * place + 1
        if below >= n:
            break
        if below + 1 < n and scores[below + 1] < scores[below]:
            below += 1
        if scores[below] >= score:
            break
        scores[place], rows[place] = scores[below], rows[below]
        place = below
    scores[place], rows[place] = score, row
