"""Scan: the compiled search of `coded.CodedLists`: the nearest lists, their rows by 8-bit codes, the best by float32.

Scores of codes are compared 32 at a time with the least that is still among the best, so that few of them are looked
at one by one.
"""

from __future__ import annotations

import numpy as np

from engine.compiled import compiled
from indexing import coded, products
from indexing.coded import TOGETHER
from indexing.products import code_scores, lowest, row_scores

PRODUCTS = 2**31 - 2**24  # what the sum of the products of a query with 127 may be
FINEST, SMALLEST = 2**14, 1e-30
SPARE = 3  # times as many as are wanted are gathered before the best of them are sorted out
loop = compiled(also=(coded.__file__, products.__file__))


@loop
def search(
    queries,
    centroids,
    starts,
    codes,
    scales,
    ids,
    vectors,
    factors,
    held,
    n_lists,
    n_held,
    allowed,
    k,
    width,
    scores,
    rows,
):
    """Fills scores and rows, (n, k), best first; what is not found is row -1 with a score of minus infinity.

    queries (n, dim) float32; centroids (blocks, columns, 32) and codes (blocks, columns / 2, 32, 2) int8 as of
    `CodedLists`; vectors (n_rows, dim), factors (n_rows,) or (0,): the `width` best by code are scored with them.
    Without a filter (`allowed` empty) the `n_lists` nearest lists are read; with one so many of those that hold any
    allowed rows (`held`, (lists,)) that they hold `n_held` together, and more than `n_lists` where that is not enough.
    """
    dim, columns = queries.shape[1], centroids.shape[1]
    padded, coarse = np.zeros(columns, np.float32), np.zeros(columns, np.int16)
    found, found_rows = np.empty(width * (1 + SPARE), np.float32), np.empty(width * (1 + SPARE), np.int32)
    for at in range(len(queries)):
        padded[:dim] = queries[at]
        fine = _rounded(padded, coarse)
        most = min(n_lists, len(held))
        while True:
            near, lists = np.empty(most * (1 + SPARE), np.float32), np.empty(most * (1 + SPARE), np.int32)
            n_near = _nearest(padded, centroids, held, most, near, lists)
            if not len(allowed):
                break
            n_read, enough = _until(held, lists, n_near, n_held)
            if enough or n_near < most or most == len(held):
                n_near = n_read
                break
            most = min(4 * most, len(held))
        n_found = _scanned(
            coarse, fine, near, lists, n_near, starts, codes, scales, ids, allowed, width, found, found_rows
        )
        for place in range(n_found):
            row, score = found_rows[place], np.float32(0)
            for j in range(dim):
                score += vectors[row, j] * padded[j]
            found[place] = score * factors[row] if len(factors) else score
        _sort(found, found_rows, n_found)
        for place in range(k):
            there = place < n_found
            scores[at, place] = found[place] if there else np.float32(-np.inf)
            rows[at, place] = found_rows[place] if there else -1


@loop
def _rounded(query, coarse):
    """What the query is multiplied with to be `coarse`, 16-bit numbers so large that no sum of products overflows."""
    largest = np.float32(SMALLEST)
    for j in range(len(query)):
        largest = max(largest, abs(query[j]))
    fine = np.float32(min(FINEST, PRODUCTS // (127 * len(query)))) / largest
    for j in range(len(query)):
        coarse[j] = np.int16(np.rint(query[j] * fine))
    return fine


@loop
def _until(held, lists, n, n_held):
    """How many of the `n` first lists hold `n_held` together, and whether they do at all."""
    total = 0
    for place in range(n):
        total += held[lists[place]]
        if total >= n_held:
            return place + 1, True
    return n, False


@loop
def _nearest(query, centroids, held, most, near, lists):
    """The `most` lists that hold something and score best, best first, into near and lists; how many there are."""
    n_blocks, columns, _ = centroids.shape
    block = np.empty(TOGETHER, np.float32)
    n, least = 0, np.float32(-np.inf)
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
                    n, least = _best(near, lists, n, most)
    n, _ = _best(near, lists, n, most)
    _sort(near, lists, n)
    return n


@loop
def _scanned(query, fine, near, lists, n_lists, starts, codes, scales, ids, allowed, width, found, found_rows):
    """The `width` best allowed rows of the lists by code into found and found_rows, in no order; how many."""
    half = codes.shape[1]
    block = np.empty(TOGETHER, np.float32)
    n, least = 0, np.float32(-np.inf)
    for place in range(n_lists):
        one, start = lists[place], near[place] * fine
        for number in range(starts[one], starts[one + 1]):
            bits = code_scores(
                query.ctypes.data,
                codes.ctypes.data + number * half * TOGETHER * 2,
                2 * half,
                scales.ctypes.data + number * TOGETHER * 4,
                start,
                least,
                block.ctypes.data,
            )
            while bits:
                bit = lowest(bits)
                bits &= bits - np.uint32(1)
                row = ids[number * TOGETHER + bit]
                if row >= 0 and (not len(allowed) or allowed[row]):
                    found[n], found_rows[n] = block[bit], row
                    n += 1
                    if n == len(found):
                        n, least = _best(found, found_rows, n, width)
    n, _ = _best(found, found_rows, n, width)
    return n


@loop
def _best(scores, rows, n, most):
    """Brings the `most` best of `n` to the front, in no order (quickselect); how many, and the least of them."""
    if n > most:
        low, high = 0, n - 1
        while low < high:
            pivot, left, right = scores[(low + high) // 2], low, high
            while left <= right:
                while scores[left] > pivot:
                    left += 1
                while scores[right] < pivot:
                    right -= 1
                if left <= right:
                    scores[left], scores[right] = scores[right], scores[left]
                    rows[left], rows[right] = rows[right], rows[left]
                    left += 1
                    right -= 1
            if most - 1 <= right:
                high = right
            elif most - 1 >= left:
                low = left
            else:
                break
        n = most
    least = np.float32(np.inf)
    for place in range(n):
        least = min(least, scores[place])
    return n, least


@loop
def _sort(scores, rows, n):
    """The first `n`, best first, in place (heapsort: the worst is taken from the top each time)."""
    for place in range(n // 2 - 1, -1, -1):
        _sink(scores, rows, place, n)
    for end in range(n - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        rows[0], rows[end] = rows[end], rows[0]
        _sink(scores, rows, 0, end)


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
