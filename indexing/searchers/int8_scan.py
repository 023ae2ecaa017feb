"""The compiled search of `int8_lists.Int8Lists`: nearest lists, then candidates by 8-bit codes, then float32 scores.

Rounding to 8 bits changes a score by no more than a few standard deviations of the rounding error, with rare
exceptions. Each row therefore gets an upper and a lower bound of its score. A row is dropped when its upper bound is
below the k-th largest lower bound; all others are scored in float32. These are hardly more than k rows where rows
differ, and nearly all rows where many are nearly equal. Rows are compared in blocks of 32, so that few are examined one
by one.
"""

from __future__ import annotations

import numpy as np

from engine.jit import compiled
from indexing.searchers import int8_lists, simd_products
from indexing.searchers.int8_lists import BLOCK_ROWS
from indexing.searchers.simd_products import code_scores, lowest_bit, row_scores

MAX_SUM = 2**31 - 2**27  # of the products of a query with codes of 127: the rest is left for rounding
MAX_PRECISION, SMALLEST = 2**14, 1e-34  # MAX_PRECISION / SMALLEST is still a float32
DEVIATIONS = 2.0  # standard deviations of the rounding error, on either side
ROUNDING = 12**-0.5  # standard deviation of the error of rounding to integers
SPARE_SLOTS = 64  # candidates collected between two rounds of dropping
MAX_RESCORED, MAX_RESCORED_PER_K = 1024, 8  # candidates scored in float32: a fixed number and more per k
# Loops compile in half of the time of slices. np.int64(0) instead of 0: numba compiles a literal as a type of its own.
jit = compiled(also=(int8_lists.__file__, simd_products.__file__))


@jit
def search(queries, lists, vectors, factors, limits, k, scores, rows):
    """Fill scores and rows, (n, k), best first; row -1 with a score of minus infinity where there are no more.

    queries: (n, dim) float32. lists: the arrays of `Int8Lists` in their order: centroids (blocks, columns, 32), starts,
    codes (blocks, columns / 2, 32, 2) int8, scales, ids. vectors (n_rows, dim) and factors, (n_rows,) or (0,): for the
    float32 scores. limits: per_list (lists,), n_lists, n_to_read, allowed. Without a filter (`allowed` is empty), the
    `n_lists` nearest lists are read. With a filter, `per_list` counts the allowed rows of each list; the nearest lists
    with allowed rows are read until they hold `n_to_read` of them, and `n_lists` is an estimate of their number.
    """
    dim, columns, (per_list, n_lists, n_to_read, allowed) = queries.shape[1], lists[0].shape[1], limits
    padded, coarse_query = np.zeros(columns, np.float32), np.zeros(columns, np.int16)
    n_most = MAX_RESCORED + MAX_RESCORED_PER_K * k
    candidates = (np.empty(n_most, np.float32), np.empty(n_most, np.float32), np.empty(n_most, np.int32))
    work = np.empty(n_most, np.float32)
    for at in range(len(queries)):
        for j in range(dim):
            padded[j] = queries[at, j]
        precision, rounding_bound = _quantise_query(padded, coarse_query)
        n = 0
        if precision > 0:
            nearest = _lists_to_read(padded, lists[0], per_list, n_lists, n_to_read, len(allowed) > 0)
            n = _scan_lists(coarse_query, precision, rounding_bound, nearest, lists, allowed, k, candidates, work)
        best, _, best_rows = candidates
        for position in range(n):
            row, score = best_rows[position], np.float32(0)
            for j in range(dim):
                score += vectors[row, j] * padded[j]
            best[position] = score * factors[row] if len(factors) else score
        _sort_best_first(best, best_rows, n)
        for position in range(k):
            is_found = position < n
            scores[at, position] = best[position] if is_found else np.float32(-np.inf)
            rows[at, position] = best_rows[position] if is_found else np.int32(-1)


@jit
def _quantise_query(query, coarse_query):
    """Fill `coarse_query` with the query in 16-bit integers, as large as possible without overflow of a product.

    Returns the factor, 0 where the query has a NaN or infinity, and the bound of the rounding error of a product with
    8-bit codes.
    """
    largest, squares = np.float32(SMALLEST), np.float32(0)
    for j in range(len(query)):
        largest = max(largest, abs(query[j]))
    for j in range(len(query)):
        scaled = query[j] / largest  # whose square does not underflow
        squares += scaled * scaled
    if not np.isfinite(squares):
        return np.float32(0), np.int32(0)
    precision = np.float32(min(MAX_PRECISION, MAX_SUM // (127 * len(query)))) / largest
    for j in range(len(query)):
        coarse_query[j] = np.int16(np.rint(query[j] * precision))
    return precision, np.int32(DEVIATIONS * ROUNDING * np.sqrt(squares) * (largest * precision)) + np.int32(1)


@jit
def _lists_to_read(query, centroids, per_list, n_lists, n_to_read, filtered):
    """Scores and numbers of the lists to read, best first, and how many there are."""
    n_most = min(n_lists, len(per_list))
    while True:
        list_scores, lists = np.empty(n_most + SPARE_SLOTS, np.float32), np.empty(n_most + SPARE_SLOTS, np.int32)
        n = _nearest_lists(query, centroids, per_list, n_most, list_scores, lists)
        if not filtered:
            return list_scores, lists, n
        total = 0
        for position in range(n):
            total += per_list[lists[position]]
            if total >= n_to_read:
                return list_scores, lists, position + 1
        if n < n_most or n_most == len(per_list):
            return list_scores, lists, n
        n_most = min(4 * n_most, len(per_list))


@jit
def _nearest_lists(query, centroids, per_list, n_most, list_scores, lists):
    """Fill list_scores and lists with the `n_most` best lists that hold any rows, best first; returns their number."""
    n_blocks, columns, _ = centroids.shape
    block, work = np.empty(BLOCK_ROWS, np.float32), np.empty(len(list_scores), np.float32)
    n, threshold = np.int64(0), np.float32(-np.inf)
    for number in range(n_blocks):
        bits = row_scores(
            query.ctypes.data,
            centroids.ctypes.data + number * columns * BLOCK_ROWS * 4,
            columns,
            threshold,
            block.ctypes.data,
        )
        while bits:
            bit = lowest_bit(bits)
            bits &= bits - np.uint32(1)
            list_number = number * BLOCK_ROWS + bit
            if list_number < len(per_list) and per_list[list_number]:
                list_scores[n], lists[n] = block[bit], list_number
                n += 1
                if n == len(list_scores):
                    n, threshold = _keep_best(list_scores, list_scores, lists, n, n_most, work)
    if n > n_most:
        n, threshold = _keep_best(list_scores, list_scores, lists, n, n_most, work)
    _sort_best_first(list_scores, lists, n)
    return n


@jit
def _scan_lists(query, precision, rounding_bound, nearest, lists, allowed, k, candidates, work):
    """Fill `candidates` with allowed rows of the `nearest` lists that may be among the k best; returns their number.

    `candidates` are the upper and lower bounds of scores and the rows, in no order.
    """
    _, starts, codes, scales, ids = lists
    (list_scores, list_numbers, n_lists), (upper, lower, rows) = nearest, candidates
    half, block = codes.shape[1], np.empty(BLOCK_ROWS, np.float32)
    n, threshold, full = np.int64(0), np.float32(-np.inf), k + SPARE_SLOTS
    for position in range(n_lists):
        list_number, start = list_numbers[position], list_scores[position] * precision
        for number in range(starts[list_number], starts[list_number + 1]):
            bits = code_scores(
                query.ctypes.data,
                codes.ctypes.data + number * half * BLOCK_ROWS * 2,
                2 * half,
                scales.ctypes.data + number * BLOCK_ROWS * 4,
                start,
                rounding_bound,
                threshold,
                block.ctypes.data,
            )
            while bits:
                bit = lowest_bit(bits)
                bits &= bits - np.uint32(1)
                row = ids[number * BLOCK_ROWS + bit]
                if row >= 0 and (not len(allowed) or allowed[row]):
                    upper[n], rows[n] = block[bit], row
                    lower[n] = block[bit] - np.float32(2 * rounding_bound) * scales[number, bit]
                    n += 1
                    if n == full:
                        n, threshold = _drop_impossible(upper, lower, rows, n, k, work)
                        if n + SPARE_SLOTS > len(rows):
                            n, _ = _keep_best(upper, lower, rows, n, len(rows) // 2, work)
                        full = n + SPARE_SLOTS
    if n > k:
        n, threshold = _drop_impossible(upper, lower, rows, n, k, work)
    return n


@jit
def _drop_impossible(upper, lower, rows, n, k, work):
    """Move rows that may be among the k best to the front; returns their number and the k-th largest lower bound."""
    for position in range(n):
        work[position] = lower[position]
    threshold, n_kept = _kth_largest(work, n, k), 0
    for position in range(n):
        if upper[position] >= threshold:
            upper[n_kept], lower[n_kept], rows[n_kept] = upper[position], lower[position], rows[position]
            n_kept += 1
    return n_kept, threshold


@jit
def _keep_best(scores, others, rows, n, n_most, work):
    """Move the `n_most` best to the front, in no order; returns their number and their lowest score."""
    for position in range(n):
        work[position] = scores[position]
    threshold = _kth_largest(work, n, n_most)
    ties = n_most
    for position in range(n):
        ties -= scores[position] > threshold
    n_kept = 0
    for position in range(n):
        if scores[position] > threshold or (scores[position] == threshold and ties > 0):
            ties -= scores[position] == threshold
            scores[n_kept], others[n_kept], rows[n_kept] = scores[position], others[position], rows[position]
            n_kept += 1
    return n_kept, threshold


@jit
def _kth_largest(values, n, k):
    """The k-th largest of the first `n` values, n >= k (quickselect); reorders them."""
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


@jit
def _sort_best_first(scores, rows, n):
    """Sort the first `n` in place, best first (heapsort with the worst at the top)."""
    for position in range(n // 2 - 1, -1, -1):
        _sift_down(scores, rows, position, n)
    for end in range(n - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        rows[0], rows[end] = rows[end], rows[0]
        _sift_down(scores, rows, np.int64(0), end)


@jit
def _sift_down(scores, rows, position, n):
    score, row = scores[position], rows[position]
    while True:
        child = 2 * position + 1
        if child >= n:
            break
        if child + 1 < n and scores[child + 1] < scores[child]:
            child += 1
        if scores[child] >= score:
            break
        scores[position], rows[position] = scores[child], rows[child]
        position = child
    scores[position], rows[position] = score, row
